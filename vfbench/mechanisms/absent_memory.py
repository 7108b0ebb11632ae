"""Post-copy: the guest runs before its memory has come, and fetches what it meets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from vfbench.linux_guest import LinuxGuest
from vfbench.mechanism import HostView, Pages, Postponing, QueueSizes, Trait

if TYPE_CHECKING:
    from vfbench.profiles.machine import Need

DEVICES = ("faults", "pre-sent", "let-loose")
NOT_HERE = "memory that is absent while the guest runs: QEMU blocks post-copy once a VFIO device is there"


@dataclass(frozen=True)
class AbsentMemory(Postponing):
    """What of the guest's memory comes after it has begun to run, and how it is waited for."""

    name: ClassVar[str] = "absent-memory"
    demands: ClassVar[tuple[str, ...]] = ("host-qemu",)

    device: str = "pre-sent"
    """A device that faults; one whose pages are sent ahead; or one that can't fault and is let loose all the same."""
    preempt: bool = False
    """Whether a page that is asked for has a channel of its own, and waits behind no background."""
    source_dies: bool = False
    """Whether the source dies when a tenth of the rest has come."""

    @property
    def needs(self) -> tuple[Need, ...]:
        faults = ("device_page_faults",) if self.device == "faults" else ()
        preempt = ("post_copy_preempt",) if self.preempt else ()
        return ("post_copy", "post_copy_vf", *preempt, *faults)

    @property
    def faults(self) -> tuple[int, ...]:
        return ((19,) if self.device == "let-loose" else ()) + ((20,) if self.source_dies else ())

    @property
    def traits(self) -> Mapping[str, Trait]:
        return {"post_copy": True, "dma_visible_by": "nothing-to-see"}

    @property
    def fault_costs(self) -> tuple[str, str]:
        return "post_copy_fault", "device_page_fault" if self.device == "faults" else ""

    @property
    def queue_cost(self) -> str:
        return "" if self.preempt else "post_copy_queue"

    @property
    def loses_source(self) -> bool:
        return self.source_dies

    def ahead(self, view: HostView) -> Pages:
        """Whatever the device may be given goes in the stop where it can't wait for it."""
        return view.dma_pages if self.device == "pre-sent" else np.zeros(view.pages, np.bool_)

    def host_structures(self, sizes: QueueSizes) -> Mapping[str, int]:
        return {"counts": len(COUNTS)}

    def reports(self, view: HostView) -> Mapping[str, float]:
        counts = view.host_structure("counts")
        return dict(zip(COUNTS, (float(each) for each in counts), strict=True))

    def refusals(self, testbed: str) -> tuple[str, ...]:
        return () if testbed == "model" else (NOT_HERE,)

    def linux(self) -> LinuxGuest:
        return LinuxGuest(refusals=(NOT_HERE,))


COUNTS = ("vcpu_faults", "device_faults", "device_strays", "pages_ahead", "pages_lost")
"""What `reports` has, in the order in which the testbed counts it."""
