# The C functions that engine.py uses; everything else is in engine.py, which also runs without this file.

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcmp, memcpy
