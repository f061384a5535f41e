"""A client and two replicas of different numbers: each gets its own, the streams arrive, nobody sees a difference."""

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.scene import Scene

SCENES = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "one_host": st.booleans(),
        "replicas_open": st.booleans(),
        "timestamps": st.sampled_from(["strip", "translate"]),
        "six": st.booleans(),
        "general": st.booleans(),
    }
)
# A smaller seed is no simpler scene: nothing is gained by shrinking.
played = settings(max_examples=30, phases=[Phase.explicit, Phase.reuse, Phase.generate])
MOMENTS = st.sampled_from([0.004, 0.012, 0.02, 0.04, 0.1, 0.3, 1.0])


def assert_all_went_well(scene: Scene) -> None:
    if not (scene.one_host or scene.primary_lives):
        # Beside the secondary nobody knows the number of a SYN that the dead primary sent and nobody answered yet: the
        # secondary's own is another one to the client, whose challenge (RFC 5961, 4) then says the first.
        scene.client.complaints = [text for text in scene.client.complaints if "another SYN" not in text]
    everyone = [scene.client, scene.secondary] + ([scene.primary] if scene.primary_lives else [])
    for end in everyone:
        assert end.complaints == []
    assert scene.comparator.accounting().divergences == {}
    assert scene.client.received == scene.secondary.stream
    for replica in everyone[1:]:
        assert replica.received == scene.client.stream
        assert replica.done
    accounting = scene.rewriter.accounting()
    assert accounting.client.held.frames == accounting.secondary.held.frames == 0


@played
@given(SCENES)
def test_both_replicas_are_as_one(scene: dict[str, object]) -> None:
    assert_all_went_well(Scene(**scene).play(60.0))  # type: ignore[arg-type]


@played
# Beside the secondary nobody knows which timestamp the copy has sent last.
@given(SCENES.filter(lambda scene: scene["one_host"] or scene["timestamps"] == "strip"), MOMENTS)
def test_a_checkpoint_at_any_moment_is_not_noticed(scene: dict[str, object], moment: float) -> None:
    it = Scene(**scene).play(moment)  # type: ignore[arg-type]
    it.checkpoint()
    assert_all_went_well(it.play(60.0))


@played
@given(SCENES, MOMENTS)
def test_a_failover_at_any_moment_is_not_noticed(scene: dict[str, object], moment: float) -> None:
    it = Scene(**scene).play(moment)  # type: ignore[arg-type]
    it.failover()
    assert_all_went_well(it.play(60.0))


@pytest.mark.parametrize("one_host", [True, False])
def test_without_a_rewriter_they_are_not_as_one(one_host: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test itself tested: with nothing translated the same scene goes wrong."""
    scene = Scene(1, one_host=one_host, replicas_open=False, timestamps="strip", six=False)
    monkeypatch.setattr(scene.rewriter, "translate", lambda *_: None)
    scene.play(5.0)
    assert scene.secondary.complaints
    assert not scene.over
