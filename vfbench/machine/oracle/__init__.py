"""The oracle: what became of every packet, read from memory contents."""
