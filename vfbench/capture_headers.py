"""What a packet's first bytes tell of it: how long its link header is, its flow, which way it went.

Source of the link types: tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ETHERNET_HEADER_BYTES = 14
UNKNOWN, INBOUND, OUTBOUND = 0, 1, 2
"""pcapng's direction of a packet (epb_flags, bits 0 and 1)."""


@dataclass(frozen=True)
class Link:
    """A link type: its header's length, and where in it the ethertype stands (None: the IP version tells)."""

    header_bytes: int
    ethertype_at: int | None
    has_addresses: bool = False


LINKS = {
    0: Link(4, None),  # BSD loopback
    1: Link(ETHERNET_HEADER_BYTES, 12, has_addresses=True),
    12: Link(0, None),  # raw IP
    14: Link(0, None),
    101: Link(0, None),
    108: Link(4, None),
    113: Link(16, 14),  # Linux cooked: what `tcpdump -i any` writes
    228: Link(0, None),
    229: Link(0, None),
    276: Link(20, 0),  # Linux cooked, version 2
}
_LINUX_OUTGOING = 4
_VLAN_TAGS = (0x8100, 0x88A8)
_IPV4, _IPV6 = 0x0800, 0x86DD
_WITH_PORTS = (6, 17, 132)  # TCP, UDP, SCTP


def linux_direction(data: bytes, link_type: int) -> int:
    """Linux's cooked headers hold a packet type: 4 was sent by us."""
    if link_type == 113 and len(data) >= 2:
        return OUTBOUND if data[1] == _LINUX_OUTGOING else INBOUND
    if link_type == 276 and len(data) >= 11:
        return OUTBOUND if data[10] == _LINUX_OUTGOING else INBOUND
    return UNKNOWN


def flow_key(data: bytes, link: Link) -> bytes:
    """What tells flows apart: addresses, protocol and ports; only what was captured of them."""
    at = link.header_bytes
    if link.ethertype_at is None:
        kind = {4: _IPV4, 6: _IPV6}.get(data[at] >> 4 if len(data) > at else 0, 0)
    else:
        kind = int.from_bytes(data[link.ethertype_at : link.ethertype_at + 2], "big")
        while kind in _VLAN_TAGS and at + 4 <= len(data):
            kind = int.from_bytes(data[at + 2 : at + 4], "big")
            at += 4
    find: Callable[[bytes, int], bytes] | None = {_IPV4: _ipv4_key, _IPV6: _ipv6_key}.get(kind)
    return find(data, at) if find and len(data) > at else kind.to_bytes(2, "big")


def _ipv4_key(data: bytes, at: int) -> bytes:
    protocol, addresses = data[at + 9 : at + 10], data[at + 12 : at + 20]
    is_fragment = int.from_bytes(data[at + 6 : at + 8], "big") & 0x3FFF
    ports_at = at + 4 * (data[at] & 15)
    if is_fragment or not protocol or protocol[0] not in _WITH_PORTS:
        return addresses + protocol
    return addresses + protocol + data[ports_at : ports_at + 4]


def _ipv6_key(data: bytes, at: int) -> bytes:
    """Behind extension headers no ports are looked for, as in the 82599 (datasheet 7.1.2.8)."""
    protocol, addresses = data[at + 6 : at + 7], data[at + 8 : at + 40]
    if not protocol or protocol[0] not in _WITH_PORTS:
        return addresses + protocol
    return addresses + protocol + data[at + 40 : at + 44]
