"""The suite against the world: published results, a real QEMU, a real Linux, and known answers."""
