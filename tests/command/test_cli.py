"""The `bench` command: what it prints, what it refuses, and the code it exits with."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from support import fakes

import cli
from vfbench import runner
from vfbench.records import MEASURES, SCHEMA_VERSION, read_records

Bench = Callable[..., SimpleNamespace]


@pytest.fixture(autouse=True)
def _pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "_strategies", lambda: fakes.STRATEGIES)
    monkeypatch.setattr(cli, "_workloads", lambda: fakes.WORKLOADS)
    monkeypatch.chdir(tmp_path)
    use(monkeypatch, fakes.pretend_testbed())


def use(monkeypatch: pytest.MonkeyPatch, testbed: SimpleNamespace) -> None:
    monkeypatch.setattr(runner, "load_testbed", lambda name: testbed)


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str]) -> Bench:
    def call(*words: str) -> SimpleNamespace:
        code = cli.main(list(words))
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return call


def experiment_of(results: str = "results") -> dict[str, Any]:
    (record,) = read_records(results)
    return dict(record.manifest["experiment"])


RUN = ("run", "--workload", "steady")


def test_a_run_ends_in_a_table_and_the_place_of_its_records(bench: Bench) -> None:
    done = bench(*RUN)
    assert done.code == 0
    assert re.search(r"^careful +- +- +1\.00", done.out, re.MULTILINE)
    assert re.search(r"^careless +- +- +1\.00", done.out, re.MULTILINE)
    assert re.search(r"^Records: results/\d{8}-\d{6}-2-strategies-steady$", done.out, re.MULTILINE)


def test_where_there_is_no_terminal_progress_is_a_line_for_each_run(bench: Bench) -> None:
    assert bench(*RUN).err.splitlines() == ["run 1 of 2: careful, seed 1", "run 2 of 2: careless, seed 1"]
    assert bench(*RUN, "--quiet").err.startswith("Records: ")


def test_a_stored_run_shows_the_same_table_again(bench: Bench) -> None:
    table = bench(*RUN).out.partition("\nRecords:")[0]
    assert bench("show", "results").out.startswith(table.rstrip())


def test_json_is_one_document_and_nothing_else(bench: Bench) -> None:
    done = bench(*RUN, "--repeat", "2", "--json")
    document = json.loads(done.out)
    assert document["schema"] == SCHEMA_VERSION
    assert [(run["strategy"], run["seed"]) for run in document["runs"]] == [
        ("careful", 1),
        ("careless", 1),
        ("careful", 2),
        ("careless", 2),
    ]
    run = document["runs"][0]
    assert {column.name for column in MEASURES} <= set(run)
    assert (run["workload"], run["testbed"], run["state"], run["reason"]) == ("steady", "model", "ok", "")
    assert (run["gbps"], run["mpps"], run["wall_s"]) == (1.0, None, 0.25)
    assert [row["round"] for row in run["rounds"]] == [0, 1]
    assert Path(run["record"], "manifest.json").exists()
    assert "Records: " in done.err


@pytest.mark.parametrize(
    ("words", "part", "value"),
    [
        (("--memory", "4GiB"), ("guest", "memory_bytes"), 4 << 30),
        (("--queues", "2"), ("guest", "queues"), 2),
        (("--bandwidth", "128MiB/s"), ("migration", "bandwidth_bps"), 1 << 30),
        (("--downtime-limit", "1s"), ("migration", "downtime_limit_ns"), 10**9),
        (("--packets", "20k"), ("phases", "packets"), 20_000),
        (("--set", "driver.rx-ring=1024"), ("driver", "rx_ring"), 1024),
        (("--set", "driver.rx_ring=1024"), ("driver", "rx_ring"), 1024),
        (("--preset", "qemu"), ("migration", "bandwidth_bps"), 1 << 30),
        (("--preset", "qemu", "--bandwidth", "1Gbps"), ("migration", "bandwidth_bps"), 10**9),
        (
            ("--preset", "qemu", "--set", "migration.bandwidth_bps=1Gbps"),
            ("migration", "bandwidth_bps"),
            10**9,
        ),
    ],
)
def test_an_option_reaches_the_experiment(
    bench: Bench, words: tuple[str, ...], part: tuple[str, str], value: int
) -> None:
    assert bench(*RUN, "--strategy", "careful", *words).code == 0
    assert experiment_of()[part[0]][part[1]] == value


def test_a_workloads_rate_and_capture_have_options_of_their_own(bench: Bench) -> None:
    bench("run", "--strategy", "careful", "--workload", "replay", "--capture", "a.pcap", "--rate", "5Gbps")
    assert experiment_of()["workload"]["parameters"]["capture"] == "a.pcap"
    assert experiment_of()["workload"]["parameters"]["rate_bps"] == 5 * 10**9


def test_a_strategys_parameter_is_set_by_the_strategys_name(bench: Bench) -> None:
    bench(*RUN, "--set", "careful.mode=deferred")
    parameters = {
        each.run["strategy"]: each.settings.get("strategy.mode") for each in read_records("results")
    }
    assert parameters == {"careful": "deferred", "careless": None}


def test_the_recorded_command_repeats_the_run(bench: Bench) -> None:
    bench(*RUN, "--strategy", "careful", "--set", "careful.mode=deferred", "--memory", "4GiB", "--seed", "7")
    (record,) = read_records("results")
    words = shlex.split(record.manifest["command"])
    assert words[0] == "bench"
    assert bench(*words[1:], "--results", "again").code == 0
    assert experiment_of("again") == record.manifest["experiment"]


BAD = [
    (("--strategy", "carefull"), "no strategy is called 'carefull' - did you mean 'careful'?"),
    (("--strategy", ""), "no strategy is called ''; there are: careful, careless, all"),
    (("--workload", "stedy"), "no workload is called 'stedy' - did you mean 'steady'?"),
    (("--set", "careful.mod=x"), "careful has no parameter 'mod' - did you mean 'mode'?"),
    (("--set", "careful.mode=x"), "careful.mode: 'x' is not one of strict | deferred"),
    (("--set", "steady.frame=1B"), "steady.frame: 1B is out of range (64B to 9018B)"),
    (("--set", "steady.frame=64"), "steady.frame: '64' is no size"),
    (("--set", "gest.memory=1GiB"), "--set: nothing is called 'gest' - did you mean 'guest'?"),
    (("--set", "guest.memory"), "--set 'guest.memory' is not NAME.PARAM=VALUE"),
    (("--set", "=1"), "--set '=1' is not NAME.PARAM=VALUE"),
    (("--strategy", "careless", "--set", "careful.mode=strict"), "this strategy is not being run"),
    (("--set", "replay.capture=a.pcap"), "this workload is not being run (run is: steady)"),
    (("--capture", "a.pcap"), "--capture means nothing to workload 'steady'; it does to: replay"),
    (("--memory", "1GiB", "--set", "guest.memory=2GiB"), "guest.memory is set twice"),
    (("--memory", "5 parsec"), "guest.memory: '5 parsec' is no size"),
    (("--memory", "nan"), "guest.memory: 'nan' is no size"),
    (("--bandwidth", "-1Gbps"), "migration.bandwidth: '-1Gbps' is no bit rate"),
    (("--rate", "10Mpps"), "steady.rate: '10Mpps' is no bit rate"),
    (("--queues", "99"), "guest.queues: 99 is out of range (1 to 16)"),
    (("--preset", "xen"), "'xen' is not one of 'default', 'qemu'"),
    (("--repeat", "0"), "0 is not in the range 1<=x<=10000"),
    (("--seed", "-1"), "-1 is not in the range"),
    (("--seed", "4294967295", "--repeat", "2"), "seed: 4294967296 is no whole number"),
    (("--profile", "no-such-one"), "no profile 'no-such-one'"),
    (("--bogus",), "No such option"),
    (("extra",), "unexpected extra argument (extra)"),
]


@pytest.mark.parametrize(("words", "complaint"), BAD)
def test_bad_input_ends_in_one_clear_line_and_code_2(
    bench: Bench, words: tuple[str, ...], complaint: str
) -> None:
    done = bench(*RUN, *words)
    assert done.code == 2
    assert complaint in done.err
    assert done.err.startswith("bench: ")
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert not Path("results").exists()


def test_bad_input_leaves_every_earlier_result_intact(bench: Bench) -> None:
    bench(*RUN)
    before = {path: path.read_bytes() for path in Path("results").rglob("*.*") if path.is_file()}
    for words, _ in BAD:
        bench(*RUN, *words)
    assert {path: path.read_bytes() for path in Path("results").rglob("*.*") if path.is_file()} == before


def test_debug_shows_the_traceback(bench: Bench) -> None:
    done = bench(*RUN, "--memory", "1", "--debug")
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("bench: guest.memory: '1' is no size")


def test_an_unknown_testbed_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(cli, "_strategies", lambda: fakes.STRATEGIES)
    monkeypatch.setattr(cli, "_workloads", lambda: fakes.WORKLOADS)
    done = bench(*RUN, "--testbed", "modell")
    assert (done.code, done.err) == (
        2,
        "bench: no testbed is called 'modell' - did you mean 'model'? There are: model, kvm, qemu\n",
    )


def test_what_the_testbed_cannot_honour_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fakes.pretend_testbed(refusing="guest.queues=4 is more than it has"))
    done = bench(*RUN)
    assert (done.code, done.out) == (2, "")
    assert "guest.queues=4 is more than it has" in done.err


def test_an_unwritable_results_folder_is_refused_before_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    testbed = fakes.pretend_testbed()
    use(monkeypatch, testbed)
    Path("taken").write_text("")
    done = bench(*RUN, "--results", "taken")
    assert done.code == 2
    assert "results folder 'taken' can't be written" in done.err
    assert testbed.runs == []


def test_a_failed_run_is_in_the_table_and_in_the_exit_code(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fakes.pretend_testbed(failing="careful"))
    done = bench(*RUN)
    assert done.code == 1
    assert "careful, seed 1: failed: the ring stalled" in done.out
    assert re.search(r"^careless +- +ok", done.out, re.MULTILINE)
    assert "Traceback" not in done.err


def test_a_run_that_does_not_converge_is_an_answer_and_no_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = fakes.outcome(state="not-converged", reason="30 rounds")
    use(monkeypatch, SimpleNamespace(run=lambda *_: ended, refusals=lambda _: []))
    assert bench(*RUN).code == 0


def test_an_interrupt_keeps_what_is_finished(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fakes.pretend_testbed(interrupting_at=3))
    done = bench(*RUN, "--repeat", "5")
    assert done.code == 130
    assert "interrupted after 3 of 10 runs" in done.err
    assert "Records: results/" in done.out
    assert len(read_records("results")) == 3


INTERRUPTED = """
import sys, time
import cli
from support import fakes
from vfbench import runner

def run(experiment, profile, progress):
    if experiment.seed == 2:
        print("running", flush=True)
        time.sleep(60)
    return fakes.outcome()

fake = fakes.pretend_testbed()
fake.run = run
runner.load_testbed = lambda name: fake
cli._strategies = lambda: fakes.STRATEGIES
cli._workloads = lambda: fakes.WORKLOADS
sys.exit(cli.main(["run", "--strategy", "careful", "--workload", "steady", "--repeat", "3"]))
"""


def test_ctrl_c_ends_the_process_with_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.endswith("bench: interrupted after 1 of 3 runs\n")
    assert [record.run["seed"] for record in read_records(tmp_path / "results")] == [1]


@pytest.mark.parametrize("path", ["nowhere", "empty", "file"])
def test_show_refuses_what_is_no_result(bench: Bench, path: str) -> None:
    Path("empty").mkdir()
    Path("file").write_text("")
    done = bench("show", path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert repr(path) in done.err


def test_list_names_each_with_one_line_and_its_parameters(bench: Bench) -> None:
    assert bench("list", "strategies").out == (
        "careful: Marks every page.\n"
        "    touched  bytes touched per buffer [default 1B; 1B to 64B]\n"
        "    atomic   touch in one instruction [default false; true | false]\n"
        "    mode     when pages are unmapped [default strict; strict | deferred]\n"
        "\n"
        "careless: Marks nothing.\n"
    )


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("workloads", "length of a frame [default 64B; 64B to 9018B]"),
        ("settings", "memory         the guest's memory [default 1GiB; 64MiB to 4TiB, a multiple of 4KiB]"),
        ("profiles", "xeon-82599: "),
    ],
)
def test_list_knows_everything_that_can_be_chosen(bench: Bench, what: str, words: str) -> None:
    assert words in bench("list", what).out


def test_every_option_of_run_has_help_with_its_default() -> None:
    for option in cli.run.params:
        assert isinstance(option, click.Option)
        assert option.help, option.name
        flag = option.is_flag or option.multiple
        assert flag or option.show_default or "[default: " in option.help, option.name


@pytest.mark.parametrize("words", [[], ["--help"], ["run", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    code = f"import sys, cli; cli.main({words!r}); print('loaded', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.startswith("Usage: bench")
    loaded = done.stdout.partition("\nloaded ")[2].split()
    assert not {"numba", "numpy", "pandas", "pyarrow", "rich", "importlib.metadata", "strategies"} & set(
        loaded
    )
