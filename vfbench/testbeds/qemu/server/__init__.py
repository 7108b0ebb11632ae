"""The process that is the host's side of a run: the wire, the peer, and a device for each of the two places."""
