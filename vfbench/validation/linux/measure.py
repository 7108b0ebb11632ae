"""Frames in, frames out, and what they made the guest's driver do: maps, unmaps, invalidations, interrupts, kicks.

Counted in the guest by its kernel (histogram triggers on the tracepoints iommu:map and iommu:unmap,
/proc/interrupts, /proc/net/dev) and in QEMU by its trace events, before and after; the difference is reported.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from vfbench.errors import RunFailed
from vfbench.validation.linux.counts import histogram_hits, interrupts_by_name, packets_of, trace_events
from vfbench.validation.linux.drivers import INVALIDATIONS, PEER_MAC, NicDriver
from vfbench.validation.linux.guest import Guest, load_modules

EVENTS = "/sys/kernel/tracing/events/iommu"
HOLDING_PORT = 67
SETTLE_S = 0.3
"""After the last frame, for interrupts and completions that are still under way."""
LINK_UP_S = 20.0
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
    received: int
    sent: int
    interrupts: dict[str, int]
    traced: Counter[str]


@dataclass(frozen=True)
class Counted:
    """What happened between two snapshots; ``packets`` went in the direction that was measured."""

    packets: int
    seconds: float
    maps: int
    unmaps: int
    invalidations: int
    interrupts: int
    repeated_interrupts: int
    kicks: int

    @property
    def packets_per_s(self) -> float:
        """As fast as they really came; a busy host is slower than asked for."""
        return self.packets / self.seconds

    def per_packet(self, name: str) -> float:
        return float(getattr(self, name)) / self.packets


def prepare(guest: Guest, driver: NicDriver) -> bytes:
    """Load the driver, bring its interface up, arm the counters; returns the interface's MAC address."""
    for scope in ("all", "default"):  # a router solicitation would be counted as a frame sent
        guest.ask(f"echo 1 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
    for event in ("map", "unmap"):
        guest.ask(f"test ! -d {EVENTS}/{event} || echo hist:keys=size > {EVENTS}/{event}/trigger")
    guest.ask(f"sysctl -w net.core.rmem_max={SOCKET_BYTES} net.core.rmem_default={SOCKET_BYTES}")
    load_modules(guest, (*driver.modules, "pktgen"))
    for command in driver.setup:
        guest.ask(command)
    guest.ask(f"ifconfig {driver.interface} 10.0.0.1 up")
    _wait_for_link(guest, driver.interface)
    address = guest.ask(f"cat /sys/class/net/{driver.interface}/address")[0]
    return bytes.fromhex(address.replace(":", ""))


def _wait_for_link(guest: Guest, interface: str) -> None:
    until = time.monotonic() + LINK_UP_S
    while guest.ask(f"cat /sys/class/net/{interface}/carrier") != ["1"]:
        if time.monotonic() > until:
            raise RunFailed(f"the guest's {interface} found no link within {LINK_UP_S:.0f} s")
        time.sleep(0.2)
    time.sleep(1)


def snapshot(guest: Guest, driver: NicDriver) -> Snapshot:
    """Read every counter."""
    maps = histogram_hits(guest.ask(f"cat {EVENTS}/map/hist"))
    unmaps = histogram_hits(guest.ask(f"cat {EVENTS}/unmap/hist"))
    received, sent = packets_of(guest.ask("cat /proc/net/dev"), driver.interface)
    interrupts = interrupts_by_name(guest.ask("cat /proc/interrupts"))
    with guest.setup.trace.open(encoding="utf-8", errors="replace") as trace:
        traced = trace_events(trace)
    return Snapshot(maps, unmaps, received, sent, interrupts, traced)


def between(driver: NicDriver, before: Snapshot, after: Snapshot, direction: int, seconds: float) -> Counted:
    """What happened; ``direction`` is 0 for frames received, 1 for sent, which took ``seconds``."""
    traced = after.traced - before.traced
    # QEMU's igb (up to 10.1) sends every interrupt again when its throttle timer runs out, with nothing new to tell.
    repeated = traced[REPEATED_INTERRUPT]
    handler = driver.interrupts[direction].format(driver.interface)
    taken = after.interrupts.get(handler, 0) - before.interrupts.get(handler, 0)
    packets = (after.received - before.received, after.sent - before.sent)[direction]
    return Counted(
        packets=packets,
        seconds=seconds,
        maps=after.maps - before.maps,
        unmaps=after.unmaps - before.unmaps,
        invalidations=sum(traced[name] for name in INVALIDATIONS),
        interrupts=traced[driver.messages] if driver.messages else taken,
        repeated_interrupts=repeated,
        kicks=traced[driver.kicks[direction]],
    )


def count_received(guest: Guest, driver: NicDriver, frames: int, play: Callable[[], object]) -> Counted:
    """``play`` puts ``frames`` frames on the wire; RunFailed where the guest received another number."""
    before, began = snapshot(guest, driver), time.perf_counter()
    play()
    seconds = time.perf_counter() - began
    time.sleep(SETTLE_S)
    counted = between(driver, before, snapshot(guest, driver), 0, seconds)
    if counted.packets != frames:
        raise RunFailed(f"{driver.name} received {counted.packets} of {frames} frames")
    return counted


def count_sent(guest: Guest, driver: NicDriver, frames: int, length_bytes: int, gap_ns: int) -> Counted:
    """The guest's pktgen sends ``frames`` frames of ``length_bytes`` without FCS, ``gap_ns`` apart, each once."""
    guest.ask("echo rem_device_all > /proc/net/pktgen/kpktgend_0")
    guest.ask(f"echo add_device {driver.interface} > /proc/net/pktgen/kpktgend_0")
    for setting in (
        *(f"count {frames}", f"pkt_size {length_bytes}", f"delay {gap_ns}", "clone_skb 0"),
        *(f"dst_mac {PEER_MAC}", "dst 10.0.0.9"),
    ):
        guest.ask(f"echo {setting} > /proc/net/pktgen/{driver.interface}")
    before = snapshot(guest, driver)
    with taking_frames(guest.peer) as times:
        guest.ask("echo start > /proc/net/pktgen/pgctrl")
        time.sleep(SETTLE_S)
    seconds = (times[-1] - times[0]) * frames / max(1, frames - 1) if times else 0.0
    counted = between(driver, before, snapshot(guest, driver), 1, seconds)
    if counted.packets != frames:
        raise RunFailed(f"{driver.name} sent {counted.packets} of {frames} frames")
    return counted


@contextmanager
def taking_frames(peer: socket.socket) -> Iterator[list[float]]:
    """Take what arrives at ``peer`` as long as this lasts; the list is of the times (monotonic, s) of arrival."""
    times: list[float] = []
    done = threading.Event()

    def take() -> None:
        peer.settimeout(0.05)
        while not done.is_set():
            try:
                peer.recv(1 << 16)
            except TimeoutError:
                continue
            times.append(time.monotonic())

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield times
    finally:
        done.set()
        thread.join()


@contextmanager
def holding_socket(guest: Guest, interface: str) -> Iterator[int]:
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
