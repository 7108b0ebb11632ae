"""vhost-user: the backend of a virtio-net device, and the dirty log that it shares with QEMU."""
