"""`bench validate linux`: an unmodified Linux with its real drivers in a real QEMU, counted, beside the model."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from vfbench.commands import Registries, pass_registries
from vfbench.commands.limit import all_of_it_within, command_limit_option
from vfbench.commands.validate_options import debug_option, json_option, results_option

_existing_path = click.Path(path_type=Path)
FRAME_LENGTHS = "64,304,1518"
LEAST_FRAMES, MOST_FRAMES = 64, 1024


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command("linux")
@click.option(
    "--kernel",
    default="auto",
    show_default=True,
    metavar="FILE|VERSION",
    help="The guest's kernel: a vmlinuz, or a version that was fetched (6.12, newest).",
)
@click.option("--modules", type=_existing_path, metavar="DIR", help="Folder with the kernel's modules.")
@click.option(
    "--qemu", default="auto", show_default=True, metavar="FILE", help="qemu-system-x86_64, 8.0 or newer."
)
@click.option(
    "--busybox", type=_existing_path, metavar="FILE", help="A static busybox, the guest's user space."
)
@click.option(
    "--fetch",
    "fetching",
    is_flag=True,
    help="Fetch QEMU, kernels and busybox into the user's cache, as `bench fetch` does, and end.",
)
@click.option(
    "--driver",
    "drivers",
    default="all",
    show_default=True,
    metavar="NAME[,NAME...]|all",
    help="igb (page halves reused), igbvf (an SR-IOV VF, no reuse), virtio-net.",
)
@click.option(
    "--iommu",
    "iommus",
    default="caching-mode,lazy",
    show_default=True,
    metavar="NAME[,NAME...]|all",
    help="caching-mode (the hypervisor is told of maps), lazy or strict (it is not told), passthrough (iommu=pt).",
)
@click.option(
    "--workload", default="small-packets", show_default=True, metavar="NAME", help="Where frames come from."
)
@click.option(
    "--sizes",
    default=FRAME_LENGTHS,
    show_default=True,
    metavar="BYTES[,BYTES...]",
    help="Frame sizes with FCS.",
)
@click.option(
    "--frames",
    type=click.IntRange(LEAST_FRAMES, MOST_FRAMES),
    default=MOST_FRAMES,
    show_default=True,
    help="Frames of each size and direction; a multiple of 512 turns a ring of page halves full circle.",
)
@click.option(
    "--pace",
    type=click.IntRange(1, 10_000),
    default=250,
    show_default=True,
    metavar="PACKETS/S",
    help="Frames a second; slow enough that an emulated guest handles each by itself.",
)
@click.option(
    "--migration/--no-migration",
    default=True,
    show_default=True,
    help="Also migrate a virtio-net guest under traffic between two QEMU processes.",
)
@click.option("--keep", is_flag=True, help="Keep the consoles, logs and traces of the guests, and say where.")
@command_limit_option
@results_option
@json_option
@debug_option
@pass_registries
def linux(
    registries: Registries,
    kernel: str,
    modules: Path | None,
    qemu: str,
    busybox: Path | None,
    fetching: bool,
    drivers: str,
    iommus: str,
    workload: str,
    sizes: str,
    frames: int,
    pace: int,
    migration: bool,
    keep: bool,
    limit_s: float,
    results: Path,
    as_json: bool,
) -> int:
    """Compare the model's drivers with Linux's own, in a real QEMU.

    Boots an unmodified kernel (emulated, no /dev/kvm needed), sends it frames of the suite's workloads, and counts
    maps, unmaps, invalidations, interrupts and kicks per packet. See docs/linux.md.
    """
    from vfbench.settings import Qemu
    from vfbench.testbeds.qemu.parts.find import find_parts
    from vfbench.validation.linux.drivers import DRIVERS, IOMMUS
    from vfbench.validation.linux.job import Job, chosen, lengths, run_job
    from vfbench.validation.linux.scenario import Registered
    from vfbench.validation.show import conclude

    if fetching:
        from vfbench.testbeds.qemu.parts.fetch import fetch

        fetch(_say)
        return 0
    job = Job(
        parts=find_parts(
            Qemu(binary=qemu, kernel=kernel),
            modules=modules,
            busybox=busybox,
            options=("--qemu", "--kernel"),
        ),
        drivers=chosen("--driver", drivers, DRIVERS),
        iommus=chosen("--iommu", iommus, IOMMUS),
        lengths=lengths(sizes),
        registered=Registered(registries.strategies(), registries.workloads(), workload, frames, pace),
        migration=migration,
        command=_command(),
        keep=keep,
    )
    with all_of_it_within(limit_s):
        table = run_job(job, _say)
    return conclude(table, as_json=as_json, folder=results)


def _command() -> str:
    """The command as it was given, without the program's path."""
    import shlex

    return shlex.join(["bench", *sys.argv[1:]])
