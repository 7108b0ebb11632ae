"""`bench doctor`: what this machine offers for real virtual machines."""

from __future__ import annotations

import click

from vfbench.commands.validate_options import debug_option
from vfbench.errors import UserError
from vfbench.parameters import change
from vfbench.settings import Qemu

EXIT_USER_ERROR = 2


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="qemu.NAME=VALUE",
    help="Look with these settings of the qemu testbed: qemu.binary, qemu.kernel, qemu.accelerator, qemu.memory.",
)
@debug_option
def doctor(as_json: bool, settings: tuple[str, ...]) -> int:
    """Say what this machine offers for real VMs.

    For --testbed kvm: whether there is a usable /dev/kvm, its log modes, what an exit and a guest instruction cost.
    For --testbed qemu: which QEMU, kernel and accelerator were found. For both: whether the times of runs here count.
    And what `bench advise --here` sees: cards, VFs and their drivers, IOMMU, kernel options, QEMU and libvirt.
    Exit code 2 where neither can run.
    """
    from vfbench.advice import here
    from vfbench.testbeds.kvm import doctor as kvm
    from vfbench.testbeds.qemu import doctor as qemu

    own, real = kvm.probe(), qemu.probe(_qemu_settings(settings))
    host = here.look()
    if as_json:
        import json

        click.echo(json.dumps({**own, "qemu": real, "host": host.to_json()}))
    else:
        click.echo("\n".join((*kvm.describe(own), *qemu.describe(real), *here.describe(host))))
    return 0 if own["kvm"] or real["runs"] else EXIT_USER_ERROR


def _qemu_settings(texts: tuple[str, ...]) -> Qemu:
    changes: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        group, _, parameter = name.partition(".")
        if not equals or group != Qemu.name:
            raise UserError(f"--set {text!r}: doctor takes settings of the qemu testbed, as qemu.binary=FILE")
        changes[parameter] = value
    return change(Qemu(), changes)
