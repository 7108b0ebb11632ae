"""The VF: FIFO, DMA, descriptors, registers."""
