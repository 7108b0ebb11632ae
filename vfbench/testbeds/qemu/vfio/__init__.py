"""The VF behind vfio-user: messages, configuration space, registers, mailbox, interrupts."""
