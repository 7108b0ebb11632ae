"""Calibration: what was measured is in the profile with its spread, what was not is the base's and says so."""

from __future__ import annotations

import platform

import pytest

from cli import main
from vfbench.calibration import calibrate as module
from vfbench.calibration.calibrate import calibrate
from vfbench.calibration.measurement import NotMeasured, Probe, measure
from vfbench.calibration.profile_file import profile_text
from vfbench.kernels import COMPILED
from vfbench.profiles import load_profile

BASE = load_profile("xeon-82599")
HERE = pytest.mark.skipif(
    not COMPILED or platform.machine() not in module.OWN_MACHINES,
    reason="times x86-64 instructions, compiled",
)


def probes_of(*given):
    return lambda only: iter(given)


def calibrated(monkeypatch, *given):
    monkeypatch.setattr(module, "_probes", probes_of(*given))
    return calibrate(BASE, "*", 3, "2026-01-02", lambda name: None)


@HERE
def test_a_measured_figure_carries_host_date_method_and_spread(monkeypatch):
    values = iter([9.0, 1.0, 2.0, 3.0])
    probe = Probe("touch_cached", "ns", "how it was done", lambda: next(values))
    figure = calibrated(monkeypatch, probe).profile.figures["touch_cached"]
    assert (figure.value, figure.unit, figure.sure) == (2.0, "ns", "M")
    assert (figure.low, figure.high) == (1.1, 2.9)
    assert figure.measured.date == "2026-01-02"
    assert (figure.measured.method, figure.measured.repeats) == ("how it was done", 3)


@HERE
def test_what_cannot_be_measured_keeps_the_base_and_says_why(monkeypatch):
    found = calibrated(monkeypatch, NotMeasured("exit_kernel", "guest code is emulated here"))
    kept, base = found.profile.figures["exit_kernel"], BASE.figures["exit_kernel"]
    assert (kept.value, kept.sure) == (base.value, base.sure)
    assert kept.source == (
        f"{base.source} (that of xeon-82599: not measured here; guest code is emulated here)"
    )


@HERE
def test_a_result_that_is_like_no_cost_stays_out_of_the_profile(monkeypatch):
    found = calibrated(monkeypatch, Probe("loopback_tcp", "Gb/s", "sockets", lambda: 10.0, belongs=False))
    assert [each.figure for each in found.results] == ["loopback_tcp"]
    assert all(figure.measured is None for figure in found.profile.figures.values())


@HERE
def test_the_written_file_loads_as_the_same_profile(monkeypatch, tmp_path):
    found = calibrated(monkeypatch, Probe("mmio_read", "ns", 'a "quoted" method', lambda: 812.3456))
    path = tmp_path / "mine.toml"
    path.write_text(profile_text(found.profile, found.results))
    assert load_profile(path) == found.profile
    assert load_profile(path).figures["mmio_read"].value == 812.3


def test_the_first_sample_only_warms_up():
    values = iter([1000.0, 5.0, 5.0, 5.0])
    assert measure(Probe("x", "ns", "y", lambda: next(values)), 3).high == 5.0


@HERE
def test_the_command_writes_a_profile_that_runs_take(tmp_path, capsys):
    path = tmp_path / "here.toml"
    assert main(["calibrate", "--only", "[ct]*", "--repeat", "3", "-o", str(path)]) == 0
    assert "touch_uncached" in capsys.readouterr().out
    profile = load_profile(path)
    measured = {name for name, figure in profile.figures.items() if figure.sure == "M"}
    assert measured == {"cpu_frequency", "copy_rate", "touch_cached", "touch_atomic_extra", "touch_uncached"}
    # A dummy write that misses waits for another cache, on any machine.
    assert profile.picoseconds("touch_uncached") > profile.picoseconds("touch_cached") > 0


@HERE
def test_a_store_to_a_protected_page_costs_more_than_a_store():
    from vfbench.calibration.protection import store_to_protected_ns

    assert store_to_protected_ns() > 100 * BASE.picoseconds("touch_cached") / 1000


@HERE
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "warp_speed"], "--only 'warp_speed' matches nothing"),
        (["-o", "mine.txt"], "give a path that ends in .toml"),
        (["--base", "xeon"], "no profile 'xeon'"),
    ],
)
def test_a_bad_wish_is_one_line_and_exit_code_2(words, message, capsys):
    assert main(["calibrate", *words]) == 2
    assert message in capsys.readouterr().err


@HERE
def test_a_place_that_will_not_do_is_refused_before_anything_is_measured(tmp_path, capsys):
    taken = tmp_path / "mine.toml"
    taken.write_text("precious")
    for place, complaint in (
        (tmp_path / "missing" / "mine.toml", "there is no folder"),
        (taken, "--force replaces it"),
    ):
        assert main(["calibrate", "-o", str(place)]) == 2
        said = capsys.readouterr().err
        assert complaint in said
        assert "measuring" not in said
    assert taken.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [taken]
