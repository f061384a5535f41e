# The C functions that framing.py uses; everything else is in framing.py, which also runs without this file.

from libc.string cimport memcpy
