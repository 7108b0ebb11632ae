"""What runs beside the VM: the VF, vhost, the peer, and what is measured."""
