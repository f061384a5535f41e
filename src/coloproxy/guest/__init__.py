"""A pair of QEMU guests: protected, failed over, protected again."""
