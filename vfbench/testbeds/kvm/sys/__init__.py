"""KVM's interface: ioctls, structs, a VM, its vCPU, its dirty log."""
