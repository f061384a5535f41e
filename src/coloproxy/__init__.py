"""coloproxy: two replicas, one output, verified by TCP sequence number.

    from coloproxy import Comparator, Config, Side
"""

import importlib
import importlib.util
import os
import sys

from coloproxy import _uncompiled

COMPILED_MODULES = (
    "coloproxy.compare.engine",
    "coloproxy.rewrite.engine",
    "coloproxy.link.burst",
    "coloproxy.link.coalesce",
    "coloproxy.link.framing",
    "coloproxy.link.vhost.ring",
)


def _run_uncompiled(name: str) -> None:
    """Load a compiled module's Python source in its place, with a stand-in for the `cython` that it names."""
    room, _, last = name.rpartition(".")
    path = os.path.join(os.path.dirname(__file__), *name.split(".")[1:]) + ".py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    real = sys.modules.get("cython")
    sys.modules[name] = module
    sys.modules["cython"] = _uncompiled
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["cython"]
        if real is not None:
            sys.modules["cython"] = real
    setattr(importlib.import_module(room), last, module)


def _is_compiled(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and not (spec.origin or "").endswith(".py")


def _imported(name: str) -> str:
    importlib.import_module(name)
    return name


# COLOPROXY_UNCOMPILED: for coverage, debugging, and to test that both are equal.
for _name in COMPILED_MODULES:
    if os.environ.get("COLOPROXY_UNCOMPILED") or not _is_compiled(_name):
        _run_uncompiled(_name)

from coloproxy.compare.comparator import Comparator  # noqa: E402
from coloproxy.compare.config import Config  # noqa: E402
from coloproxy.compare.events import Side  # noqa: E402

# Whether all of them are compiled: what is not is right, and many times slower.
COMPILED = all(sys.modules[name].COMPILED for name in map(_imported, COMPILED_MODULES))

__version__ = "0.1.0"
__all__ = ["COMPILED", "Comparator", "Config", "Side", "__version__"]
