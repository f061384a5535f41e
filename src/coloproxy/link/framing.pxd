# The C functions that framing.py uses; everything else is in framing.py, which also runs without this file.

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.string cimport memcpy
