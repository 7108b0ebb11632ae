"""The table that `bench validate linux` ends in: rows, versions, and what is left out."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from vfbench.testbeds.qemu.parts.described import Parts
from vfbench.validation.tables import Row, ValidationTable

LEFT_OUT = (
    "Time: guest code is emulated, so what a map, an exit or an interrupt takes is not measured here.",
    "Bursts: frames come one at a time, so that interrupts and kicks do not depend on the host's speed.",
    "A VF's tail writes are measured and not predicted: they reach an assigned VF without the hypervisor.",
    "virtio-net behind an IOMMU: the model's virtio driver maps nothing.",
    "When in a tick of 4 ms the first frame comes, which lazy invalidations depend on: predicted is the mean.",
    "What QEMU's emulation has to translate anew at the destination, which may be some 100 ms of the gap that the "
    "peer sees (not measured apart).",
)


def validation_table(rows: Sequence[Row], parts: Parts, said: Sequence[str], command: str) -> ValidationTable:
    """All rows, under which circumstances they were obtained. ``said``: what the guest's kernel said of its IOMMU."""
    return ValidationTable(
        name="linux",
        title="Real Linux drivers in real QEMU",
        observed_as="measured",
        rows=tuple(rows),
        circumstances={
            "QEMU": parts.qemu.release,
            "kernel": parts.kernel.release,
            "host": f"{platform.system()} {platform.release()}, {platform.machine()}, TCG",
            "the model was told": "when each frame was on the wire: lazy invalidations follow a timer",
            "date": datetime.now(UTC).date().isoformat(),
            "command": command,
            "the kernel said": "; ".join(dict.fromkeys(said)) or "nothing",
        },
        left_out=LEFT_OUT,
    )
