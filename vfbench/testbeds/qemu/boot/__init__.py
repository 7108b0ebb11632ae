"""One way to boot a real guest: its initramfs, QEMU, what it says and what it is told, and its end."""
