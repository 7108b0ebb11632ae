"""A guest of the suite's own, migrated by a real QEMU, beside what the pre-copy model says of it."""
