"""`make demo`: two replicas of a real TCP stream, compared by the running proxy; then one byte changed."""

import sys
from pathlib import Path

# The benchmark's modules, which the demonstration uses, are scripts beside one another and no package.
sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))
