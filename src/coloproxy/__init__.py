"""coloproxy: two replicas, one output, verified by TCP sequence number.

    from coloproxy import Comparator, Config, Side
"""

import importlib.util
import os
import sys

from coloproxy import _uncompiled

COMPILED_MODULES = ("coloproxy.compare.engine", "coloproxy.link.framing")


def _run_uncompiled(name: str) -> None:
    """Load a compiled module's Python source in its place: for coverage, debugging, and to test that both are equal."""
    path = os.path.join(os.path.dirname(__file__), *name.split(".")[1:]) + ".py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


if importlib.util.find_spec("cython") is None:  # only the uncompiled modules name it; the compiled ones need nothing
    sys.modules["cython"] = _uncompiled
if os.environ.get("COLOPROXY_UNCOMPILED"):
    for _name in COMPILED_MODULES:
        _run_uncompiled(_name)

from coloproxy.compare.comparator import Comparator  # noqa: E402
from coloproxy.compare.config import Config  # noqa: E402
from coloproxy.compare.events import Side  # noqa: E402

__version__ = "0.1.0"
__all__ = ["Comparator", "Config", "Side", "__version__"]
