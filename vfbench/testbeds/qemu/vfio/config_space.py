"""PCI configuration space of an 82599 or X540 virtual function (82599 datasheet, section 9.4)."""

from __future__ import annotations

import struct

CONFIG_BYTES = 4096
BAR_BYTES = 0x4000
VENDOR_INTEL = 0x8086
VECTORS = 3
"""Two for queue pairs and one for the mailbox (82599 datasheet, 7.3.1.1)."""
MSIX_CAPABILITY, PCIE_CAPABILITY = 0x70, 0xA0
MSIX_TABLE_OFFSET, MSIX_PBA_OFFSET = 0, 0x2000
MSIX_BAR = 3

COMMAND, BARS, INTERRUPT_LINE = 0x04, (0x10, 0x14, 0x18, 0x1C, 0x20, 0x24), 0x3C
MSIX_CONTROL = MSIX_CAPABILITY

_STATUS_CAPABILITIES = 0x10
_ETHERNET_CONTROLLER = 2
_BAR_64_BIT_PREFETCHABLE = 0xC
_CAP_MSIX, _CAP_PCIE = 0x11, 0x10
_PCIE_ENDPOINT_V2 = 0x0002
_FUNCTION_LEVEL_RESET = 1 << 28


def config_space(device_id: int) -> bytearray:
    """As QEMU reads it: identity, two 64-bit BARs, MSI-X with its table in BAR 3, a PCIe endpoint with FLR."""
    config = bytearray(CONFIG_BYTES)
    struct.pack_into(
        "<HHHHBBBB",
        config,
        0,
        VENDOR_INTEL,
        device_id,
        0,
        _STATUS_CAPABILITIES,
        1,
        0,
        0,
        _ETHERNET_CONTROLLER,
    )
    for bar in (BARS[0], BARS[MSIX_BAR]):
        struct.pack_into("<I", config, bar, _BAR_64_BIT_PREFETCHABLE)
    struct.pack_into("<HH", config, 0x2C, VENDOR_INTEL, 0)
    config[0x34] = MSIX_CAPABILITY
    struct.pack_into(
        "<BBHII",
        config,
        MSIX_CAPABILITY,
        _CAP_MSIX,
        PCIE_CAPABILITY,
        VECTORS - 1,
        MSIX_TABLE_OFFSET | MSIX_BAR,
        MSIX_PBA_OFFSET | MSIX_BAR,
    )
    struct.pack_into("<BBH", config, PCIE_CAPABILITY, _CAP_PCIE, 0, _PCIE_ENDPOINT_V2)
    struct.pack_into("<I", config, PCIE_CAPABILITY + 4, _FUNCTION_LEVEL_RESET | 0x8002)
    return config
