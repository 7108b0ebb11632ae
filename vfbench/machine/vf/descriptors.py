"""The 82599's advanced descriptors, 16 bytes each, as two 64-bit words.

Receive (datasheet 7.1.6): the driver writes the buffer's address; the device writes back status, length and
the RSS hash over it, so the address is gone and the driver must have kept it. Transmit (7.2.3.2.4): address,
then command and length; the device writes back only the DD bit.
"""

from __future__ import annotations

from vfbench.kernels import kernel

DESCRIPTOR_BYTES = 16
DESCRIPTOR_SHIFT = 4

RX_STATUS_DONE = 1 << 0
RX_STATUS_END_OF_PACKET = 1 << 1
RX_LENGTH_SHIFT = 32
RX_HASH_SHIFT = 32

TX_STATUS_DONE = 1 << 32
TX_DTYPE_DATA = 3 << 20
TX_COMMAND_END_OF_PACKET = 1 << 24
TX_COMMAND_INSERT_FCS = 1 << 25
TX_COMMAND_REPORT_STATUS = 1 << 27
TX_COMMAND_ADVANCED = 1 << 29
TX_COMMAND = (
    TX_DTYPE_DATA
    | TX_COMMAND_END_OF_PACKET
    | TX_COMMAND_INSERT_FCS
    | TX_COMMAND_REPORT_STATUS
    | TX_COMMAND_ADVANCED
)
LENGTH_MASK = 0xFFFF
TX_DTYPE_CONTEXT = 2 << 20
TX_DTYPE_MASK = 0xF << 20
TX_COMMAND_SEGMENT = 1 << 31
TX_PAYLOAD_SHIFT = 46
TX_PAYLOAD_MASK = (1 << 18) - 1
TX_MSS_SHIFT = 48
MOST_BYTES_PER_DESCRIPTOR = 1 << 14
"""IXGBE_MAX_DATA_PER_TXD: a mapping that is longer takes several descriptors (ixgbevf_tx_map)."""


@kernel
def rx_write_back(length_bytes: int, ends: bool) -> int:
    """Second word of a written-back receive descriptor: DD and, if the packet ends, EOP; length in bits 32 to 47."""
    end_of_packet = RX_STATUS_END_OF_PACKET if ends else 0
    return RX_STATUS_DONE | end_of_packet | (length_bytes << RX_LENGTH_SHIFT)


@kernel
def rx_is_done(status: int) -> bool:
    """Whether the second word of a receive descriptor says that the device is done with it."""
    return status & RX_STATUS_DONE != 0


@kernel
def rx_ends_packet(status: int) -> bool:
    """Whether it is the packet's last."""
    return status & RX_STATUS_END_OF_PACKET != 0


@kernel
def rx_length(status: int) -> int:
    """Packet length in bytes of a written-back receive descriptor."""
    return (status >> RX_LENGTH_SHIFT) & LENGTH_MASK


@kernel
def tx_command(length_bytes: int) -> int:
    """Second word of a transmit descriptor: one frame in one buffer, status wanted."""
    return TX_COMMAND | length_bytes


@kernel
def tx_context(mss_bytes: int) -> int:
    """Second word of a context descriptor for a send that the card cuts into frames (7.2.3.2.3)."""
    return TX_DTYPE_CONTEXT | TX_COMMAND_ADVANCED | mss_bytes << TX_MSS_SHIFT


@kernel
def tx_part(length_bytes: int, payload_bytes: int, last: bool) -> int:
    """Second word of one of the data descriptors of a send, to cut if it has a ``payload_bytes``."""
    command = TX_DTYPE_DATA | TX_COMMAND_INSERT_FCS | TX_COMMAND_ADVANCED
    if payload_bytes != 0:
        command |= TX_COMMAND_SEGMENT
    if last:
        command |= TX_COMMAND_END_OF_PACKET | TX_COMMAND_REPORT_STATUS
    return command | payload_bytes << TX_PAYLOAD_SHIFT | length_bytes


@kernel
def tx_mss(command: int) -> int:
    """The payload of each frame that a context descriptor asks for; 0 for any other."""
    if command & TX_DTYPE_MASK != TX_DTYPE_CONTEXT:
        return 0
    return (command >> TX_MSS_SHIFT) & LENGTH_MASK


@kernel
def tx_payload(command: int) -> int:
    """Payload of a whole send, in each of its data descriptors; 0 where the card is to cut nothing."""
    return (command >> TX_PAYLOAD_SHIFT) & TX_PAYLOAD_MASK if command & TX_COMMAND_SEGMENT else 0


@kernel
def tx_length(command: int) -> int:
    """Frame length in bytes of a transmit descriptor that the driver wrote."""
    return command & LENGTH_MASK


@kernel
def tx_is_done(status: int) -> bool:
    """Whether the second word of a transmit descriptor says that the frame is out."""
    return status & TX_STATUS_DONE != 0
