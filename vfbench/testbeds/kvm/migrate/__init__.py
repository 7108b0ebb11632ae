"""Migration of the VM: verbs, dirty pages, the stream, the destination's process."""
