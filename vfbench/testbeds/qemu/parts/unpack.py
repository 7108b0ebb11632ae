"""Unpack packages into a folder without installing them, and without what no guest needs."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from vfbench.errors import UserError

LEFT_OUT = (
    *(
        f"usr/share/{name}/"
        for name in ("bash-completion", "bug", "doc", "info", "lintian", "locale", "man", "zoneinfo")
    ),
    "boot/System.map",
)
MODULES_LEFT_OUT = (
    *("fs", "net/bluetooth", "net/mac80211", "net/wireless", "sound"),
    *(
        f"drivers/{name}"
        for name in (
            *(
                "ata",
                "bluetooth",
                "comedi",
                "gpu",
                "hid",
                "hwmon",
                "iio",
                "infiniband",
                "input",
                "isdn",
                "leds",
            ),
            *(
                "md",
                "media",
                "mfd",
                "misc",
                "mmc",
                "mtd",
                "net/can",
                "net/usb",
                "net/wireless",
                "nfc",
                "power",
            ),
            *("scsi", "staging", "target", "usb", "video"),
        )
    ),
)
"""Folders below a kernel's modules that have nothing to do with a network card, a virtual machine or an IOMMU."""


def unpack(packages: Iterable[Path], folder: Path) -> None:
    """Unpack every package below ``folder``; UserError for a file that is damaged."""
    for package in packages:
        command = ["dpkg-deb", "--fsys-tarfile", str(package)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacked:
            try:
                with tarfile.open(fileobj=unpacked.stdout, mode="r|") as archive:
                    _extract(archive, folder)
            except (tarfile.TarError, EOFError) as error:
                unpacked.kill()
                raise UserError(
                    f"{package.name} can't be unpacked ({error}); delete it and fetch again"
                ) from None
            if unpacked.wait() != 0:
                raise UserError(f"{package.name} can't be unpacked; delete it and fetch again")


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    # Python 3.11.4 brought filters; where there is none, apt's signatures are what the names are trusted for.
    archive.extraction_filter = getattr(tarfile, "tar_filter", lambda member, _path: member)
    for member in archive:
        if wanted(member.name.removeprefix("./")) and not member.isdev():
            archive.extract(member, folder)


def wanted(name: str) -> bool:
    """Whether a file of a package is worth its place; ``name`` has no leading slash."""
    if name.startswith(LEFT_OUT):
        return False
    _, found, below = name.partition("/kernel/")
    return not (
        found and "lib/modules/" in name and below.startswith(tuple(f"{x}/" for x in MODULES_LEFT_OUT))
    )
