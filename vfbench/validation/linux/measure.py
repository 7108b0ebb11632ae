"""Frames in, frames out, and what they made the guest's driver do: maps, unmaps, invalidations, interrupts, kicks.

Counted in the guest by its kernel (histogram triggers on the tracepoints iommu:map and iommu:unmap,
/proc/interrupts, /proc/net/dev) and in QEMU by its trace events, before and after; the difference is reported.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from vfbench.errors import RunFailed
from vfbench.testbeds.qemu.boot.guest import load_modules
from vfbench.testbeds.qemu.boot.setup import TRACE
from vfbench.validation.linux.counts import (
    ASKED_FOR,
    histogram_hits,
    interrupts_by_name,
    packets_of,
    trace_events,
)
from vfbench.validation.linux.drivers import INVALIDATIONS, PEER_MAC, NicDriver
from vfbench.validation.linux.guest import WiredGuest

EVENTS = "/sys/kernel/tracing/events/iommu"
HOLDING_PORT = 67
SETTLE_S = 0.3
"""After the last frame, for interrupts and completions that are still under way."""
LINK_UP_S = 20.0
PEER_ADDRESS = "10.0.0.9"
PING_HEADERS_BYTES = 14 + 20 + 8
SO_TIMESTAMPNS = 35
"""socket(7), asm-generic: the kernel says when each datagram was sent, however late it is read."""
POLLS = "/sys/kernel/tracing/events/napi/napi_poll"
REPEATED_INTERRUPT = "e1000e_irq_msix_notify_postponed_vec"
SOCKET_BYTES = 1 << 27
DHCP_SERVER = (
    "interface {}\\nlease_file /tmp/leases\\npidfile /tmp/pid\\nstart 10.0.0.100\\nend 10.0.0.101\\n"
)


@dataclass(frozen=True)
class Snapshot:
    """All counters at one moment."""

    maps: int
    unmaps: int
    polls: int
    received: int
    sent: int
    interrupts: dict[str, int]
    traced: Counter[str]


@dataclass(frozen=True)
class Counted:
    """What happened between two snapshots; ``packets`` went in the direction that was measured.

    ``moments_s``: when each was on the wire, for a clock of any beginning.
    """

    packets: int
    moments_s: tuple[float, ...]
    maps: int
    unmaps: int
    invalidations: int
    interrupts: int
    repeated_interrupts: int
    asked_interrupts: int
    kicks: int
    polls: int
    """NAPI polls, of whichever direction."""

    def per_packet(self, name: str) -> float:
        return float(getattr(self, name)) / self.packets


def prepare(guest: WiredGuest, driver: NicDriver) -> bytes:
    """Load the driver, bring its interface up, arm the counters; returns the interface's MAC address."""
    for scope in ("all", "default"):  # a router solicitation would be counted as a frame sent
        guest.ask(f"echo 1 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
    for event in ("map", "unmap"):
        guest.ask(f"test ! -d {EVENTS}/{event} || echo hist:keys=size > {EVENTS}/{event}/trigger")
    guest.ask(f"echo hist:keys=dev_name > {POLLS}/trigger")
    guest.ask(f"sysctl -w net.core.rmem_max={SOCKET_BYTES} net.core.rmem_default={SOCKET_BYTES}")
    load_modules(guest, *driver.modules)
    for command in driver.setup:
        guest.ask(command)
    guest.ask(f"ifconfig {driver.interface} 10.0.0.1 up")
    _wait_for_link(guest, driver.interface)
    guest.ask(f"arp -s {PEER_ADDRESS} {PEER_MAC}")
    address = guest.ask(f"cat /sys/class/net/{driver.interface}/address")[0]
    return bytes.fromhex(address.replace(":", ""))


def _wait_for_link(guest: WiredGuest, interface: str) -> None:
    until = time.monotonic() + LINK_UP_S
    while guest.ask(f"cat /sys/class/net/{interface}/carrier") != ["1"]:
        if time.monotonic() > until:
            raise RunFailed(f"the guest's {interface} found no link within {LINK_UP_S:.0f} s")
        time.sleep(0.2)
    time.sleep(1)


def snapshot(guest: WiredGuest, driver: NicDriver) -> Snapshot:
    """Read every counter."""
    maps = histogram_hits(guest.ask(f"cat {EVENTS}/map/hist"))
    unmaps = histogram_hits(guest.ask(f"cat {EVENTS}/unmap/hist"))
    polls = histogram_hits(guest.ask(f"cat {POLLS}/hist"))
    received, sent = packets_of(guest.ask("cat /proc/net/dev"), driver.interface)
    interrupts = interrupts_by_name(guest.ask("cat /proc/interrupts"))
    with guest.setup.path(TRACE).open(encoding="utf-8", errors="replace") as trace:
        traced = trace_events(trace)
    return Snapshot(maps, unmaps, polls, received, sent, interrupts, traced)


def between(
    driver: NicDriver, before: Snapshot, after: Snapshot, direction: int, moments_s: Sequence[float]
) -> Counted:
    """What happened; ``direction`` is 0 for frames received, 1 for sent, which were on the wire at ``moments_s``."""
    traced = after.traced - before.traced
    # QEMU's igb (up to 10.1) sends every interrupt again when its throttle timer runs out, with nothing new to tell.
    repeated = traced[REPEATED_INTERRUPT]
    asked = traced[ASKED_FOR] if driver.messages else 0
    handler = driver.interrupts[direction].format(driver.interface)
    taken = after.interrupts.get(handler, 0) - before.interrupts.get(handler, 0)
    packets = (after.received - before.received, after.sent - before.sent)[direction]
    return Counted(
        packets=packets,
        moments_s=tuple(moments_s),
        maps=after.maps - before.maps,
        unmaps=after.unmaps - before.unmaps,
        invalidations=sum(traced[name] for name in INVALIDATIONS),
        interrupts=traced[driver.messages] - asked if driver.messages else taken,
        repeated_interrupts=repeated,
        asked_interrupts=asked,
        kicks=traced[driver.kicks[direction]],
        polls=after.polls - before.polls,
    )


def count_received(
    guest: WiredGuest, driver: NicDriver, frames: int, play: Callable[[], Sequence[float]]
) -> Counted:
    """``play`` puts ``frames`` frames on the wire and says when; RunFailed where the guest received another number."""
    before = snapshot(guest, driver)
    moments_s = play()
    time.sleep(SETTLE_S)
    counted = between(driver, before, snapshot(guest, driver), 0, moments_s)
    if counted.packets != frames:
        raise RunFailed(f"{driver.name} received {counted.packets} of {frames} frames")
    return counted


def count_sent(guest: WiredGuest, driver: NicDriver, frames: int, length_bytes: int, gap_s: float) -> Counted:
    """The guest pings a peer that doesn't answer, with frames of ``length_bytes`` without FCS, ``gap_s`` or more apart.

    busybox's ping sets its timer anew after each frame, so it is late at times but never catches up in a bunch, as the
    kernel's pktgen does.
    """
    data_bytes = length_bytes - PING_HEADERS_BYTES
    before = snapshot(guest, driver)
    with taking_frames(guest.peer) as moments_s:
        guest.ask(f"ping -q -c {frames} -s {data_bytes} -i {gap_s:.6f} -W 1 {PEER_ADDRESS} || true")
        time.sleep(SETTLE_S)
    counted = between(driver, before, snapshot(guest, driver), 1, moments_s)
    if counted.packets != frames:
        raise RunFailed(f"{driver.name} sent {counted.packets} of {frames} frames")
    return counted


@contextmanager
def taking_frames(peer: socket.socket) -> Iterator[list[float]]:
    """Take what arrives at ``peer`` as long as this lasts; the list is of the moments (s) when it was sent."""
    times: list[float] = []
    done = threading.Event()

    def take() -> None:
        peer.settimeout(0.05)
        peer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        while not done.is_set():
            try:
                _, ((_, _, stamp), *_), _, _ = peer.recvmsg(1 << 16, 64)
            except TimeoutError:
                continue
            seconds, nanoseconds = struct.unpack("ll", stamp)
            times.append(seconds + nanoseconds / 1e9)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


@contextmanager
def holding_socket(guest: WiredGuest, interface: str) -> Iterator[int]:
    """A UDP socket in the guest that takes datagrams and never reads one, so they are held; gives its port.

    It is busybox's DHCP server, stopped: the one applet that opens a UDP socket. What it holds is freed with it.
    """
    guest.ask(f"printf '{DHCP_SERVER.format(interface)}' > /tmp/udhcpd.conf; > /tmp/leases")
    guest.ask("udhcpd -f /tmp/udhcpd.conf > /dev/null 2>&1 & sleep 1; kill -STOP $!")
    if not any(f":{HOLDING_PORT:04X} " in line for line in guest.ask("cat /proc/net/udp")):
        raise RunFailed(f"the guest has no socket on UDP port {HOLDING_PORT}")
    try:
        yield HOLDING_PORT
    finally:
        guest.ask("killall -KILL udhcpd; sleep 1")
