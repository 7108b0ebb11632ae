"""The VF's registers (82599 datasheet, section 9.3): name, offset, and what a driver has to write again.

Nine of each receive and each transmit queue, and the common ones. Head registers are read-only to software and
reset to 0: that is why a migrated driver has to rotate its rings (S4).
"""

from __future__ import annotations

COMMON_REGISTERS = (
    ("VFCTRL", 0x00000),
    ("VFSTATUS", 0x00008),
    ("VFLINKS", 0x00010),
    ("VFFRTIMER", 0x00048),
    ("VTEICR", 0x00100),
    ("VTEICS", 0x00104),
    ("VTEIMS", 0x00108),
    ("VTEIMC", 0x0010C),
    ("VTEIAC", 0x00110),
    ("VTEIAM", 0x00114),
    ("VTIVAR0", 0x00120),
    ("VTIVAR_MISC", 0x00140),
    ("VTRSCINT0", 0x00180),
    ("VFMBMEM", 0x00200),
    ("VFMAILBOX", 0x002FC),
    ("VFPSRTYPE", 0x00300),
    ("VTEITR0", 0x00820),
    ("VTEITR1", 0x00824),
    ("VTEITR2", 0x00828),
    ("VFRXMEMWRAP", 0x03190),
)
RX_REGISTERS = (
    ("RDBAL", 0x01000),
    ("RDBAH", 0x01004),
    ("RDLEN", 0x01008),
    ("DCA_RXCTRL", 0x0100C),
    ("RDH", 0x01010),
    ("SRRCTL", 0x01014),
    ("RDT", 0x01018),
    ("RXDCTL", 0x01028),
    ("RSCCTL", 0x0102C),
)
TX_REGISTERS = (
    ("TDBAL", 0x02000),
    ("TDBAH", 0x02004),
    ("TDLEN", 0x02008),
    ("DCA_TXCTRL", 0x0200C),
    ("TDH", 0x02010),
    ("TDT", 0x02018),
    ("TXDCTL", 0x02028),
    ("TDWBAL", 0x02038),
    ("TDWBAH", 0x0203C),
)

QUEUE_REGISTERS = RX_REGISTERS + TX_REGISTERS
(
    RDBAL,
    RDBAH,
    RDLEN,
    DCA_RXCTRL,
    RDH,
    SRRCTL,
    RDT,
    RXDCTL,
    RSCCTL,
    TDBAL,
    TDBAH,
    TDLEN,
    DCA_TXCTRL,
    TDH,
    TDT,
    TXDCTL,
    TDWBAL,
    TDWBAH,
) = range(len(QUEUE_REGISTERS))
"""Indices of a queue pair's registers."""

READ_ONLY = (RDH, TDH)
QUEUE_ENABLE = 1 << 25
"""RXDCTL.ENABLE and TXDCTL.ENABLE."""
SRRCTL_ADVANCED_2K = 2 | 1 << 25
"""Buffers of 2 KiB, advanced one-buffer descriptors."""
