"""What an unmodified Linux with its real drivers does in a real QEMU, counted, against what the model predicts."""
