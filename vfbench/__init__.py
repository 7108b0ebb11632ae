"""vfbench: ways to live-migrate a virtual machine with an assigned SR-IOV virtual function, side by side."""
