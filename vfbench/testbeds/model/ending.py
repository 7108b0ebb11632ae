"""How the steady state and a run end: by what was offered, by what the source still has, by what is on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vfbench.errors import RunFailed
from vfbench.machine.queue_pair import PATH_VF
from vfbench.machine.vf.registers import TDT
from vfbench.machine.wire import BUFFER_BYTES, NEVER_PS, WIRE_OVERHEAD_BYTES
from vfbench.testbeds.model.timeline import Counters
from vfbench.workload import ignore_replies

if TYPE_CHECKING:
    from vfbench.testbeds.model.machine import Machine
    from vfbench.testbeds.model.timeline import Timeline

PACKET_STEP_PS = 20 * 10**6
SETTLE_STEP_PS = 10**9
LONGEST_STALL_PS = 10**12
"""A driver that polls this long without a packet to show for it polls for ever."""


def run_until_offered(machine: Machine, timeline: Timeline, offered: int) -> None:
    """Advance until the peer has offered so many packets in all, or has no more to offer.

    Steps end on a grid of PACKET_STEP_PS; where no frame is due for longer, one step reaches over the silence.
    """
    while int(machine.pairs.oracle.rx_offered.sum()) < offered:
        due_ps = max(int(machine.source.next_ps), int(machine.source.wire_free_ps))
        if int(machine.source.next_ps) < NEVER_PS:
            silent_steps = max(0, due_ps - machine.now_ps) // PACKET_STEP_PS
            timeline.advance(machine.now_ps + max(1, silent_steps) * PACKET_STEP_PS)
        elif is_open_loop(machine) or not _is_moving(machine, timeline):
            return


def is_open_loop(machine: Machine) -> bool:
    """Whether answers bring no further frames."""
    return type(machine.experiment.workload).peer_received is ignore_replies


def settle(machine: Machine, timeline: Timeline) -> None:
    """The peer falls silent; what is on its way arrives, and what never will is counted as lost.

    RunFailed where the ledger does not add up then.
    """
    machine.source.frames_left = 0
    stalled_ps = 0
    while _is_under_way(machine) and stalled_ps <= LONGEST_STALL_PS + 2 * _hold_ps(machine):
        before, began_ps = _progress(machine), machine.now_ps
        if not _is_moving(machine, timeline):
            break
        stalled_ps = 0 if _progress(machine) != before else stalled_ps + machine.now_ps - began_ps
    timeline.finish()
    for pair in machine.pairs:
        pair.nic.rx_taken = 0
        machine.empty_fifo(pair)
        pair.oracle.lost_ring += int(pair.oracle.slot["pending"].sum()) + int(
            pair.oracle.gathered["frames"].sum()
        )
        pair.oracle.slot["pending"] = pair.oracle.gathered["frames"] = 0
    if _open_packets(machine) != 0:
        raise RunFailed(
            f"the ledger does not add up: {_open_packets(machine)} packets are neither here nor lost"
        )


def _is_under_way(machine: Machine) -> bool:
    """Whether a packet offered is neither delivered nor lost yet, a wire is taken, or the card has sends to cut."""
    return (
        _open_packets(machine) > 0
        or _wires_free_ps(machine) > machine.now_ps
        or (machine.experiment.driver.segmentation == "on" and _has_sends(machine))
    )


def _has_sends(machine: Machine) -> bool:
    """Whether a VF that works has descriptors to send, or is amid a send."""
    return any(
        pair.nic.tx_left
        or (pair.enabled and pair.path == PATH_VF and pair.nic.tx_head != pair.nic.register[TDT])
        for pair in machine.pairs
    )


def _is_moving(machine: Machine, timeline: Timeline) -> bool:
    """Advance past all that can hold a packet up; False if nothing changed, no driver polls and no wire was taken.

    A packet waits for the wire, which takes as long as one frame lasts at its speed, or in the application.
    """
    before, taken = _progress(machine), _wires_free_ps(machine) > machine.now_ps
    frame_bytes = max(BUFFER_BYTES, int(machine.cpus[0].frame_bytes))
    frame_ps = (frame_bytes + WIRE_OVERHEAD_BYTES) * int(machine.pairs.nic.ps_per_byte.max())
    step_ps = max(SETTLE_STEP_PS, frame_ps) + _hold_ps(machine)
    timeline.advance(max(machine.now_ps + step_ps, _wires_free_ps(machine)))
    return taken or bool(machine.pairs.polling.any()) or _progress(machine) != before


def _wires_free_ps(machine: Machine) -> int:
    """When the last frame on either wire is through."""
    return max(int(machine.source.wire_free_ps), int(machine.pairs.nic.tx_free_ps.max()))


def _hold_ps(machine: Machine) -> int:
    return machine.experiment.workload.hold_ns * 1000


def _progress(machine: Machine) -> tuple[int, int]:
    """Packets still open, and answers that reached the peer."""
    return _open_packets(machine), int(machine.pairs.oracle.tx_delivered.sum())


def _open_packets(machine: Machine) -> int:
    """Packets offered that are not yet delivered, corrupted or lost."""
    now = Counters(machine)
    return now.offered - now.delivered - now.corrupted - now.lost
