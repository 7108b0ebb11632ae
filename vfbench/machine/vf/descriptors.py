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


@kernel
def rx_write_back(length_bytes: int) -> int:
    """Second word of a written-back receive descriptor: DD and EOP set, length in bits 32 to 47."""
    return RX_STATUS_DONE | RX_STATUS_END_OF_PACKET | (length_bytes << RX_LENGTH_SHIFT)


@kernel
def rx_is_done(status: int) -> bool:
    """Whether the second word of a receive descriptor says that the device is done with it."""
    return status & RX_STATUS_DONE != 0


@kernel
def rx_length(status: int) -> int:
    """Packet length in bytes of a written-back receive descriptor."""
    return (status >> RX_LENGTH_SHIFT) & LENGTH_MASK


@kernel
def tx_command(length_bytes: int) -> int:
    """Second word of a transmit descriptor: one frame in one buffer, status wanted."""
    return TX_COMMAND | length_bytes


@kernel
def tx_length(command: int) -> int:
    """Frame length in bytes of a transmit descriptor that the driver wrote."""
    return command & LENGTH_MASK


@kernel
def tx_is_done(status: int) -> bool:
    """Whether the second word of a transmit descriptor says that the frame is out."""
    return status & TX_STATUS_DONE != 0
