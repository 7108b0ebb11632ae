"""Facts from a Linux host, read from a copy of its files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cli import main
from vfbench.advice.here import describe, look


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host of today: a ConnectX-7 with two VFs on its variant driver, an emulated disk, VT-d with scalable mode."""
    function(tmp_path, "0000:3b:00.0", "0x15b3", "0x1021", "mlx5_core", sriov_numvfs=2, sriov_totalvfs=16)
    firmware = tmp_path / "sys/bus/pci/devices/0000:3b:00.0/infiniband/mlx5_0"
    firmware.mkdir(parents=True)
    (firmware / "fw_ver").write_text("28.41.1000\n")
    net = tmp_path / "sys/bus/pci/devices/0000:3b:00.0/net/eth2"
    net.mkdir(parents=True)
    (net / "speed").write_text("100000\n")
    for number in (1, 2):
        function(tmp_path, f"0000:3b:00.{number}", "0x15b3", "0x101e", "mlx5_vfio_pci", is_vf=True)
    function(tmp_path, "0000:00:1f.2", "0x8086", "0x2922", "ahci", device_class="0x010601")
    text(tmp_path / "proc/sys/kernel/osrelease", "7.3.4-amd64\n")
    text(
        tmp_path / "boot/config-7.3.4-amd64",
        "CONFIG_VFIO_PCI=m\nCONFIG_MLX5_VFIO_PCI=m\n# CONFIG_X is not set\n",
    )
    text(tmp_path / "sys/class/iommu/dmar0/intel-iommu/ecap", f"{1 << 43 | 1 << 45:x}\n")
    text(tmp_path / "sys/module/kvm_intel/parameters/pml", "Y\n")
    return tmp_path


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def function(root, address, vendor, device, driver, *, device_class="0x020000", is_vf=False, **counts):
    folder = root / "sys/bus/pci/devices" / address
    for name, content in {"vendor": vendor, "device": device, "class": device_class, **counts}.items():
        text(folder / name, f"{content}\n")
    if driver:
        (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")
    if is_vf:
        (folder / "physfn").symlink_to("../0000:3b:00.0")


def test_a_host_of_today_is_read_whole(root):
    facts = look(root, ask=False).facts
    assert facts.card.name == "ConnectX-7"
    assert (facts.firmware, facts.kernel, facts.bound) == ("28.41.1000", "7.3.4-amd64", "variant")
    assert (facts.iommu, facts.pml, facts.link_bps) == ("vt-d-scalable", True, 100 * 10**9)
    assert facts.options["CONFIG_MLX5_VFIO_PCI"] == "m"
    assert facts.options["CONFIG_PDS_VFIO_PCI"] == "n"


def test_only_network_cards_and_cards_of_the_table_are_shown(root):
    shown = describe(look(root, ask=False))
    assert shown[0].startswith("card      0000:3b:00.0 [15b3:1021] ConnectX-7, 2 of 16 VFs, driver mlx5_core")
    assert not any("2922" in line for line in shown)


def test_vfs_on_plain_vfio_pci_are_told_from_those_on_their_variant_driver(root):
    for number in (1, 2):
        link = root / f"sys/bus/pci/devices/0000:3b:00.{number}/driver"
        link.unlink()
        (root / "sys/bus/pci/drivers/vfio-pci").mkdir(exist_ok=True)
        link.symlink_to("../../../../bus/pci/drivers/vfio-pci")
    assert look(root, ask=False).facts.bound == "vfio-pci"


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        ({"dmar0/intel-iommu/ecap": "f020df"}, "vt-d"),
        ({"dmar0/intel-iommu/ecap": f"{1 << 43 | 1 << 45:x}", "dmar1/intel-iommu/ecap": "0"}, "vt-d"),
        ({"dmar0/intel-iommu/ecap": "what"}, "vt-d"),
        ({"ivhd0/x": ""}, "amd"),
        ({"smmu3.0x2b400000/x": ""}, "smmuv3"),
        ({}, "none"),
    ],
)
def test_the_kind_of_iommu_follows_from_its_name_and_capabilities(tmp_path, entries, kind):
    (tmp_path / "sys/class").mkdir(parents=True)
    for name, content in entries.items():
        text(tmp_path / "sys/class/iommu" / name, content)
    assert look(tmp_path, ask=False).facts.iommu == kind


def test_options_are_read_from_the_running_kernels_own_configuration(root):
    (root / "boot/config-7.3.4-amd64").unlink()
    (root / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_QAT_VFIO_PCI=y\n"))
    options = look(root, ask=False).facts.options
    assert (options["CONFIG_QAT_VFIO_PCI"], options["CONFIG_MLX5_VFIO_PCI"]) == ("y", "n")


def test_without_a_configuration_the_modules_say_what_there_is(root):
    (root / "boot/config-7.3.4-amd64").unlink()
    text(root / "lib/modules/7.3.4-amd64/modules.dep", "kernel/drivers/vfio/pci/pds/pds-vfio-pci.ko.xz:\n")
    text(root / "lib/modules/7.3.4-amd64/modules.builtin", "kernel/drivers/vfio/pci/vfio-pci.ko\n")
    options = look(root, ask=False).facts.options
    assert (options["CONFIG_PDS_VFIO_PCI"], options["CONFIG_MLX5_VFIO_PCI"]) == ("m", "n")


def test_what_cannot_be_read_is_not_known(tmp_path):
    (tmp_path / "sys").mkdir()
    host = look(tmp_path, ask=False)
    assert host.facts.to_json() == {"may_change": ("guest-config", "host-config"), "vfs": 1}
    assert describe(host)[0] == "card      no network card on the PCI bus"


def test_a_configuration_that_is_no_gzip_is_not_known(root):
    (root / "boot/config-7.3.4-amd64").unlink()
    text(root / "proc/config.gz", "plain")
    assert look(root, ask=False).facts.options == {}


def test_a_virtio_card_without_vfs_is_not_what_the_advice_is_about(tmp_path):
    function(tmp_path, "0000:00:03.0", "0x1af4", "0x1041", "virtio-pci")
    host = look(tmp_path, ask=False)
    assert host.functions[0].card.name == "virtio VF"
    assert host.facts.card is None


def test_the_advice_takes_what_is_not_given_from_the_host(root, capsys):
    assert main(["advise", "--no-run", "--here", "--root", str(root), "--json", "--qemu", "8.0"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["facts"]["kernel"] == "7.3.4-amd64"
    (state,) = [each for each in document["capabilities"] if each["capability"] == "vf_state"]
    assert [each["reason"][:8] for each in state["hindrances"]] == ["QEMU 8.0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--root", "/"], "--root is where --here looks"),
        (["--here", "--root", "/proc/self/fd"], "there is no sys below it"),
        (["--memory", "much"], "memory"),
        (["--send", "2"], "send"),
        (["--link", "0"], "link.rate: 0 is out of range"),
        (["--memory", "0"], "guest.memory: 0 is out of range"),
        (["--frame", "9729B"], "is out of range"),
        (["--capture", "nowhere.pcap"], "nowhere.pcap"),
        (["--capture", "x.pcap", "--frame", "64B"], "a capture has frames of its own"),
        (["--weigh", "speed"], "--weigh 'speed'"),
        (["--card", "mlx5_core"], "is more than one card"),
        (["--kernel-option", "CONFIG_X"], "is not NAME=y, m or n"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(words, message, capsys):
    assert main(["advise", "--no-run", *words]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
