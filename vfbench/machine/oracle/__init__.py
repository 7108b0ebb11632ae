"""The observer: what became of every packet, told from memory contents."""
