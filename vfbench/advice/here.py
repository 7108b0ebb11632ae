"""The facts of this Linux host: cards and VFs, drivers and what they migrate, IOMMU, kernel options, QEMU.

Everything is read from files below `root` (a copy of a host's /sys, /proc, /boot and /lib/modules does as well), but
for QEMU's and libvirt's versions, which they are asked for. What cannot be read is not known, and left out.
"""

from __future__ import annotations

import dataclasses
import gzip
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vfbench.advice.cards import Card, card_of_ids, table
from vfbench.advice.facts import Facts

MOST_BYTES: Final = 4 << 20
ASK_S: Final = 5.0
DEVICES: Final = (
    "vfio-pci",
    "vfio-pci-nohotplug",
    "vhost-vdpa",
    "virtio-net-pci",
    "intel-iommu",
    "virtio-iommu-pci",
)
"""Devices of QEMU that a way to migrate may want."""
QEMUS: Final = ("qemu-system-x86_64", "qemu-system-aarch64", "qemu-kvm")
NETWORK, VIRTIO = "0x02", "1af4"


@dataclass(frozen=True)
class Function:
    """A PCI function of interest: a network card's, or one of a card of the table."""

    address: str
    ids: str
    driver: str
    card: Card | None
    is_vf: bool
    vfs: int
    most_vfs: int
    firmware: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**dataclasses.asdict(self), "card": self.card.name if self.card else None}


@dataclass(frozen=True)
class Host:
    """What was found, and the facts for the advice."""

    functions: tuple[Function, ...]
    facts: Facts
    devices: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "functions": [each.to_json() for each in self.functions],
            "facts": self.facts.to_json(),
            "qemu_devices": list(self.devices),
        }


def look(root: Path = Path("/"), ask: bool = True) -> Host:
    """The host whose files lie below `root`; `ask`: run QEMU and libvirt of this machine for their versions."""
    kernel = _text(root / "proc/sys/kernel/osrelease")
    functions = tuple(_functions(root))
    chosen = _chosen(functions)
    card = chosen.card if chosen else None
    vfs = [each for each in functions if each.is_vf and each.card == card and card is not None]
    qemu, devices = _qemu() if ask else ("", ())
    facts = Facts(
        card=card,
        firmware=chosen.firmware if chosen else "",
        kernel=kernel,
        qemu=qemu,
        libvirt=_asked(("virsh", "--version")) if ask else "",
        bound=_bound(vfs),
        iommu=_iommu(root),
        pml=_pml(root),
        options=_options(root, kernel),
        link_bps=_link_bps(root, chosen),
    )
    return Host(functions, facts, devices)


def describe(host: Host) -> list[str]:
    """Lines for people."""
    lines = []
    for each in host.functions:
        name = each.card.name if each.card else "no card of the table"
        vfs = "a VF" if each.is_vf else f"{each.vfs} of {each.most_vfs} VFs" if each.most_vfs else "no VFs"
        lines.append(f"card      {each.address} [{each.ids}] {name}, {vfs}, driver {each.driver or 'none'}")
    if not host.functions:
        lines.append("card      no network card on the PCI bus")
    facts = host.facts
    lines.append(f"iommu     {facts.iommu or 'not known'}; PML {_word(facts.pml)}")
    lines.append(f"kernel    {facts.kernel or 'not known'}{_with(facts.options)}")
    lines.append(
        f"qemu      {facts.qemu or 'none found'}{_of(host.devices)}; libvirt {facts.libvirt or 'none found'}"
    )
    return lines


def _functions(root: Path) -> Iterable[Function]:
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        ids = f"{_hex(folder / 'vendor')}:{_hex(folder / 'device')}"
        card = card_of_ids(ids)
        if card is None and not _text(folder / "class").startswith(NETWORK):
            continue
        yield Function(
            folder.name,
            ids,
            _link(folder / "driver"),
            card,
            (folder / "physfn").exists(),
            _whole(folder / "sriov_numvfs"),
            _whole(folder / "sriov_totalvfs"),
            _firmware(folder),
        )


def _chosen(functions: Iterable[Function]) -> Function | None:
    """The card that the advice is about: one of the table with VFs made, else one that can have some, else a VF."""
    known = [each for each in functions if each.card is not None and (each.is_vf or each.most_vfs)]
    ranks = sorted(known, key=lambda each: (each.is_vf, -each.vfs, -each.most_vfs))
    return ranks[0] if ranks else None


def _bound(vfs: Iterable[Function]) -> str:
    """What the VFs are bound to on the host, if all to the same kind."""
    kinds = set()
    for each in vfs:
        variant = each.card.variant.module if each.card and each.card.variant else ""
        driver = each.driver.replace("-", "_")
        if driver and driver == variant:
            kinds.add("variant")
        elif driver == "vfio_pci":
            kinds.add("vfio-pci")
        elif driver:
            kinds.add("other")
    return kinds.pop() if len(kinds) == 1 else ""


def _iommu(root: Path) -> str:
    """The kind of IOMMU, by the names in /sys/class/iommu and Intel's extended capabilities."""
    folders = sorted((root / "sys/class/iommu").glob("*"))
    names = [folder.name for folder in folders]
    if any(name.startswith("dmar") for name in names):
        return "vt-d-scalable" if all(map(_is_scalable, _intel(folders))) else "vt-d"
    if any(name.startswith("ivhd") for name in names):
        return "amd"
    if any(name.startswith("smmu3") for name in names):
        return "smmuv3"
    return "none" if (root / "sys/class").exists() else ""


def _intel(folders: Iterable[Path]) -> list[str]:
    return [_text(folder / "intel-iommu/ecap") for folder in folders if folder.name.startswith("dmar")]


def _is_scalable(ecap: str) -> bool:
    """Bits of the extended capability register: SMTS (43), SLADS (45); VT-d specification 11.4.3."""
    try:
        bits = int(ecap, 16)
    except ValueError:
        return False
    return bool(bits >> 43 & 1) and bool(bits >> 45 & 1)


def _pml(root: Path) -> bool | None:
    text = _text(root / "sys/module/kvm_intel/parameters/pml")
    return text in ("Y", "1") if text else None


def _options(root: Path, kernel: str) -> dict[str, str]:
    """The kernel options that the table asks about: from the configuration, else from the modules there are."""
    wanted = {card.variant.option: card.variant.module for card in table().card if card.variant is not None}
    config = _config(root, kernel)
    if config:
        stated = dict(re.findall(r"^(CONFIG_\w+)=([ym])$", config, re.MULTILINE))
        return {option: stated.get(option, "n") for option in wanted}
    modules = root / "lib/modules" / kernel
    if not kernel or not modules.is_dir():
        return {}
    listed = f"{_text(modules / 'modules.dep', MOST_BYTES)}\n{_text(modules / 'modules.builtin', MOST_BYTES)}"
    if not listed.strip():
        return {}
    have = {name.replace("-", "_") for name in re.findall(r"([\w-]+)\.ko", listed)}
    return {option: "m" if module in have else "n" for option, module in wanted.items()}


def _config(root: Path, kernel: str) -> str:
    text = _text(root / f"boot/config-{kernel}", MOST_BYTES) if kernel else ""
    if text:
        return text
    try:
        with gzip.open(root / "proc/config.gz") as file:
            return file.read(MOST_BYTES).decode(errors="replace")
    except (OSError, EOFError):
        return ""


def _firmware(folder: Path) -> str:
    """The firmware that an RDMA-capable card shows in sysfs; others tell ethtool alone."""
    for file in sorted(folder.glob("infiniband/*/fw_ver")):
        return _text(file)
    return ""


def _link_bps(root: Path, chosen: Function | None) -> int | None:
    if chosen is None:
        return None
    speeds = [_whole(file) for file in (root / "sys/bus/pci/devices" / chosen.address).glob("net/*/speed")]
    fastest = max(speeds, default=0)
    return fastest * 10**6 if fastest > 0 else None


def _qemu() -> tuple[str, tuple[str, ...]]:
    for name in QEMUS:
        found = re.search(r"version (\d+(?:\.\d+)+)", _asked((name, "--version")))
        if found:
            listed = _asked((name, "-machine", "none", "-device", "help"))
            wanted = (
                "vfio-pci",
                "vfio-pci-nohotplug",
                "vhost-vdpa",
                "virtio-net-pci",
                "intel-iommu",
                "virtio-iommu-pci",
            )
            return found[1], tuple(each for each in wanted if f'"{each}"' in listed)
    return "", ()


def _asked(words: tuple[str, ...]) -> str:
    """What a program of this machine says of itself; empty where there is none, or it takes too long."""
    program = shutil.which(words[0])
    if program is None:
        return ""
    try:
        done = subprocess.run(
            (program, *words[1:]),
            capture_output=True,
            text=True,
            timeout=ASK_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _text(path: Path, most: int = 4096) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(most).strip()
    except OSError:
        return ""


def _hex(path: Path) -> str:
    return _text(path).removeprefix("0x").lower()


def _whole(path: Path) -> int:
    text = _text(path)
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else 0


def _link(path: Path) -> str:
    try:
        return path.readlink().name
    except OSError:
        return ""


def _word(known: bool | None) -> str:
    return "not known" if known is None else "on" if known else "off"


def _with(options: Mapping[str, str]) -> str:
    built = [option for option, value in options.items() if value != "n"]
    if not options:
        return ", its options not known"
    return f", with {', '.join(built)}" if built else ", with no vfio-pci variant driver"


def _of(devices: tuple[str, ...]) -> str:
    return f", with {', '.join(devices)}" if devices else ""
