"""Plays are run twice: with the fast path, and with every frame taken the general way."""

from collections.abc import Callable

import pytest

from support.play import Play


@pytest.fixture(params=["fast", "general"])
def play(request: pytest.FixtureRequest) -> Callable[..., Play]:
    """Makes a Play; arguments are those of Config, and `rules`."""

    def make(**config: object) -> Play:
        return Play(general=request.param == "general", **config)  # type: ignore[arg-type]

    return make
