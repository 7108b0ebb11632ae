"""The vhost-user protocol: requests, features and the structs that follow a header, little-endian.

Source: QEMU's docs/interop/vhost-user.rst.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("<III")
"""Request, flags (version in bits 0 and 1), size of what follows."""

(
    GET_FEATURES,
    SET_FEATURES,
    SET_OWNER,
    RESET_OWNER,
    SET_MEM_TABLE,
    SET_LOG_BASE,
    SET_LOG_FD,
    SET_VRING_NUM,
    SET_VRING_ADDR,
    SET_VRING_BASE,
    GET_VRING_BASE,
    SET_VRING_KICK,
    SET_VRING_CALL,
    SET_VRING_ERR,
    GET_PROTOCOL_FEATURES,
    SET_PROTOCOL_FEATURES,
    GET_QUEUE_NUM,
    SET_VRING_ENABLE,
    SEND_RARP,
    NET_SET_MTU,
    SET_BACKEND_REQ_FD,
    IOTLB_MSG,
) = range(1, 23)

VERSION = 0x1
FLAG_REPLY = 0x4
FLAG_NEED_REPLY = 0x8
VERSION_MASK = 0x3

EVENT_IDX_FEATURE = 29
LOG_ALL_FEATURE = 26
PROTOCOL_FEATURES_FEATURE = 30
VERSION_1_FEATURE = 32
IOMMU_FEATURE = 33

LOG_SHMFD_PROTOCOL, RARP_PROTOCOL, REPLY_ACK_PROTOCOL, BACKEND_REQ_PROTOCOL = 1, 2, 3, 5

U64 = struct.Struct("<Q")
VRING_STATE = struct.Struct("<II")
"""Index, number."""
VRING_ADDRESS = struct.Struct("<IIQQQQ")
"""Index, flags, then user addresses of descriptors, used ring, available ring, and the log's guest address."""
MEMORY_REGION = struct.Struct("<QQQQ")
"""Guest-physical address, size, user address, offset in the file."""
MEMORY_REGIONS_AT = 8
LOG = struct.Struct("<QQ")
"""Size, offset."""
IOTLB = struct.Struct("<QQQBB")
"""Device address, size, user address, permission, type."""

VRING_INDEX_MASK, NO_DESCRIPTOR = 0xFF, 1 << 8
IOTLB_MISS, IOTLB_UPDATE, IOTLB_INVALIDATE = 1, 2, 3

MOST_BYTES = 1 << 14
MOST_DESCRIPTORS = 8
