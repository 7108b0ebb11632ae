"""What runs inside the VM: the drivers as machine code, and their memory."""
