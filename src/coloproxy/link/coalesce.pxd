# The C names that coalesce.py uses; everything else is in coalesce.py, which also runs without this file.

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.errno cimport errno
from libc.string cimport memcmp, memcpy
from posix.unistd cimport write
