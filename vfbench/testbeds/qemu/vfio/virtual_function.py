"""An 82599 VF as ixgbevf sees it: registers in front of the machine's queue pairs, mailbox and interrupts.

Source: 82599 datasheet, section 9 (registers of the virtual functions). Registers that neither the device nor the
driver's behaviour depends on keep what was written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vfbench.machine.vf.register_access import read_register, reset_registers, set_register
from vfbench.machine.vf.registers import (
    QUEUE_ENABLE,
    QUEUE_REGISTERS,
    RDH,
    RDLEN,
    RDT,
    RXDCTL,
    TDH,
    TDLEN,
    TDT,
    TXDCTL,
)
from vfbench.testbeds.qemu.vfio.config_space import CONFIG_BYTES, config_space
from vfbench.testbeds.qemu.vfio.interrupts import VTEIMS, Interrupts
from vfbench.testbeds.qemu.vfio.mailbox import WORDS, Mailbox

VFCTRL, VFLINKS, VFMBMEM, VFMAILBOX = 0x000, 0x010, 0x200, 0x2FC
VFCTRL_RESET = 1 << 26
LINK_UP_10G = 1 << 30 | 3 << 28
DESCRIPTOR_BYTES_SHIFT = 4
MOST_QUEUES = 2
"""Queue pairs for which three vectors are enough; ixgbevf asks for no more."""

_QUEUE_STRIDE = 0x40
_STATE_FIELDS = ("rx_base", "rx_head", "unwritten", "tx_base", "tx_head")
"""What of a queue pair's record is the device's own and goes with it."""


def _offsets() -> dict[int, tuple[int, int]]:
    """Offset in BAR 0 -> queue pair and index of the register."""
    found = {}
    for queue in range(MOST_QUEUES):
        for index, (_, offset) in enumerate(QUEUE_REGISTERS):
            found[offset + queue * _QUEUE_STRIDE] = (queue, index)
    return found


QUEUE_OFFSETS = _offsets()


class VirtualFunction:
    """One place's VF over ``pairs`` and ``devices``, a record of each for every queue pair.

    ``driver_took`` is called with the time when the driver unmasks a vector, which it does once it has polled its
    queues empty.
    """

    def __init__(self, pairs: Any, devices: Any, device_id: int, mac: bytes) -> None:
        self.pairs, self.devices = pairs, devices
        self._device_id = device_id
        self.config = config_space(device_id)
        self.interrupts = Interrupts()
        self.mailbox = Mailbox(mac, MOST_QUEUES)
        self.doorbells = 0
        self.resets = 0
        self.driver_took: Callable[[int], object] = int
        self._plain: dict[int, int] = {}

    # -- registers

    def read(self, offset: int) -> int:
        """A 32-bit register of BAR 0."""
        if offset in QUEUE_OFFSETS:
            queue, index = QUEUE_OFFSETS[offset]
            return int(read_register(self.pairs[queue], index)) & 0xFFFF_FFFF
        if offset == VFLINKS:
            return LINK_UP_10G
        if offset == VFMAILBOX:
            return self.mailbox.read_status()
        if VFMBMEM <= offset < VFMBMEM + 4 * WORDS:
            return self.mailbox.words[(offset - VFMBMEM) >> 2]
        found = self.interrupts.read(offset)
        return self._plain.get(offset, 0) if found is None else found

    def write(self, offset: int, value: int, now_ps: int) -> None:
        """Write a 32-bit register of BAR 0."""
        if offset in QUEUE_OFFSETS:
            self._write_queue(*QUEUE_OFFSETS[offset], value, now_ps)
        elif offset == VFCTRL and value & VFCTRL_RESET:
            self.reset()
        elif offset == VFMAILBOX:
            self.mailbox.write_status(value)
        elif VFMBMEM <= offset < VFMBMEM + 4 * WORDS:
            self.mailbox.words[(offset - VFMBMEM) >> 2] = value
        elif self.interrupts.write(offset, value):
            self._set_throttle()
            if offset == VTEIMS:
                self.driver_took(now_ps)
        else:
            self._plain[offset] = value

    def _write_queue(self, queue: int, index: int, value: int, now_ps: int) -> None:
        pair, device = self.pairs[queue], self.devices[queue]
        if index in (RDT, TDT):
            self.doorbells += 1
        if index == RDLEN:
            device.rx_size = value >> DESCRIPTOR_BYTES_SHIFT
        elif index == TDLEN:
            device.tx_size = value >> DESCRIPTOR_BYTES_SHIFT
        elif index == RDH and not pair.nic.register[RXDCTL] & QUEUE_ENABLE:
            # Software initialises the heads of a queue that is disabled (82599 datasheet, 4.6.7 and 4.6.8).
            pair.nic.rx_head = value
        elif index == TDH and not pair.nic.register[TXDCTL] & QUEUE_ENABLE:
            pair.nic.tx_head = value
        set_register(pair, index, value, now_ps)

    def _set_throttle(self) -> None:
        for queue in range(MOST_QUEUES):
            self.pairs[queue].interrupt_interval_ps = self.interrupts.interval_ps_of_queue(queue)

    def reset(self) -> None:
        """A function-level reset: registers, heads and mailbox; QEMU's eventfds stay."""
        self.resets += 1
        self._plain.clear()
        self.interrupts.reset()
        self.mailbox.reset()
        for pair in self.pairs:
            reset_registers(pair)
            pair.interrupt_pending = 0

    def unplug(self) -> None:
        """QEMU is gone: as new."""
        self.interrupts.clear_eventfds()
        self.reset()
        self.config = config_space(self._device_id)

    # -- configuration space

    def read_config(self, offset: int, count: int) -> bytes:
        return bytes(self.config[offset : min(offset + count, CONFIG_BYTES)]).ljust(count, b"\0")

    def write_config(self, offset: int, value: bytes) -> None:
        """QEMU emulates BARs and MSI-X itself; what it forwards is kept."""
        if offset + len(value) <= CONFIG_BYTES:
            self.config[offset : offset + len(value)] = value

    # -- as time passes

    def send_interrupts(self, now_ps: int) -> None:
        """What the machine's queue pairs have asked for, and whose throttle allows it by now."""
        for queue, pair in enumerate(self.pairs):
            if pair.interrupt_pending and pair.interrupt_ps <= now_ps:
                pair.interrupt_pending = 0
                pair.last_interrupt_ps = now_ps
                self.interrupts.raise_queue(queue)

    @property
    def driver_waits(self) -> bool:
        """The driver has seen all that the device wrote back."""
        return self.interrupts.driver_waits and not any(int(pair.interrupt_pending) for pair in self.pairs)

    @property
    def queues_in_use(self) -> int:
        """Receive queues that the driver enabled."""
        return sum(bool(int(pair.nic.register[RXDCTL]) & QUEUE_ENABLE) for pair in self.pairs)

    # -- stop, save and load

    def stop(self) -> None:
        """No DMA and no interrupt from now on; frames in the FIFO are lost."""
        for pair in self.pairs:
            pair.enabled = 0
            pair.oracle.lost_reset += pair.nic.fifo_tail - pair.nic.fifo_head
            pair.nic.fifo_head, pair.nic.fifo_bytes = pair.nic.fifo_tail, 0

    def start(self) -> None:
        """The device moves packets."""
        for pair in self.pairs:
            pair.enabled = 1

    def rings(self) -> list[tuple[int, int]]:
        """Device address and length in bytes of every ring in use."""
        found = []
        for pair, device in zip(self.pairs, self.devices, strict=True):
            if pair.nic.register[RXDCTL] & QUEUE_ENABLE:
                found.append((int(pair.nic.rx_base), int(device.rx_size) << DESCRIPTOR_BYTES_SHIFT))
            if pair.nic.register[TXDCTL] & QUEUE_ENABLE:
                found.append((int(pair.nic.tx_base), int(device.tx_size) << DESCRIPTOR_BYTES_SHIFT))
        return found

    def save(self) -> dict[str, Any]:
        """All that the driver knows of it (S1): plain values."""
        return {
            "plain": dict(self._plain),
            "interrupts": self.interrupts.state(),
            "mailbox": self.mailbox.state(),
            "queues": [
                {
                    "register": [int(value) for value in pair.nic.register],
                    "rx_size": int(device.rx_size),
                    "tx_size": int(device.tx_size),
                    **{name: int(pair["nic"][name]) for name in _STATE_FIELDS},
                }
                for pair, device in zip(self.pairs, self.devices, strict=True)
            ],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Become the VF that was saved."""
        self._plain = {int(offset): value for offset, value in state["plain"].items()}
        self.interrupts.load(state["interrupts"])
        self.mailbox.load(state["mailbox"])
        for pair, device, queue in zip(self.pairs, self.devices, state["queues"], strict=True):
            pair.nic.register[:] = queue["register"]
            device.rx_size, device.tx_size = queue["rx_size"], queue["tx_size"]
            for name in _STATE_FIELDS:
                pair["nic"][name] = queue[name]
        self._set_throttle()

    def interrupt_driver(self) -> None:
        """An interrupt for each queue pair: one that was on its way when the guest moved may be gone."""
        for queue in range(MOST_QUEUES):
            self.interrupts.raise_queue(queue)
