"""Measure what can be measured here and make a profile of it: what can't be keeps the base's figure and says so."""

from __future__ import annotations

import fnmatch
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from vfbench.calibration.loopback import loopback_probe
from vfbench.calibration.measurement import NotMeasured, Probe, Result, measure
from vfbench.calibration.memory import memory_probes
from vfbench.calibration.protection import protection_probe
from vfbench.calibration.virtual_machine import ANYWHERE, NATIVE_ONLY, open_kvm_bench
from vfbench.errors import RunFailed, UserError
from vfbench.profiles import Figure, Measured, Profile
from vfbench.records.environment import environment

DEFAULT_REPEATS: Final = 25
OWN_MACHINES: Final = ("x86_64", "AMD64")

Progress = Callable[[str], None]
"""Called with the name of what is measured next."""


@dataclass(frozen=True)
class Calibration:
    """What was measured and what was not, and the profile that follows."""

    profile: Profile
    results: tuple[Result, ...]
    not_measured: tuple[NotMeasured, ...]


def calibrate(base: Profile, only: str, repeats: int, date: str, progress: Progress) -> Calibration:
    """Measure the figures whose name matches the pattern `only`, each `repeats` times. UserError if none does."""
    if platform.machine() not in OWN_MACHINES or platform.system() != "Linux":
        raise UserError(
            f"calibration times x86-64 instructions on Linux; this is {platform.machine()} with {platform.system()}: "
            "give a profile written elsewhere to --profile"
        )
    results: list[Result] = []
    missed: list[NotMeasured] = []
    for each in _wanted(only):
        if isinstance(each, NotMeasured):
            missed.append(each)
        else:
            progress(each.figure)
            try:
                results.append(measure(each, repeats))
            except RunFailed as failure:
                missed.append(NotMeasured(each.figure, str(failure)))
    if not results and not missed:
        raise UserError(f"--only {only!r} matches nothing that is measured here; '*' is all")
    return Calibration(_profile(base, results, missed, date), tuple(results), tuple(missed))


def _wanted(only: str) -> Iterator[Probe | NotMeasured]:
    for each in _probes(only):
        if fnmatch.fnmatchcase(each.figure, only):
            yield each


def _probes(only: str) -> Iterator[Probe | NotMeasured]:
    yield from memory_probes()
    yield loopback_probe()
    yield protection_probe()
    figures = (*NATIVE_ONLY, *ANYWHERE)
    if not fnmatch.filter(figures, only):
        return
    bench = open_kvm_bench()
    if isinstance(bench, str):
        yield from (NotMeasured(figure, bench) for figure in figures)
        return
    try:
        yield from bench.probes()
    finally:
        bench.close()


def _profile(base: Profile, results: list[Result], missed: list[NotMeasured], date: str) -> Profile:
    host = _host()
    measured = {each.figure: each for each in results if each.belongs}
    reasons = {each.figure: each.reason for each in missed}
    figures = {
        name: _measured_figure(figure, measured[name], host, date)
        if name in measured
        else _kept_figure(figure, base.name, reasons.get(name))
        for name, figure in base.figures.items()
    }
    return Profile(
        name=f"calibrated-{base.name}",
        summary=f"Measured on {host} on {date}; what was not measured is that of {base.name}",
        figures=figures,
        machine=base.machine,
    )


def _measured_figure(figure: Figure, result: Result, host: str, date: str) -> Figure:
    return replace(
        figure,
        value=_rounded(result.median),
        low=_rounded(result.low),
        high=_rounded(result.high),
        unit=result.unit,
        sure="M",
        source=f"Measured by bench calibrate: median of {result.repeats}, low and high the 5th and 95th percentile",
        measured=Measured(host, date, result.method, result.repeats),
    )


def _kept_figure(figure: Figure, base: str, reason: str | None) -> Figure:
    why = f"; {reason}" if reason else ""
    return replace(figure, source=f"{figure.source} (that of {base}: not measured here{why})")


def _rounded(value: float) -> float:
    """To four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def _host() -> str:
    found = environment()
    return f"{found['cpu']}, {found['cpus']} processors, {found['kernel']}"
