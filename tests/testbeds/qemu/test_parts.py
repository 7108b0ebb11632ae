"""The parts of a real guest: found, refused in words, and put in the order in which they are used."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest
from support.real_guests import made_up_parts, module_file

import cli
from vfbench.errors import UserError
from vfbench.settings import Qemu as Settings
from vfbench.testbeds.qemu.parts import accelerator, prefix
from vfbench.testbeds.qemu.parts.compiled import compiled
from vfbench.testbeds.qemu.parts.described import Compiler, Qemu, kernel_version
from vfbench.testbeds.qemu.parts.find import find_kernels, find_parts, find_qemu
from vfbench.testbeds.qemu.parts.inspect import inspected
from vfbench.testbeds.qemu.parts.modules import depends, in_loading_order, module
from vfbench.testbeds.qemu.parts.unpack import wanted

NEWER_QEMU = """#!/bin/sh
case "$1$2" in
--version) echo "QEMU emulator version 11.1.3 (Debian 1:11.1.3)";;
-devicehelp) printf 'Network devices:\\nname "virtio-net-pci", bus PCI\\nname "vfio-user-pci", bus PCI\\n';;
-accelhelp) printf 'Accelerators supported in QEMU binary:\\ntcg\\nmshv\\n';;
esac
"""


def a_prefix(folder: Path) -> Path:
    """What fetching leaves, with empty files."""
    files = (
        "boot/vmlinuz-6.12.117+deb13-amd64",
        "usr/lib/modules/6.12.117+deb13-amd64/kernel/x",
        "usr/lib/modules/7.3.4+deb13-amd64/kernel/x",
        "usr/lib/modules/7.3.4+deb13-amd64/vmlinuz",
        "usr/lib/modules/5.10.0-no-image/kernel/x",
        "usr/bin/busybox",
    )
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / prefix.MANIFEST).write_text(json.dumps({"layout": prefix.LAYOUT}))
    return folder


def a_qemu(folder: Path, script: str = NEWER_QEMU) -> str:
    path = folder / "qemu"
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


def test_a_kernel_of_7_is_found_beside_its_modules_and_one_of_6_in_boot(tmp_path: Path) -> None:
    newest, longterm = prefix.kernels(a_prefix(tmp_path))
    assert (newest.version, newest.image.name) == ((7, 3), "vmlinuz")
    assert (longterm.version, longterm.image.parent.name) == ((6, 12), "boot")


@pytest.mark.parametrize(
    ("asked", "version"), [("auto", (6, 12)), ("newest", (7, 3)), ("7.3", (7, 3)), ("6.12.117", (6, 12))]
)
def test_a_kernel_is_chosen_by_its_version(tmp_path: Path, asked: str, version: tuple[int, int]) -> None:
    assert find_kernels(asked, a_prefix(tmp_path))[0].version == version


@pytest.mark.parametrize("asked", ["6.1", "8", "sixth"])
def test_a_kernel_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, asked: str) -> None:
    with pytest.raises(UserError, match=rf"qemu.kernel: there is no kernel '{asked}'.*7\.3\.4.*6\.12\.117"):
        find_kernels(asked, a_prefix(tmp_path))


def test_a_named_kernel_without_modules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz-6.1.0-9").touch()
    with pytest.raises(UserError, match=r"no modules of .*vmlinuz-6\.1\.0-9 were found"):
        find_kernels(str(tmp_path / "vmlinuz-6.1.0-9"), None)


def test_a_prefix_without_a_manifest_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (a_prefix(tmp_path) / prefix.MANIFEST).unlink()
    with pytest.raises(UserError, match="was not found: fetch it with `make linux-guest`"):
        find_parts(root=tmp_path)


def test_a_prefix_of_an_earlier_layout_is_not_used(tmp_path: Path) -> None:
    (a_prefix(tmp_path) / prefix.MANIFEST).write_text(json.dumps({"layout": prefix.LAYOUT - 1}))
    assert prefix.manifest(tmp_path) is None


def test_a_qemu_says_its_version_devices_and_accelerators(tmp_path: Path) -> None:
    found = find_qemu(a_qemu(tmp_path), None)
    assert (found.release, "vfio-user-pci" in found.devices, found.accelerators) == ("11.1.3", True, {"tcg"})


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("#!/bin/sh\necho hello\n", "is no QEMU"),
        (
            "#!/bin/sh\necho libfoo.so: cannot open >&2; exit 127\n",
            "QEMU does not start .* libfoo.so: cannot open",
        ),
        ("#!/bin/sh\necho QEMU emulator version 9.0.0\n", "emulates no PC"),
        ("not a program", "QEMU does not start"),
    ],
)
def test_what_is_no_qemu_for_a_pc_is_refused(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        inspected((a_qemu(tmp_path, script),))


def test_kvm_that_qemu_was_built_without_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"accelerator=kvm can't be had: QEMU 11\.1\.3 is built without KVM"):
        accelerator.chosen("kvm", find_qemu(a_qemu(tmp_path), None))


@pytest.mark.parametrize(
    ("runs", "name", "timing"), [("natively", "kvm", "measured"), ("emulated", "tcg", "functional")]
)
def test_auto_takes_kvm_only_where_it_runs_guests_natively(
    monkeypatch: pytest.MonkeyPatch, runs: str, name: str, timing: str
) -> None:
    monkeypatch.setattr(accelerator, "_machine", lambda: {"kvm": True, "guest_runs": runs})
    both = Qemu(("qemu",), (11, 1, 0), frozenset(), frozenset({"tcg", "kvm"}))
    found = accelerator.chosen("auto", both)
    assert (found.name, found.timing) == (name, timing)


@pytest.mark.parametrize(
    ("ns_per_instruction", "timing"), [(0.4, "measured"), (20.0, "functional"), (2800.0, None)]
)
def test_kvm_that_is_asked_for_is_taken_where_a_linux_would_boot(
    monkeypatch: pytest.MonkeyPatch, ns_per_instruction: float, timing: str | None
) -> None:
    runs = "natively" if ns_per_instruction < 1 else "emulated"
    machine = {"kvm": True, "guest_runs": runs, "ns_per_instruction": ns_per_instruction}
    monkeypatch.setattr(accelerator, "_machine", lambda: machine)
    both = Qemu(("qemu",), (11, 1, 0), frozenset(), frozenset({"tcg", "kvm"}))
    if timing is not None:
        assert accelerator.chosen("kvm", both).timing == timing
        return
    with pytest.raises(UserError, match=r"emulates guests here, 2,800 ns an instruction.*take tcg or auto"):
        accelerator.chosen("kvm", both)


def test_a_module_comes_after_what_it_needs(tmp_path: Path) -> None:
    place = made_up_parts(tmp_path).kernel.modules
    assert [name for name, _ in in_loading_order(place, ["one", "built-in-one"])] == ["the_other", "one"]


def test_a_module_is_unpacked_and_found_by_either_spelling(tmp_path: Path) -> None:
    place = made_up_parts(tmp_path).kernel.modules
    assert module(place, "one") == module_file("the_other")
    assert module(place, "the_other") == module(place, "the-other") == module_file()


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"have no igbvf\.ko"):
        in_loading_order(made_up_parts(tmp_path).kernel.modules, ["igbvf"])


def test_a_module_says_what_it_needs() -> None:
    assert depends(module_file("i2c-algo-bit", "dca")) == ("i2c_algo_bit", "dca")
    with pytest.raises(ValueError, match="not a kernel module"):
        depends(module_file().replace(b".modinfo", b".nothing"))


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.12.117+deb13-amd64", (6, 12)),
        ("7.3.4-1~bpo13+1", (7, 3)),
        ("6.8-rc1", (6, 8)),
        ("vmlinuz", (0, 0)),
    ],
)
def test_a_release_begins_with_its_version(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("usr/bin/qemu-system-x86_64", True),
        ("usr/share/doc/qemu/copyright", False),
        ("usr/lib/modules/6.12/kernel/drivers/net/ethernet/intel/ixgbevf/ixgbevf.ko.xz", True),
        ("usr/lib/modules/6.12/kernel/drivers/gpu/drm/drm.ko.xz", False),
        ("usr/lib/modules/6.12/kernel/drivers/net/wireless/x.ko.xz", False),
        ("usr/lib/modules/6.12/modules.builtin", True),
    ],
)
def test_what_no_guest_needs_is_not_unpacked(name: str, kept: bool) -> None:
    assert wanted(name) is kept


def test_without_a_compiler_the_guests_program_is_refused_in_words() -> None:
    with pytest.raises(
        UserError, match="no C compiler for the guest's program; `make linux-guest` fetches one"
    ):
        compiled(None)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    broken = a_qemu(tmp_path, "#!/bin/sh\necho cannot find -lc >&2; exit 1\n")
    with pytest.raises(UserError, match="makes no static program: cannot find -lc"):
        compiled(Compiler((broken,)))


def test_the_doctor_says_what_it_found_and_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = made_up_parts(tmp_path / "made")
    image = made.kernel.modules / "vmlinuz"
    image.write_bytes(lzma.compress(b""))
    settings = ("--set", f"qemu.binary={a_qemu(tmp_path)}", "--set", f"qemu.kernel={image}")
    cli.main(["doctor", *settings, "--set", "qemu.accelerator=tcg"])
    said = capsys.readouterr().out
    assert "qemu      11.1.3" in said
    assert "lacks intel-iommu (an IOMMU that the guest sees)" in said
    assert "with none of the drivers" in said


def test_the_doctor_says_in_one_line_that_there_is_no_qemu(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor", "--set", "qemu.binary=/nowhere/qemu"])
    assert "qemu      no: qemu.binary: there is no program /nowhere/qemu; fetch it" in capsys.readouterr().out


def test_a_group_at_its_defaults_is_no_part_of_an_experiments_identity() -> None:
    from dataclasses import replace

    from support.fakes import experiment

    made = experiment()
    assert replace(made, qemu=Settings()).digest == made.digest
    assert replace(made, qemu=Settings(device_id="X540")).digest != made.digest
