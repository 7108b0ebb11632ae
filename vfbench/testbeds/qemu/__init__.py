"""Real Linux guests on a stock QEMU."""
