"""The two limits of throughput: a wire that is slower than everything, and a processor that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vfbench.machine.wire import WIRE_OVERHEAD_BYTES
from vfbench.profiles import Profile
from vfbench.validation.known.parts import Even, costs, delivered, machine
from vfbench.validation.tables import Row

RFC_2544_BYTES: Final = (64, 128, 256, 512, 1024, 1280, 1518)
"""RFC 2544, section 9.1: frame sizes to test on Ethernet."""
TEN_GBPS: Final = 10**10
PER_PACKET_NS: Final = ({"rx_packet": 700.0}, {"rx_packet": 700.0, "app_packet": 300.0})
_WARM_UP_PS: Final = 10**9
_LONG_PS: Final = 10**11


def frames_in(profile: Profile, workload: Even, length_ps: int, **link: int) -> int:
    """Frames delivered in a stretch of that length, after a warm-up."""
    running = machine(workload, profile, **link)
    running.advance(_WARM_UP_PS)
    before = delivered(running)
    running.advance(_WARM_UP_PS + length_ps)
    return delivered(running) - before


def line_rate_rows() -> Iterator[Row]:
    """A processor faster than anything: the wire's rate, to the frame, for every size."""
    for size in RFC_2544_BYTES:
        closed = _LONG_PS / ((size + WIRE_OVERHEAD_BYTES) * 8e12 / TEN_GBPS)
        found = frames_in(costs(), Even(frame_bytes=size), _LONG_PS, link_bps=TEN_GBPS)
        yield Row(
            "a processor faster than anything, 10 Gb/s",
            f"frames of {size} bytes in 100 ms",
            "frames",
            found,
            closed,
            "absolute",
            1,
            source="RFC 2544: line rate = link rate / (frame + 20 bytes)",
        )


def processor_limit_rows() -> Iterator[Row]:
    """A link faster than anything: one packet per time that the processor takes for it."""
    for times_ns in PER_PACKET_NS:
        closed = 1000 / sum(times_ns.values())
        found = frames_in(costs(**times_ns), Even(frame_bytes=64), _LONG_PS) / (_LONG_PS / 1e6)
        yield Row(
            "a link faster than anything, 400 Gb/s",
            " + ".join(f"{name} {ns:g} ns" for name, ns in times_ns.items()),
            "Mpps",
            found,
            closed,
            "relative",
            0.001,
            source="1 / (time per packet)",
        )
