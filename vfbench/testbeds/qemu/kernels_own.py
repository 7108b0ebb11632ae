"""What of a strategy the guest's kernel decides: its drivers differ from version to version."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from vfbench.errors import UserError
from vfbench.parameters import find

if TYPE_CHECKING:
    from vfbench.experiment import Experiment


def decided_by_kernel(experiment: Experiment) -> dict[str, object]:
    """By field of the strategy, the value that the drivers of the guest's kernel have (``Strategy.linux_since``).

    Where no kernel is found, the defaults: the run is refused for want of it later.
    """
    strategy = type(experiment.strategy)
    if not strategy.linux_since:
        return {}
    changes = sorted(strategy.linux_since.items())
    own: dict[str, object] = {}
    for _, values in changes:
        own |= {name: find(strategy, name).default for name in values}
    version = kernel_of(experiment.qemu.kernel)
    for since, values in changes:
        if version is not None and since <= version:
            own |= values
    return own


def contradictions(experiment: Experiment) -> list[str]:
    """One line for each field that says otherwise than the guest's kernel."""
    strategy, version = experiment.strategy, kernel_of(experiment.qemu.kernel)
    release = "the guest's kernel" if version is None else f"Linux {version[0]}.{version[1]}"
    return [
        f"{strategy.name}.{find(strategy, name).name}: {getattr(strategy, name)!r}, but {release} has {value!r}; "
        "another one is named by qemu.kernel"
        for name, value in decided_by_kernel(experiment).items()
        if getattr(strategy, name) != value
    ]


@lru_cache(maxsize=8)
def kernel_of(wanted: str) -> tuple[int, int] | None:
    """The version of the kernel that ``qemu.kernel`` stands for; None where there is none."""
    # Only now: what looks for parts is not wanted where another testbed is.
    from vfbench.testbeds.qemu.parts import prefix
    from vfbench.testbeds.qemu.parts.find import find_kernels

    unpacked = prefix.PREFIX if prefix.manifest(prefix.PREFIX) is not None else None
    try:
        return find_kernels(wanted, unpacked)[0].version
    except UserError:
        return None
