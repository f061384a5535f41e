# The C names that burst.py uses; everything else is in burst.py, which also runs without this file.

from libc.errno cimport errno
from posix.unistd cimport read
