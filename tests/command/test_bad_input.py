"""Bad input, from the command line to the real model: one clear line, exit code 2, nothing left behind."""

from __future__ import annotations

import importlib.metadata
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import cli
from vfbench import profiles

Bench = Callable[..., SimpleNamespace]
QUICK = ("run", "--strategy", "dummy-write", "--memory", "64MiB", "--set", "guest.packet-memory=8MiB")
SHORT = ("--set", "phases.steady=1ms", "--set", "phases.after=1ms", "--set", "driver.tx-ring=256")


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> SimpleNamespace:
        code = cli.main([*QUICK, *SHORT, *words])
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return call


def check_refused(done: SimpleNamespace, *complaints: str) -> None:
    assert done.code == 2
    assert done.out == ""
    # Where nothing was ever compiled, the model announces that first.
    (line,) = (line for line in done.err.splitlines() if not line.startswith("compiling the kernels"))
    assert line.startswith("bench: ")
    for complaint in complaints:
        assert complaint in line
    assert not list(Path().glob("results/*"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("--strategy", "dummy-wright"),
            "no strategy is called 'dummy-wright' - did you mean 'dummy-write'?",
        ),
        (("--workload", "smal-packets"), "no workload is called 'smal-packets' - did you mean"),
        (("--set", "dummy-write.bite=last"), "dummy-write has no parameter 'bite' - did you mean 'byte'?"),
        (
            ("--set", "dummy-write.byte=middle"),
            "dummy-write.byte: 'middle' is not one of first | last | both",
        ),
        (("--rate", "5 furlongs"), "imix-simple.rate: '5 furlongs' is no bit rate"),
        (("--rate", "11Gbps"), "imix-simple.rate: 11Gbps is more than the link carries (10Gbps)"),
        (
            ("--workload", "small-packets", "--set", "small-packets.frame=63B"),
            "small-packets.frame: 63B is out of range (64B to 9728B)",
        ),
        (("--set", "driver.rx-ring=100"), "driver.rx-ring: '100' is not one of 64 | 128 |"),
        (
            ("--set", "driver.refill-batch=256", "--set", "driver.rx-ring=64"),
            "is not below driver.rx-ring (64)",
        ),
        (("--set", "emulated-iommu.entries=2"), "this strategy is not being run"),
        (("--testbed", "xen"), "xen"),
    ],
)
def test_what_no_run_can_be_made_of_is_refused(bench: Bench, words: tuple[str, ...], complaint: str) -> None:
    check_refused(bench(*words), complaint)


def test_rings_that_packet_memory_cannot_feed_are_refused_by_the_testbed(bench: Bench) -> None:
    done = bench("--set", "driver.rx-ring=4096")
    check_refused(done, "testbed 'model'", "guest.packet-memory", "rings of 4096 and 256 want 8704")


def test_a_working_set_that_the_guest_cannot_hold_is_refused(bench: Bench) -> None:
    done = bench("--workload", "small-packets", "--set", "small-packets.working-set=1GiB")
    check_refused(done, "guest.memory: 67108864 bytes do not hold")


def test_an_answer_that_cannot_act_is_refused(bench: Bench) -> None:
    done = bench("--workload", "key-value", "--set", "key-value.send=0.5")
    check_refused(done, "key-value.send: 0.5 cannot act: every request is answered once")


# --- captures

LITTLE = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
FRAME = bytes(12) + b"\x08\x00" + bytes(46)


def packet(seconds: int, captured: int, length: int, content: bytes = FRAME) -> bytes:
    return struct.pack("<IIII", seconds, 0, captured, length) + content


CAPTURES = {
    "empty": b"",
    "text": b"this is no capture at all, whatever it is called",
    "header-only": LITTLE,
    "half-a-header": LITTLE[:11],
    "cut-in-a-packet": LITTLE + packet(1, 60, 60)[:-7],
    "beyond-the-snap-length": LITTLE + packet(1, 1 << 30, 1 << 30),
    "centuries": LITTLE + packet(0, 60, 60) + packet(4_000_000_000, 60, 60),
    "interfaces-only": struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    + struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20) * 1000,
}


@pytest.mark.parametrize("kind", CAPTURES)
def test_a_hostile_capture_is_refused_by_its_name(bench: Bench, kind: str) -> None:
    Path("hostile.pcap").write_bytes(CAPTURES[kind])
    done = bench("--workload", "pcap", "--capture", "hostile.pcap")
    check_refused(done, "hostile.pcap")


@pytest.mark.parametrize("path", ["nowhere.pcap", "."])
def test_a_capture_that_is_no_file_is_refused(bench: Bench, path: str) -> None:
    check_refused(bench("--workload", "pcap", "--capture", path), path)


# --- profiles, plugins, folders


def edited_profile(old: str, new: str) -> str:
    shipped = Path(profiles.__file__).with_name("xeon-82599.toml").read_text()
    assert old in shipped
    Path("edited.toml").write_text(shipped.replace(old, new, 1))
    return "edited.toml"


def test_a_profile_with_a_figure_missing_is_refused(bench: Bench) -> None:
    profile = edited_profile("[costs.rx_packet]", "[costs.rx_pakcet]")
    check_refused(
        bench("--profile", profile), "edited.toml: unknown figure 'rx_pakcet'; did you mean rx_packet?"
    )


def test_a_profile_with_a_negative_figure_is_refused(bench: Bench) -> None:
    profile = edited_profile("value = 1600", "value = -1600")
    check_refused(bench("--profile", profile), "edited.toml: rx_packet: value -1600", "zero or more")


def plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name, value = "broken", "package:Broken"

        def load(self) -> None:
            raise RuntimeError("no\nlicence")

    def entry_points(*, group: str) -> list[Entry]:
        return [Entry()] if group == "vfbench.strategies" else []

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


def test_a_plugin_that_raises_while_loading_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    check_refused(bench(), "plugin 'broken'", "RuntimeError: no licence")


def test_debug_shows_where_the_plugin_raised(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    done = bench("--debug")
    assert done.code == 2
    assert "Traceback" in done.err
    assert "RuntimeError: no" in done.err


@pytest.mark.parametrize("results", ["file", "file/below", "/proc/none"])
def test_a_results_folder_that_takes_no_files_is_refused(bench: Bench, results: str) -> None:
    Path("file").write_text("")
    check_refused(
        bench("--results", results), f"results folder {results!r} can't be written", "--results DIR"
    )


def test_an_earlier_result_survives_whatever_is_refused_after_it(bench: Bench) -> None:
    assert bench().code == 0
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    for words in (("--workload", "pcap", "--capture", "nowhere.pcap"), ("--profile", "none.toml")):
        assert bench(*words).code == 2
    assert {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()} == before
    assert len(before) == 4
