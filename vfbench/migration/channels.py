"""QEMU's stream and its multifd channels: what a page takes on the wire, and of the threads that send and load it.

Without multifd one stream carries a header of 8 bytes and the page, or, for a page of zeros, the header and one byte
(migration/ram.c). With it the migration thread only finds pages and queues them; channels send packets of 512 KiB, each
behind a header with an offset a page (migration/multifd.c), and a page of zeros is an offset without a page
(migration/multifd-zero-page.c). Each channel has a thread at both ends, so what a thread takes is shared by as many as
there are channels. The line and the migration thread are not: there it saturates.

A page of zeros is not written by the destination on the first pass, which leaves memory alone that was never touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vfbench.machine.memory.guest_memory import PAGE_BYTES

if TYPE_CHECKING:
    from vfbench import settings
    from vfbench.profiles import Profile

HEADER_BYTES: Final = 8
"""Before each page of the one stream."""
ZERO_PAGE_BYTES: Final = HEADER_BYTES + 1
PACKET_PAGES: Final = 128
"""``MULTIFD_PACKET_SIZE``, 512 KiB."""
PACKET_HEADER_BYTES: Final = 320
"""``MultiFDPacket_t`` without its offsets, the RAM block's name of 256 bytes included."""
OFFSET_BYTES: Final = 8
PACKET_BYTES: Final = PACKET_HEADER_BYTES + PACKET_PAGES * OFFSET_BYTES
"""What stands before a packet's pages: room for all offsets, however many there are."""
CHANNEL_BYTES_A_PAGE: Final = PACKET_BYTES / PACKET_PAGES
"""Its share of each page of a full packet."""

PS_PER_S: Final = 10**12


@dataclass(frozen=True)
class PageTimes:
    """Picoseconds and bytes for a page that holds something, and for one of zeros."""

    page_ps: int
    page_bytes: int
    zero_ps: int
    zero_bytes: int
    detects_zeros: bool
    saturated: str
    """What a page that holds something waits for: line, destination, migration-thread or channels."""


def page_times(profile: Profile, migration: settings.Precopy) -> PageTimes:
    """What pages take by the settings of an experiment: the slowest of all that a page must pass counts."""
    parts = _parts_ps(profile, migration)
    page_bytes, zero_bytes = _sizes(profile, migration)
    slowest = max(parts, key=lambda part: parts[part])
    return PageTimes(
        page_ps=round(parts[slowest]),
        page_bytes=page_bytes,
        zero_ps=max(1, round(_zero_ps(profile, migration, zero_bytes))),
        zero_bytes=zero_bytes,
        detects_zeros=migration.zero_pages in ("legacy", "multifd"),
        saturated=slowest,
    )


def _sizes(profile: Profile, migration: settings.Precopy) -> tuple[int, int]:
    if not migration.multifd_channels:
        header_bytes = int(profile.value("page_header"))
        return PAGE_BYTES + header_bytes, header_bytes + 1
    by_channel = migration.zero_pages == "multifd"
    return PAGE_BYTES + round(CHANNEL_BYTES_A_PAGE), OFFSET_BYTES if by_channel else ZERO_PAGE_BYTES


def _parts_ps(profile: Profile, migration: settings.Precopy) -> dict[str, float]:
    """By what a page has to pass, how long it takes there."""
    channels = migration.multifd_channels
    page_bytes = _sizes(profile, migration)[0]
    # The migration thread looks through each page for zeros before it sends it (`save_zero_page`).
    thread_ps = _scan_ps(profile) if migration.zero_pages in ("filled", "legacy") else 0.0
    parts = {
        "line": page_bytes * 8 * PS_PER_S / migration.line_rate_bps,
        # A destination that loads pages more slowly than the line takes them holds the stream up.
        "destination": page_bytes * profile.picoseconds_per_byte("destination_load_rate") / max(1, channels),
        "migration-thread": thread_ps,
    }
    if channels:
        parts["migration-thread"] += profile.picoseconds("multifd_queue_page")
        parts["channels"] = page_bytes * profile.picoseconds_per_byte("multifd_send_rate") / channels
    return parts


def _zero_ps(profile: Profile, migration: settings.Precopy, zero_bytes: int) -> float:
    """A page of zeros is looked through to its end, by the migration thread or by a channel."""
    channels = migration.multifd_channels
    line_ps = zero_bytes * 8 * PS_PER_S / migration.line_rate_bps
    if migration.zero_pages == "multifd":
        return max(line_ps, profile.picoseconds("multifd_queue_page"), _scan_ps(profile) / channels)
    return max(line_ps, _scan_ps(profile))


def _scan_ps(profile: Profile) -> float:
    return PAGE_BYTES * profile.picoseconds_per_byte("zero_page_scan_rate")
