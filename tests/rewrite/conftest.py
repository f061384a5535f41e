"""Plays are run twice: with the fast path, and with every frame taken the general way."""

from collections.abc import Callable

import pytest

from support.rewriting import Play


@pytest.fixture(params=["fast", "general"])
def play(request: pytest.FixtureRequest) -> Callable[..., Play]:
    """Makes a Play; arguments are those of Config."""

    def make(**config: object) -> Play:
        return Play(general=request.param == "general", **config)

    return make
