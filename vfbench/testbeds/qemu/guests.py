"""The two real guests of a run: how their QEMUs are started, and what is done in the guest before traffic comes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vfbench.linux_guest import LinuxGuest, merged
from vfbench.strategy import backends, linux_guest
from vfbench.testbeds.qemu.boot.cpio import plain_file
from vfbench.testbeds.qemu.boot.guest import Guest, load_modules
from vfbench.testbeds.qemu.boot.initramfs import initramfs
from vfbench.testbeds.qemu.boot.setup import GuestSetup
from vfbench.testbeds.qemu.device.capture import GUEST_IP, GUEST_MAC, PEER_IP, PEER_MAC, Contents
from vfbench.testbeds.qemu.server.peer import RECEIVE_PORT
from vfbench.testbeds.qemu.server.place import VF_SOCKET, VHOST_SOCKET

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.testbeds.qemu.parts.accelerator import Accelerator
    from vfbench.testbeds.qemu.parts.described import Parts

DEVICE_IDS = {"82599": 0x10ED, "X540": 0x1515, "X550": 0x1565}
VF_BUS = 1
"""Number of the bus behind the VF's root port."""
VF_DRIVER, VIRTIO_DRIVER = "ixgbevf", "virtio_net"
GUEST_IOMMU = "intel-iommu,intremap=off,caching-mode=on"
VF_ID = "vf0"
NATIVE_HOTPLUG = ("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off")
VF_PORT = "pcie-root-port,id=vfport,chassis=2,slot=2"
STANDBY_ID = "standby0"
DEFAULT_VIRTQUEUE = 256
FAILOVER_DRIVER = "net_failover"
LOG_MAC = "02:00:00:00:00:77"
INTERFACE = "eth0"
APPLICATION = "application"
INITRAMFS = "initramfs"
FRAMES_FILE = "frames"


@dataclass(frozen=True)
class Place:
    """What differs between source and target."""

    name: str
    incoming: bool


SOURCE, TARGET = Place("source", incoming=False), Place("target", incoming=True)


def wanted(experiment: Experiment) -> LinuxGuest:
    """What the strategy asks of guest and hypervisor, with the controls that the user asks for beside it."""
    own = experiment.qemu
    controls = LinuxGuest(xdp="read" if own.xdp_control else "", device_log="dma" if own.device_log else "")
    way = merged((linux_guest(experiment.strategy), controls))
    if [each.device for each in backends(experiment.strategy)] == ["vf", "virtio"]:
        way = replace(way, primary="vf-with-standby")
    if own.rings == "auto":
        return way
    copied = own.rings == "copied"
    return replace(way, copies_rings=copied, copies_written=copied and way.copies_written)


def queue_size_of(experiment: Experiment) -> int:
    """Descriptors of each virtqueue."""
    fields = [each.driver_fields for each in backends(experiment.strategy)]
    return next((each["virtqueue_size"] for each in fields if "virtqueue_size" in each), DEFAULT_VIRTQUEUE)


def write_initramfs(parts: Parts, folder: Path, way: LinuxGuest, experiment: Experiment) -> Path:
    """The guest's whole user space, with the drivers that ``way`` needs, and of a capture's frames their hashes."""
    path = folder / INITRAMFS
    frames = experiment.workload.frame_contents()
    hashes = (plain_file(FRAMES_FILE, Contents(frames).hashes.tobytes()),) if frames else ()
    path.write_bytes(initramfs(parts, modules_of(way), agent=True, extra=hashes))
    return path


def modules_of(way: LinuxGuest) -> tuple[str, ...]:
    """Drivers in the order in which they are loaded: the first to come names its interface first."""
    if way.primary == "vf":
        return (VF_DRIVER, VIRTIO_DRIVER) if needs_log(way) else (VF_DRIVER,)
    return (VIRTIO_DRIVER,) if way.primary == "virtio-net" else (FAILOVER_DRIVER, VIRTIO_DRIVER, VF_DRIVER)


def setup_of(
    experiment: Experiment,
    parts: Parts,
    way: LinuxGuest,
    accelerator: Accelerator,
    folder: Path,
    place: Place,
) -> GuestSetup:
    """The QEMU of one place; its folder takes the server's sockets too."""
    own = folder / place.name
    return GuestSetup(
        parts=parts,
        initramfs=folder / INITRAMFS,
        folder=own,
        name=place.name,
        devices=devices_of(way, own, queue_size_of(experiment)),
        kernel_options=" ".join(way.kernel_arguments),
        memory_bytes=experiment.qemu.memory_bytes,
        accelerator=accelerator.name,
        cpu=accelerator.cpu,
        vcpus=experiment.guest.queues,
        shared_memory=True,
        extra=NATIVE_HOTPLUG if way.native_hotplug else (),
        incoming=place.incoming,
        qtest=True,
    )


def devices_of(way: LinuxGuest, folder: Path, queue_size: int) -> tuple[str, ...]:
    """Words of the command line, in the order in which the buses are numbered."""
    iommu = ("-device", GUEST_IOMMU) if way.guest_iommu else ()
    vf = (*("-device", VF_PORT), "-device", json.dumps(vf_device(way, folder)))
    if way.primary == "vf":
        return (*iommu, *vf, *(virtio_device(folder, LOG_MAC, queue_size) if needs_log(way) else ()))
    standby = way.primary == "vf-with-standby"
    virtio = virtio_device(folder, GUEST_MAC.hex(":"), queue_size, standby=standby)
    return (*iommu, *virtio, *(vf if standby else ()))


def vf_device(way: LinuxGuest, folder: Path) -> dict[str, object]:
    """The arguments of the VF's device, as QMP's device_add takes them."""
    pair = {"failover_pair_id": STANDBY_ID} if way.primary == "vf-with-standby" else {}
    socket = {"type": "unix", "path": str(folder / VF_SOCKET)}
    return {"driver": "vfio-user-pci", "id": VF_ID, "bus": "vfport", "rombar": 0, "socket": socket, **pair}


def needs_log(way: LinuxGuest) -> bool:
    """Whether somebody tells QEMU what the VF writes."""
    return way.device_log != ""


def virtio_device(folder: Path, mac: str, queue_size: int, *, standby: bool = False) -> tuple[str, ...]:
    """A virtio-net device over vhost-user; QEMU shares its dirty log with the server."""
    failover = f",id={STANDBY_ID},failover=on" if standby else ""
    return (
        *("-chardev", f"socket,id=vhost,path={folder / VHOST_SOCKET}"),
        *("-netdev", "vhost-user,id=virtio,chardev=vhost,vhostforce=on"),
        "-device",
        f"virtio-net-pci,netdev=virtio,mac={mac},disable-legacy=on,romfile=,guest_announce=off,mrg_rxbuf=off,"
        f"rx_queue_size={queue_size},tx_queue_size={queue_size}{failover}",
    )


def bring_up(guest: Guest, way: LinuxGuest) -> None:
    """Load the driver, give the interface its address, and attach the XDP program."""
    # Only a panic is for the console: a driver that reports a hung queue there keeps the shell's port from being read.
    guest.ask("dmesg -n 1")
    load_modules(guest, *modules_of(way))
    # Sockets that hold seconds of traffic must not meet the kernel's limit for all of UDP, an eighth of this memory.
    guest.ask("echo 1000000 1000000 1000000 >/proc/sys/net/ipv4/udp_mem")
    guest.ask("ip link set lo up")
    guest.ask(f"ip addr add {dotted(GUEST_IP)}/24 dev {INTERFACE}")
    guest.ask(f"ip link set {INTERFACE} up")
    guest.ask(f"arp -s {dotted(PEER_IP)} {PEER_MAC.hex(':')}")
    if way.xdp:
        guest.ask(f"agent xdp {INTERFACE} {way.xdp}")


def start_programs(guest: Guest, experiment: Experiment, hold_us: int) -> None:
    """The application, which keeps each packet for ``hold_us``, and the guest's other work."""
    workload = experiment.workload
    by_content = f"agent frames {INTERFACE} {hold_us}"
    guest.ask(f"if test -f /{FRAMES_FILE}; then {by_content}; else agent app {RECEIVE_PORT} {hold_us}; fi")
    if workload.dirty_rate_pages_per_s:
        guest.ask(f"agent dirty {workload.working_set_bytes} {workload.dirty_rate_pages_per_s}")


def dotted(address: bytes) -> str:
    """``10.0.0.1``."""
    return ".".join(map(str, address))
