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
    """A link type: where its payload begins, and what says which protocol that is.

    `protocol_at` is where the ethertype stands, or PPP's protocol where `is_ppp`; None: the IP version tells.
    `trailer_bytes` are counted as captured and are none of an Ethernet frame without its FCS.
    """

    header_bytes: int
    protocol_at: int | None
    has_addresses: bool = False
    addresses_at: int = 0
    trailer_bytes: int = 0
    is_ppp: bool = False


LINKS = {
    0: Link(4, None),  # BSD loopback
    1: Link(ETHERNET_HEADER_BYTES, 12, has_addresses=True),
    9: Link(2, 0, is_ppp=True),
    12: Link(0, None),  # raw IP
    14: Link(0, None),
    50: Link(4, 2, is_ppp=True),  # PPP in HDLC-like framing, RFC 1662
    51: Link(8, 6, is_ppp=True),  # PPPoE session, RFC 2516
    100: Link(8, 6),  # LLC and SNAP over ATM, RFC 1483
    101: Link(0, None),
    104: Link(4, 2),  # Cisco HDLC
    108: Link(4, None),
    109: Link(12, None),  # OpenBSD's decapsulated IPsec
    113: Link(16, 14),  # Linux cooked: what `tcpdump -i any` writes
    122: Link(24, 22),  # IP over Fibre Channel, RFC 2625
    138: Link(18, 16),  # Apple's IP over IEEE 1394
    228: Link(0, None),
    229: Link(0, None),
    240: Link(18, 16, has_addresses=True, addresses_at=4, trailer_bytes=4),  # Hilscher netANALYZER, with FCS
    241: Link(26, 24, has_addresses=True, addresses_at=12, trailer_bytes=4),  # the same behind a preamble
    276: Link(20, 0),  # Linux cooked, version 2
}
OTHER_LINKS = {
    3: "AX.25",
    6: "Token Ring",
    7: "ARCNET",
    8: "SLIP",
    10: "FDDI",
    105: "802.11",
    107: "Frame Relay",
    117: "PF log",
    119: "802.11 with a Prism header",
    123: "SunATM",
    127: "802.11 with a radiotap header",
    129: "ARCNET on Linux",
    143: "DOCSIS",
    163: "802.11 with an AVS header",
    165: "BACnet MS/TP",
    177: "LAPD",
    187: "Bluetooth HCI",
    189: "USB on Linux",
    192: "802.11 with a PPI header",
    195: "802.15.4",
    197: "ERF",
    201: "Bluetooth HCI with a direction",
    220: "USB on Linux",
    227: "CAN",
    230: "802.15.4 without FCS",
    239: "NFLOG",
    249: "USBPcap",
    251: "Bluetooth Low Energy",
    253: "netlink",
    258: "Apple PKTAP",
}
"""Names for messages, by the LINKTYPE_ numbers: what holds no Ethernet or IP at a known place."""
_LINUX_OUTGOING = 4
_VLAN_TAGS = (0x8100, 0x88A8)
_IPV4, _IPV6 = 0x0800, 0x86DD
_OF_PPP = {0x0021: _IPV4, 0x0057: _IPV6}
_WITH_PORTS = (6, 17, 132)  # TCP, UDP, SCTP


def linux_direction(data: bytes, link_type: int) -> int:
    """Linux's cooked headers hold a packet type: 4 was sent by us."""
    if link_type == 113 and len(data) >= 2:
        return OUTBOUND if data[1] == _LINUX_OUTGOING else INBOUND
    if link_type == 276 and len(data) >= 11:
        return OUTBOUND if data[10] == _LINUX_OUTGOING else INBOUND
    return UNKNOWN


def header_bytes(data: bytes, link: Link) -> int:
    """Length of the packet's link header; PPP's address and control field may be left out."""
    if link.header_bytes == 2 and link.is_ppp and data[:2] == b"\xff\x03":
        return 4
    return link.header_bytes


def ethertype(data: bytes, link: Link) -> int:
    """What follows the link header, as Ethernet calls it; 0 where that is not known."""
    at = header_bytes(data, link)
    if link.protocol_at is None:
        return {4: _IPV4, 6: _IPV6}.get(data[at] >> 4 if len(data) > at else 0, 0)
    where = link.protocol_at + at - link.header_bytes
    kind = int.from_bytes(data[where : where + 2], "big")
    return _OF_PPP.get(kind, kind) if link.is_ppp else kind


def flow_key(data: bytes, link: Link) -> bytes:
    """What tells flows apart: addresses, protocol and ports; only what was captured of them."""
    at = header_bytes(data, link)
    kind = ethertype(data, link)
    if link.protocol_at is not None:
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
