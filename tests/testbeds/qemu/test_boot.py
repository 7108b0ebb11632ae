"""A real guest is booted, spoken to and ended, whatever happens to it."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.real_guests import booted, guest_setup, made_up_parts, module_file, real_parts

import cli
from vfbench.errors import RunFailed, UserError
from vfbench.testbeds.qemu import memory
from vfbench.testbeds.qemu.boot import cpio, monitor
from vfbench.testbeds.qemu.boot import folder as boot_folder
from vfbench.testbeds.qemu.boot import guest as guest_module
from vfbench.testbeds.qemu.boot.console import Console
from vfbench.testbeds.qemu.boot.folder import LOCK, PREFIX, kept_folders, run_folder
from vfbench.testbeds.qemu.boot.guest import Guest, load_modules
from vfbench.testbeds.qemu.boot.initramfs import initramfs
from vfbench.testbeds.qemu.boot.pulse import Pulse
from vfbench.testbeds.qemu.boot.setup import GuestSetup


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """What the kernel would unpack: name to mode and content."""
    found, at = {}, 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_bytes = fields[1], fields[6], fields[11]
        name = archive[at + 110 : at + 109 + name_bytes].decode()
        at += (110 + name_bytes + 3) & -4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[at : at + size])
        at += (size + 3) & -4


def test_an_archive_holds_each_file_with_its_mode() -> None:
    entries = (cpio.folder("bin"), cpio.program("bin/sh", b"12345"), cpio.plain_file("x", b""))
    assert members(cpio.archive(entries)) == {
        "bin": (0o40755, b""),
        "bin/sh": (0o100755, b"12345"),
        "x": (0o100644, b""),
    }


def test_a_device_node_carries_its_numbers() -> None:
    header = cpio.archive((cpio.character_device("dev/console", 5, 1),))[:110]
    assert (header[78:86], header[86:94]) == (b"00000005", b"00000001")


def test_the_initramfs_holds_modules_unpacked_with_their_order(tmp_path: Path) -> None:
    found = members(initramfs(made_up_parts(tmp_path), ["one"]))
    assert found["modules/one.ko"][1] == module_file("the_other")
    assert found["modules/one.needs"][1] == b"the_other one"
    assert found["init"][0] == 0o100755


def test_a_guest_has_one_processor_and_shares_its_memory_where_asked(tmp_path: Path) -> None:
    made = made_up_parts(tmp_path)
    setup = GuestSetup(made, tmp_path / "i", tmp_path / "guest", shared_memory=True, incoming=True)
    command = " ".join(setup.command())
    assert "-machine q35,memory-backend=memory -accel tcg -cpu max -smp 1 -m 256M" in command
    assert "memory-backend-memfd,id=memory,size=256M,share=on" in command
    assert "-S -incoming defer" in command


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too long a path for sockets; set TMPDIR"):
        GuestSetup(made_up_parts(tmp_path), tmp_path / "i", tmp_path / ("x" * 100))


def test_a_runs_folder_is_private_and_goes_with_the_run() -> None:
    with run_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_runs_folder_goes_with_a_run_that_fails_and_stays_where_asked() -> None:
    said: list[str] = []
    for keep in (False, True):
        with pytest.raises(RunFailed), run_folder(keep=keep, say=said.append) as folder:
            raise RunFailed("over")
        assert folder.exists() is keep
    assert said == [f"kept the consoles and logs of this run in {folder}"]
    (folder).rmdir()


def test_bench_run_keeps_what_its_guests_wrote_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with kept_folders(True), run_folder() as folder:
        pass
    assert folder.exists()
    assert f"kept the consoles and logs of this run in {folder}" in capsys.readouterr().err
    folder.rmdir()
    with kept_folders(False), run_folder() as folder:
        pass
    assert not folder.exists()


def test_keep_is_refused_where_there_is_nothing_to_keep(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--strategy", "untracked", "--keep"]) == 2
    assert "--keep: testbed 'model' has no guests" in capsys.readouterr().err


def test_what_a_killed_run_left_is_removed_and_what_another_uses_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path) if len(str(tmp_path)) <= 40 else "/tmp")
    base = Path(tmp_path if len(str(tmp_path)) <= 40 else "/tmp")
    left, used = base / f"{PREFIX}left", base / f"{PREFIX}used"
    for folder in (left, used):
        folder.mkdir(exist_ok=True)
        (folder / LOCK).touch()
    try:
        with (used / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with run_folder():
                assert (left.exists(), used.exists()) == (False, True)
    finally:
        (used / LOCK).unlink(missing_ok=True)
        used.rmdir()


def test_a_folder_that_is_being_made_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot_folder, "_parent", lambda: tmp_path)
    taken = fcntl.flock

    def another_sweeps_first(*arguments: int) -> None:
        monkeypatch.setattr(fcntl, "flock", taken)
        boot_folder._sweep(tmp_path)
        taken(*arguments)

    monkeypatch.setattr(fcntl, "flock", another_sweeps_first)
    with run_folder() as folder:
        assert (folder / LOCK).exists()


def test_the_last_words_of_a_qemu_that_does_not_start_are_told(tmp_path: Path) -> None:
    made = made_up_parts(tmp_path, "#!/bin/sh\necho no such machine >&2\nexit 3\n")
    with (
        pytest.raises(RunFailed, match="QEMU does not start: no such machine"),
        Guest(GuestSetup(made, tmp_path / "i", tmp_path / "guest")),
    ):
        pass


def test_guests_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:    512000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    with pytest.raises(
        UserError, match=r"2 guests want 832 MiB .* 500 MiB can be had; set qemu.memory lower"
    ):
        memory.refuse_without_memory(256 << 20, guests=2)
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert memory.available_bytes() == 600_000


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A real guest, booted once for the tests that leave it as it is."""
    found = real_parts()
    with run_folder() as folder, Guest(guest_setup(found, folder, "virtio_net", qtest=True)) as running:
        yield booted(running)


@pytest.mark.slow
def test_a_real_guest_answers_and_qmp_and_qtest_do(guest: Guest) -> None:
    assert guest.ask("uname -r") == [guest.setup.parts.kernel.release]
    assert guest.qmp("query-status")["status"] == "running"
    assert guest.qtest.read_config(bus=0, offset=0) == 0x29C0_8086  # q35's host bridge


@pytest.mark.slow
def test_a_module_is_loaded_with_what_it_needs(guest: Guest) -> None:
    load_modules(guest, "virtio_net")
    assert {"failover", "net_failover", "virtio_net"} <= {
        line.split()[0] for line in guest.ask("cat /proc/modules")
    }


@pytest.mark.slow
def test_a_command_that_fails_in_the_guest_is_quoted_with_what_it_said(guest: Guest) -> None:
    with pytest.raises(RunFailed, match=r"`cat /nowhere` failed \(1\) and said: .*No such file"):
        guest.ask("cat /nowhere")


@pytest.mark.slow
def test_a_qmp_command_that_qemu_refuses_is_a_failure_in_its_words(guest: Guest) -> None:
    with pytest.raises(RunFailed, match="asked for `migrate-continue`"):
        guest.qmp("migrate-continue", state="pre-switchover")


@pytest.mark.parametrize("how", ["killed", "hangs"])
def test_a_qemu_that_dies_or_hangs_ends_the_run_at_once(how: str) -> None:
    found = real_parts()
    number = signal.SIGKILL if how == "killed" else signal.SIGSTOP
    with run_folder() as folder:
        running = Guest(guest_setup(found, folder))
        with pytest.raises(RunFailed) as failure, running:  # noqa: PT012 - what fails is the context
            os.kill(running.process.pid, number)
            running.wait_until_booted(timeout_s=2)
        assert running.ended()
    said = str(failure.value)
    assert ("ended by SIGKILL" in said) if how == "killed" else ("no answer within 2 s" in said)
    assert "\n" not in said


@pytest.mark.slow
def test_a_guest_that_hangs_while_it_boots_is_found_out_by_its_silence() -> None:
    found = real_parts()
    with (
        run_folder() as folder,
        pytest.raises(
            RunFailed, match=r"does not boot: the guest in the guest QEMU hangs: neither its kernel"
        ),
        # A first process that does nothing for ever.
        Guest(guest_setup(found, folder, kernel_options="rdinit=/bin/busybox -- sleep 1000")) as running,
    ):
        booted(running)


def test_a_stranger_who_takes_the_shell_before_the_suite_does_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest_module, "READY_S", 0.3)
    running = Guest(GuestSetup(made_up_parts(tmp_path), tmp_path / "i", tmp_path / "guest"))
    (tmp_path / "guest").mkdir()
    with socket.socket(socket.AF_UNIX) as shell:
        shell.bind(str(tmp_path / "guest/shell"))
        shell.listen()
        running.console = Console(tmp_path / "guest/shell", lambda: False, running._look)
        running.pulse = Pulse(os.getpid(), tmp_path / "guest/console", "guest")
        (tmp_path / "guest/console").write_text("@ready\r\n")
        with pytest.raises(
            RunFailed, match="does not boot: init runs, but its words go to another client of shell"
        ):
            running.wait_until_booted()
        running.console.close()


def test_a_qemu_that_opens_no_socket_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "CONNECT_S", 0.5)
    made = made_up_parts(tmp_path, "#!/bin/sh\nsleep 1000 &\necho $! >$(dirname $0)/child\nwait\n")
    running = Guest(GuestSetup(made, tmp_path / "i", tmp_path / "guest"))
    with pytest.raises(RunFailed, match=r"QEMU does not start: .*does not answer at qmp"), running:
        pass
    child = int((tmp_path / "child").read_text())
    for _ in range(50):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"process {child} is left running")


@pytest.mark.slow
def test_a_guest_that_panics_does_not_boot_and_says_why() -> None:
    found = real_parts()
    with (
        run_folder() as folder,
        pytest.raises(RunFailed, match=r"does not boot.*[Pp]anic"),
        Guest(guest_setup(found, folder, kernel_options="rdinit=/nowhere root=/dev/none")) as running,
    ):
        booted(running)


def test_what_is_no_kernel_is_refused_by_qemu_in_one_line(tmp_path: Path) -> None:
    from dataclasses import replace

    found = real_parts()
    (tmp_path / "vmlinuz").write_bytes(b"no kernel at all" * 100)
    broken = replace(found.kernel, image=tmp_path / "vmlinuz")
    with (
        run_folder() as folder,
        pytest.raises(RunFailed, match=r"QEMU does not start: .*kernel"),
        Guest(guest_setup(found, folder, kernel=broken)),
    ):
        pass


def test_a_suite_that_is_killed_takes_its_qemu_with_it(tmp_path: Path) -> None:
    real_parts()
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from support.real_guests import guest_setup, real_parts\n"
        "from vfbench.testbeds.qemu.boot.folder import run_folder\n"
        "from vfbench.testbeds.qemu.boot.guest import Guest\n"
        "with run_folder() as folder, Guest(guest_setup(real_parts(), folder)) as guest:\n"
        "    print(guest.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as suite:
        assert suite.stdout is not None
        qemu = int(suite.stdout.readline())
        suite.kill()
    for _ in range(100):
        if not Path(f"/proc/{qemu}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{qemu}").exists()
