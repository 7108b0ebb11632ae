"""What a real guest is made of: a QEMU, kernels with their modules, busybox, and a small C compiler."""
