"""A thread of the host that reads the VF's receive rings and marks the pages of buffers whose descriptors are done.

A descriptor that is done says no more where its buffer was: its address has been written over. So the thread reads
each descriptor when the driver posts it, keeps the address, and marks that page once the descriptor is done, or shows
another address because it was done and posted anew meanwhile. It has one core for all queues and can be too slow: then
a descriptor was posted and done between two looks, or a whole turn of the ring was. It notices the one at once and the
other by the VF's count of received frames, and every page counts as dirty. Rings are taken at each sync.

Source: Xu, Davda, SRVM: Hypervisor Support for Live Migration with Passthrough SR-IOV Network Devices, VEE 2016
(abstract; the rest is derived). 82599 datasheet: VFGPRC counts good packets received.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vfbench.kernels import Kernel, kernel
from vfbench.linux_guest import LinuxGuest
from vfbench.machine.host import host_area, host_load, host_price
from vfbench.machine.memory.guest_memory import PAGE_SHIFT
from vfbench.machine.memory.words import load_word, store_word
from vfbench.machine.vf.descriptors import DESCRIPTOR_SHIFT, rx_is_done
from vfbench.mechanism import DirtySource, Found, HostView, QueueSizes, Trait, hook
from vfbench.mechanisms.page_marks import mark, mark_words, take_marks

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need

READ, SEEN, STATE = range(3)
"""Its structures on the host: marks; for each descriptor the address that was posted, 0 for none; words a queue."""
STATE_WORDS = 8
ON, CLOCK, NEXT, POSTED, MARKED, RECEIVED, MISSED, QUEUES = range(STATE_WORDS)
"""NEXT: whose completion is awaited; POSTED: whose posting is; MARKED, RECEIVED: packets, by the thread, by the VF."""
PASS_PRICE, DESCRIPTOR_PRICE = range(2)
UNTOLD = 32
"""Descriptors that the device may have used without having written them back."""


@kernel
def state_of(host: Any, slot: int) -> int:
    """Address of the queue's words."""
    return host_area(host, slot, STATE) + 8 * STATE_WORDS * host.queue


@kernel
def seen_of(host: Any, slot: int) -> int:
    """Address of the queue's list of posted addresses."""
    return host_area(host, slot, SEEN) + 8 * host.rx_size * host.queue


@kernel
def descriptor_at(host: Any, i: int) -> int:
    """Guest-physical address of a descriptor."""
    return host.rx_ring + (i << DESCRIPTOR_SHIFT)


@kernel
def read_posted(host: Any, slot: int) -> int:
    """Keep the addresses of what was posted since the last pass; returns how many descriptors were read."""
    state, seen, mask = state_of(host, slot), seen_of(host, slot), host.rx_size - 1
    i, count = load_word(state, POSTED), 0
    while count < host.rx_size:
        if load_word(seen, i) != 0:
            # Known already: posted anew before it was seen to be done. The ring ends where the next one is awaited.
            if i == load_word(state, NEXT):
                break
            i = (i + 1) & mask
            count += 1
            continue
        address, status = host_load(host, descriptor_at(host, i)), host_load(host, descriptor_at(host, i) + 8)
        if address == 0 or rx_is_done(status):
            break
        store_word(seen, i, address)
        i = (i + 1) & mask
        count += 1
    store_word(state, POSTED, i)
    return count


@kernel
def take_done(host: Any, slot: int, state: int, seen: int, i: int) -> bool:
    """Whether descriptor ``i`` has been used since it was posted; its page is marked, if it is known."""
    address, status = host_load(host, descriptor_at(host, i)), host_load(host, descriptor_at(host, i) + 8)
    known, done = load_word(seen, i), rx_is_done(status)
    if known == 0:
        if not done:
            return False
        # Posted and done between two looks: where its packet is nobody can say.
        store_word(state, MISSED, load_word(state, MISSED) + 1)
        store_word(state, POSTED, (i + 1) & (host.rx_size - 1))
        return True
    if not done and address == known:
        return False
    mark(host, slot, READ, known >> PAGE_SHIFT)
    store_word(seen, i, 0 if done else address)
    return True


@kernel
def mark_done(host: Any, slot: int) -> int:
    """Mark what has been used since the last pass; returns how many descriptors were read."""
    state, seen, mask = state_of(host, slot), seen_of(host, slot), host.rx_size - 1
    i, count = load_word(state, NEXT), 0
    while count < host.rx_size and take_done(host, slot, state, seen, i):
        i = (i + 1) & mask
        count += 1
    store_word(state, NEXT, i)
    store_word(state, MARKED, load_word(state, MARKED) + count)
    return count


@hook
def read_ring(host: Any, slot: int) -> int:
    """One pass over a ring; returns how many descriptors were read."""
    return read_posted(host, slot) + mark_done(host, slot)


@hook
def read_rings(host: Any, slot: int, until_ps: int) -> int:
    """The thread at work beside one queue; its core takes the queues in turn, so a pass takes as many times as long."""
    state = state_of(host, slot)
    if load_word(state, ON) == 0:
        return 0
    clock = load_word(state, CLOCK)
    while clock < until_ps:
        count = read_ring(host, slot)
        took = host_price(host, slot, PASS_PRICE) + count * host_price(host, slot, DESCRIPTOR_PRICE)
        # With nothing to read it looks again and again, up to now.
        clock = clock + took * load_word(state, QUEUES) if count else until_ps
    store_word(state, CLOCK, clock)
    return 0


@hook
def count_received(host: Any, slot: int, address: int, time_ps: int) -> int:
    """The VF's own count of frames that it received."""
    if address >= host.first_page:
        state = state_of(host, slot)
        store_word(state, RECEIVED, load_word(state, RECEIVED) + 1)
    return 0


@kernel
def is_posted(host: Any, i: int) -> bool:
    """Whether descriptor ``i`` waits for the device."""
    at = descriptor_at(host, i)
    return host_load(host, at) != 0 and not rx_is_done(host_load(host, at + 8))


@hook
def begin_reading(host: Any, slot: int) -> int:
    """Where the device is: the first posted descriptor behind one that is not; where none is, the one empty slot."""
    state, seen, mask = state_of(host, slot), seen_of(host, slot), host.rx_size - 1
    begin = 0
    for i in range(host.rx_size):
        store_word(seen, i, 0)
        empty = not is_posted(host, i) and not rx_is_done(host_load(host, descriptor_at(host, i) + 8))
        if is_posted(host, i) and not is_posted(host, (i - 1) & mask):
            begin = i
            break
        if empty:
            begin = i
    for i in range(host.rx_size):
        store_word(seen, i, 0)
    store_word(state, NEXT, begin)
    store_word(state, POSTED, begin)
    store_word(state, MISSED, 0)
    read_posted(host, slot)
    store_word(state, MARKED, 0)
    store_word(state, RECEIVED, 0)
    return host.rx_size


@hook
def mark_untold(host: Any, slot: int) -> int:
    """After the stop: buffers that the device may have written without saying so."""
    seen, i = seen_of(host, slot), load_word(state_of(host, slot), NEXT)
    for _ in range(min(UNTOLD, host.rx_size)):
        if load_word(seen, i) != 0:
            mark(host, slot, READ, load_word(seen, i) >> PAGE_SHIFT)
        i = (i + 1) & (host.rx_size - 1)
    return UNTOLD


@dataclass(frozen=True)
class RingReader(DirtySource):
    """A host thread follows the receive rings while the hypervisor tracks; the guest is as it was."""

    name: ClassVar[str] = "ring-reader"
    demands: ClassVar[tuple[str, ...]] = ("host-core", "host-qemu")
    work: ClassVar[Kernel | None] = read_rings
    dma_written: ClassVar[Kernel | None] = count_received
    costs: ClassVar[tuple[str, ...]] = ("ring_pass", "ring_inspect_descriptor")

    last_pass: bool = True
    """Whether the rings are read once more after the stop."""
    heeds_misses: bool = True
    """Whether everything is dirty once it was too slow."""

    @property
    def needs(self) -> tuple[Need, ...]:
        return ("readable_rings",)

    def host_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {
            "read": mark_words(sizes),
            "seen": sizes.rx_ring * sizes.queues,
            "state": STATE_WORDS * sizes.queues,
        }

    def arm(self, view: HostView) -> int:
        read = sum(view.run(begin_reading))
        state = self._state(view)
        state[:, CLOCK], state[:, QUEUES], state[:, ON] = view.now_ps, view.queues, 1
        return self._took_ps(view, read)

    def disarm(self, view: HostView) -> int:
        self._state(view)[:, ON] = 0
        return 0

    def sync(self, view: HostView, last: bool) -> Found:
        state = self._state(view)
        if not state[:, ON].any():
            return Found()
        time_ps = 0
        if last and self.last_pass:
            time_ps = self._took_ps(view, sum(view.run(read_ring)) + sum(view.run(mark_untold)))
        pages, _ = take_marks(view, "read")
        failed = self._missed(view, last) and self.heeds_misses
        if last:
            # The thread ends: the destination's rings are another's.
            state[:, ON] = 0
        if last and not self.last_pass:
            return Found(pages | view.ring_pages)
        return Found(pages | view.ring_pages, time_ps, failed=failed)

    def _missed(self, view: HostView, last: bool) -> bool:
        """Whether it knows that it missed something since it began, or by the VF's count more than lies in the ring."""
        state = self._state(view)
        allowed = UNTOLD if last else view.host_structure("seen").size // view.queues - 1
        return bool(state[:, MISSED].any() or (state[:, RECEIVED] - state[:, MARKED] > allowed).any())

    def _state(self, view: HostView) -> Any:
        return view.host_structure("state").reshape(-1, STATE_WORDS)

    def _took_ps(self, view: HostView, descriptors: int) -> int:
        return view.queues * view.picoseconds("ring_pass") + descriptors * view.picoseconds(
            "ring_inspect_descriptor"
        )

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"dma_visible_by": "ring-reader", "guest_unchanged": True}

    @property
    def faults(self) -> tuple[int, ...]:
        switched_on = {15: not self.last_pass, 16: not self.heeds_misses}
        return tuple(number for number, on in switched_on.items() if on)

    def reports(self, view: HostView) -> Mapping[str, float]:
        state = self._state(view)
        return {"missed": float(state[:, MISSED].sum()), "marked": float(state[:, MARKED].sum())}

    def linux(self) -> LinuxGuest:
        return LinuxGuest(refusals=("a host thread that reads rings: no stock QEMU has one",))
