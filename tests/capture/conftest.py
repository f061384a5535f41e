"""The witness."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def tshark() -> str:
    """Where tshark is; without it the tests that need it are skipped, but not where all must be there."""
    found = shutil.which("tshark")
    if found is None:
        if os.environ.get("COLOPROXY_CI"):
            pytest.fail("tshark is missing")
        pytest.skip("tshark is missing")
    return found
