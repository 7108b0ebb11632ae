"""The two ends of a TCP stream, as kernels over rows of words: what a peer or a guest's stack keeps of each."""
