"""The testbed that runs the guest in a real VM on /dev/kvm."""
