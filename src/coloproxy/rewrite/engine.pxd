# The one C function that engine.py uses; everything else is in engine.py, which also runs without this file.

from libc.string cimport memcmp
