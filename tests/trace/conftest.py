"""A tracer with a list of its own, so that no test switches the program's events."""

from collections.abc import Iterator

import pytest

from coloproxy.trace import Tracer, load, parse

SMALL = """\
# first section
plain(void) ""
one_text(const char *who) ": %s"
two(const char *who, uint32_t n) "%s = %u"
old_style(int x) "x = %d\\n"
disable never(int x) "%d"
"""


@pytest.fixture
def small() -> Iterator[Tracer]:
    tracer = Tracer(parse(SMALL, "small"))
    yield tracer
    tracer.close()


@pytest.fixture
def real() -> Iterator[Tracer]:
    """The events of the package's list, apart from the program's own."""
    tracer = Tracer(load())
    yield tracer
    tracer.close()
