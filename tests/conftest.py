"""What all tests share: where the real captures are, and how property tests are run."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same tree gives the same answer; `make soak` looks further, elsewhere each time.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("default", derandomize=True, **COMMON)
settings.register_profile("soak", max_examples=5000, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# What runs in a shell's background, or under nohup, ignores these signals, and so does all that it starts. Tests send
# them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def captures() -> Path:
    """Folder of real captures; without it the tests that need one are skipped."""
    folder = os.environ.get("COLOPROXY_CAPTURES")
    if not folder:
        pytest.skip("COLOPROXY_CAPTURES names no folder of captures")
    return Path(folder)
