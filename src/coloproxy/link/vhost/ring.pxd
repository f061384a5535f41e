# The C that ring.py uses; everything else is in ring.py, which also runs without this file.

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy, memmove

cdef extern from *:
    """
    /* What another processor writes meanwhile is read once, and whole. */
    #define cp_load(type, at) __atomic_load_n((type *)(size_t)(at), __ATOMIC_ACQUIRE)
    #define cp_load16(at) cp_load(unsigned short, at)
    #define cp_load32(at) cp_load(unsigned int, at)
    #define cp_load64(at) cp_load(unsigned long long, at)
    #define cp_store16(at, value) __atomic_store_n((unsigned short *)(size_t)(at), (value), __ATOMIC_RELEASE)
    #define cp_store32(at, value) __atomic_store_n((unsigned int *)(size_t)(at), (value), __ATOMIC_RELEASE)
    #define cp_or8(at, bits) __atomic_fetch_or((unsigned char *)(size_t)(at), (bits), __ATOMIC_SEQ_CST)
    #define cp_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    unsigned short cp_load16(unsigned long long at)
    unsigned int cp_load32(unsigned long long at)
    unsigned long long cp_load64(unsigned long long at)
    void cp_store16(unsigned long long at, unsigned int value)
    void cp_store32(unsigned long long at, unsigned int value)
    void cp_or8(unsigned long long at, unsigned int bits)
    void cp_fence()
