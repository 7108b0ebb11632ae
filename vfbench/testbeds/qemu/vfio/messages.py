"""The vfio-user protocol, version 0.1: headers, commands and the structs that follow them, little-endian.

Source: QEMU's docs/interop/vfio-user.rst; the structs are those of linux/vfio.h without their kernel-only fields.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("<HHIII")
"""Message ID, command, size with this header, flags, error number."""

VERSION = 1
DMA_MAP = 2
DMA_UNMAP = 3
DEVICE_GET_INFO = 4
DEVICE_GET_REGION_INFO = 5
DEVICE_GET_REGION_IO_FDS = 6
DEVICE_GET_IRQ_INFO = 7
DEVICE_SET_IRQS = 8
REGION_READ = 9
REGION_WRITE = 10
DMA_READ = 11
DMA_WRITE = 12
DEVICE_RESET = 13
REGION_WRITE_MULTI = 15

FLAG_REPLY = 0x1
FLAG_NO_REPLY = 0x10
FLAG_ERROR = 0x20
TYPE_MASK = 0xF

DMA_MAP_STRUCT = struct.Struct("<IIQQQ")
"""argsz, flags (1: readable, 2: writable), offset in the file, device address, size."""
DMA_UNMAP_STRUCT = struct.Struct("<IIQQ")
DMA_UNMAP_ALL = 2
DEVICE_INFO = struct.Struct("<IIII")
"""argsz, flags (1: can be reset, 2: PCI), number of regions, number of interrupt types."""
REGION_INFO = struct.Struct("<IIIIQQ")
"""argsz, flags (1: readable, 2: writable), index, offset of capabilities, size, offset."""
IRQ_INFO = struct.Struct("<IIII")
"""argsz, flags (1: eventfd, 8: number is fixed), index, count."""
SET_IRQS = struct.Struct("<IIIII")
"""argsz, flags, index, first, count."""
REGION_ACCESS = struct.Struct("<QII")
"""Offset, region, number of bytes."""

SET_IRQS_DATA_EVENTFD = 1 << 2
SET_IRQS_ACTION_TRIGGER = 1 << 5

BAR0_REGION = 0
MSIX_REGION = 3
CONFIG_REGION = 7
REGIONS = 9
IRQ_TYPES = 5
MSIX_IRQ = 2

MOST_BYTES = 1 << 20
"""Longest message taken; QEMU's longest is a write of a region."""
MOST_DESCRIPTORS = 16
