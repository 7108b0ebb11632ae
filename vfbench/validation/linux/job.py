"""What `bench validate linux` was asked to do, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from vfbench.errors import UserError
from vfbench.experiment import DEFAULT_PROFILE
from vfbench.parameters import unknown
from vfbench.profiles import load_profile
from vfbench.runner import outcome_of
from vfbench.testbeds.qemu.parts.described import Parts
from vfbench.validation.linux.drivers import GuestIommu, NicDriver
from vfbench.validation.linux.migrate import migrate, migration_rows
from vfbench.validation.linux.predict import Run
from vfbench.validation.linux.scenario import Registered, refuse_without_frame_size, scenarios
from vfbench.validation.linux.suite import validate
from vfbench.validation.linux.table import validation_table
from vfbench.validation.tables import Row, ValidationTable

SHORTEST, LONGEST = 64, 1518
Chosen = TypeVar("Chosen")


@dataclass(frozen=True)
class Job:
    """Everything that was chosen; ``lengths`` in bytes with FCS."""

    parts: Parts
    drivers: tuple[NicDriver, ...]
    iommus: tuple[GuestIommu, ...]
    lengths: tuple[int, ...]
    registered: Registered
    migration: bool
    command: str
    keep: bool = False


def run_job(job: Job, say: Callable[[str], None]) -> ValidationTable:
    """Boot, measure and predict; RunFailed where a guest does not do what it is told."""
    refuse_without_frame_size(job.registered)
    drivers = [driver.of_kernel(job.parts.kernel.version) for driver in job.drivers]
    plan = list(scenarios(drivers, job.iommus, job.lengths))
    said: list[str] = []

    def note(line: str) -> None:
        if "IOMMU" in line and "kernel:" in line:
            said.append(line.partition("kernel: ")[2])
        say(line)

    run = model()
    rows: list[Row] = list(validate(job.parts, plan, job.registered, run, note, keep=job.keep))
    if job.migration:
        rows += migration_rows(migrate(job.parts, say, keep=job.keep), job.registered, run)
    return validation_table(rows, job.parts, said, job.command)


def model() -> Run:
    """The model testbed with the default profile; counts hardly depend on costs."""
    profile = load_profile(DEFAULT_PROFILE)
    return lambda experiment: outcome_of(experiment, profile)


def chosen(option: str, text: str, known: Mapping[str, Chosen]) -> tuple[Chosen, ...]:
    """``a,b`` or ``all``; UserError for a name that is not known."""
    names = list(known) if text == "all" else text.split(",")
    for name in names:
        if name not in known:
            raise unknown(f"{option}: nothing is called", name, [*known, "all"])
    return tuple(known[name] for name in dict.fromkeys(names))


def lengths(text: str) -> tuple[int, ...]:
    """``64,304`` to frame lengths; UserError for what Ethernet without jumbo frames can't carry."""
    found = []
    for word in text.split(","):
        if not word.isdecimal() or not SHORTEST <= int(word) <= LONGEST:
            raise UserError(f"--sizes: {word!r} is no frame size from {SHORTEST} to {LONGEST} bytes with FCS")
        found.append(int(word))
    return tuple(dict.fromkeys(found))
