"""The `bench` command: options in, one call out.

Nothing heavy is imported before a command needs it: `bench --help` is to answer at once.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vfbench import stopping, terminal
from vfbench.commands import Registries
from vfbench.commands.advise import advise
from vfbench.commands.calibrate import calibrate
from vfbench.commands.claims import claims
from vfbench.commands.doctor import doctor
from vfbench.commands.faults import faults
from vfbench.commands.fetch import fetch
from vfbench.commands.history import history
from vfbench.commands.limit import run_limit_option
from vfbench.commands.ndr import ndr
from vfbench.commands.report import compare, pack, report
from vfbench.commands.run import run
from vfbench.commands.sensitivity import sensitivity
from vfbench.commands.show import list_, show
from vfbench.commands.sweep import sweep
from vfbench.commands.validate import validate
from vfbench.errors import RunFailed, UserError
from vfbench.experiment import DEFAULT_PROFILE
from vfbench.untrusted import one_line

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.records import Outcome
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

COMPARISON = (
    "imix-simple",
    {
        "imix-simple.rate": "1Gbps",
        "imix-simple.hold": "500us",
        "driver.page-order": "fifo",
        "migration.downtime-limit": "30ms",
    },
)
"""The shipped comparison: what `bench run` runs without a workload.

Mixed frames at a rate that the guest carries with every strategy. Holding packets for 0.5 ms and taking the page freed
longest ago keep the driver from using the same few pages again and again, and a short downtime lets the pre-copy run
in rounds: that is where the strategies part.
"""

EXIT_FAILED_RUN = 1
EXIT_USER_ERROR = 2
EXIT_BUG = 70
"""EX_SOFTWARE of sysexits.h."""

Command = Callable[..., Any]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code.

    0, 1 (a run failed), 2 (bad input), 70 (a bug of ours), 130, 143, 129 (stopped by Ctrl-C, SIGTERM, SIGHUP), 141
    (nobody reads).
    """
    terminal.prepare()
    with stopping.handled(to_the_end=arguments is None):
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        except (click.Abort, KeyboardInterrupt):
            click.echo(f"bench: {stopping.reason()}", err=True)
            return stopping.exit_code()
        except OSError as error:
            broken = terminal.is_broken()
            if broken is None:
                return _report_bug(error)
            terminal.give_up_output()
            if isinstance(broken, BrokenPipeError):
                return terminal.EXIT_NOBODY_READS
            click.echo(f"bench: standard output can't be written: {broken.strerror}", err=True)
            return EXIT_USER_ERROR
        except Exception as error:
            return _report_bug(error)


def _main(words: list[str]) -> int:
    try:
        terminal.check_output()
        registries = Registries(_strategies, _workloads, COMPARISON)
        arguments = words or ["--help"]
        return bench.main(args=arguments, prog_name="bench", obj=registries, standalone_mode=False) or 0
    except (UserError, click.ClickException) as error:
        if "--debug" in words:
            traceback.print_exc()
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(error.ctx.get_help() if error.ctx else "")
            return 0
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
        click.echo(f"bench: {one_line(message)}", err=True)
        return EXIT_USER_ERROR
    except RunFailed as failure:
        click.echo(f"bench: {one_line(str(failure))}", err=True)
        return EXIT_FAILED_RUN


def _report_bug(error: Exception) -> int:
    """The last net: what nobody foresaw is a bug, and is told as one, with its traceback in a file."""
    debug = "--debug" in sys.argv
    if debug:
        traceback.print_exc()
    where = "shown above" if debug else _traceback_file()
    told = one_line(f"{type(error).__name__}: {error}")
    click.echo(f"bench: a bug in vfbench: {told}; please report it with the traceback, {where}", err=True)
    return EXIT_BUG


def _traceback_file() -> str:
    """A file of its own with the traceback of the error that is handled."""
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="bench-traceback-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(traceback.format_exc())
    except OSError:
        return "which --debug shows"
    return f"which is in {file.name}"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="vfbench", prog_name="bench", message="%(prog)s %(version)s")
def bench() -> None:
    """Compare ways to live-migrate a VM whose network card is an SR-IOV virtual function."""


# `main` looks for the word itself, so that errors of the command line show their traceback too.
_debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)


@bench.command()
@click.option(
    "--profile", default=DEFAULT_PROFILE, show_default=True, metavar="NAME|FILE", help="What things cost."
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Only this strategy, or the variants whose name holds this; may be repeated.",
)
@click.option(
    "--testbed",
    type=click.Choice(["kvm", "qemu"]),
    default="kvm",
    show_default=True,
    help="Against a real VM with the suite's own driver (kvm), or a stock Linux with its own (qemu).",
)
@run_limit_option
@_debug_option
def crosscheck(profile: str, only: tuple[str, ...], testbed: str, limit_s: float) -> int:
    """Run the same experiments on the model and on a real testbed, and compare.

    kvm: dirty pages by round (within 1 %), the classes of stale pages and of damaged packets, and whether the
    pre-copy converged. qemu: maps and unmaps a packet (within 5 %), pages written by the device for each packet
    (within 10 %), the same classes, and the pre-copy. Exit code 1 where they differ and it is not known why.
    """
    from vfbench.profiles import load_profile
    from vfbench.runner import attempt
    from vfbench.sweeps.shipped import SWEEPS
    from vfbench.testbeds import crosscheck as on_kvm
    from vfbench.testbeds import crosscheck_qemu as on_qemu
    from vfbench.testbeds import load_testbed

    figures = load_profile(profile)
    model, real = load_testbed("model"), load_testbed(testbed)

    def quietly(fraction: float, phase: str) -> None:
        """No progress: each check prints its lines."""

    def run_on_model(experiment: Experiment) -> Outcome:
        return attempt(model, experiment, figures, quietly, limit_s)[0]

    def run_on_real(experiment: Experiment) -> Outcome:
        return attempt(real, experiment, figures, quietly, limit_s)[0]

    total = differing = explained = 0
    if testbed == "kvm":
        figures = on_kvm.as_in_lockstep(figures)
        plan = on_kvm.planned(_strategies(), _workloads(), only)
        for check in on_kvm.crosscheck(plan, run_on_model, run_on_real):
            click.echo("\n".join(on_kvm.describe(check)))
            total, differing = total + 1, differing + bool(check.differences)
    else:
        experiments_on_qemu = on_qemu.read_variants(SWEEPS / "crosscheck-qemu.toml")
        for each in on_qemu.crosscheck(
            on_qemu.planned(experiments_on_qemu, _strategies(), _workloads(), only), run_on_model, run_on_real
        ):
            click.echo("\n".join(on_qemu.describe(each)))
            total, differing = total + 1, differing + (not each.explained)
            explained += each.explained and not each.agrees
    known = f", {explained} differ for a reason that is known" if explained else ""
    click.echo(f"{total - differing - explained} of {total} experiments agree{known}")
    return EXIT_FAILED_RUN if differing else 0


bench.add_command(run)
bench.add_command(list_)
bench.add_command(show)
bench.add_command(advise)
bench.add_command(calibrate)
bench.add_command(claims)
bench.add_command(doctor)
bench.add_command(faults)
bench.add_command(fetch)
bench.add_command(history)
bench.add_command(sensitivity)
bench.add_command(sweep)
bench.add_command(ndr)
bench.add_command(report)
bench.add_command(compare)
bench.add_command(pack)
bench.add_command(validate)


@contextmanager
def _numba_without_scipy() -> Iterator[None]:
    """Importing numba loads scipy's BLAS where it finds it, a third of a second's work; no kernel uses it."""
    absent = "scipy" not in sys.modules
    if absent:
        sys.modules["scipy"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules["scipy"]


def _strategies() -> dict[str, type[Strategy]]:
    with _numba_without_scipy():
        import numba.np.arraymath  # noqa: F401  the module that asks for it, when the first kernel is loaded

        shipped = _imported("strategies", "ALL_STRATEGIES")
    from vfbench.plugins import load_strategies

    return load_strategies(shipped)


def _workloads() -> dict[str, type[Workload]]:
    from vfbench.plugins import load_workloads

    with _numba_without_scipy():
        shipped = _imported("workloads", "ALL_WORKLOADS")

    return load_workloads(shipped)


def _imported(package: str, name: str) -> Any:
    """The shipped classes; UserError with file and line for a mistake in one of their files."""
    try:
        return getattr(importlib.import_module(package), name)
    except Exception as error:
        from vfbench.mistakes import in_folder

        raise UserError(in_folder(error, Path(__file__).resolve().parent / package)) from error


if __name__ == "__main__":
    sys.exit(main())
