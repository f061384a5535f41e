"""A guest's network card through shared memory: the back end of vhost-user, for virtio-net cards with split rings.

Sources: QEMU, docs/interop/vhost-user; virtio 1.2, 2.7 and 5.1.
"""
