"""How kernels are compiled, what their cache is named by, and what an interrupt does."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vfbench import errors, stopping, units
from vfbench.kernels import COMPILED, address_of, cache, call_hook, content_key, kernel
from vfbench.kernels.interrupts import interrupts_kept, raise_if_interrupted
from vfbench.machine import costs
from vfbench.testbeds.model.engine import advance

needs_compiler = pytest.mark.skipif(not COMPILED, reason="the compiler is off")
ROOT = Path(__file__).resolve().parents[2]


def load(path, text):
    """The module that ``text`` is, from a file."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A function that writes a plugin of two files, the second drawn in by the first, and gives its hook."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(beside="STEP = 1\n", hook="return step(STEP)", comment=""):
        load(tmp_path / "beside_a_plugin.py", f"def step(x):\n    return x + 1\n\n{beside}")
        text = f"{comment}\nfrom beside_a_plugin import STEP, step as plain\n"
        text += "from vfbench.kernels import kernel\nstep = kernel(plain)\n"
        return load(tmp_path / "a_plugin.py", f"{text}\n@kernel\ndef hook(cpu, a, b):\n    {hook}\n").hook

    yield write
    for name in ("a_plugin", "beside_a_plugin"):
        sys.modules.pop(name, None)


@needs_compiler
def test_a_kernels_key_follows_what_it_draws_in_from_the_file_beside_it(drawn):
    first = content_key(drawn())
    assert content_key(drawn(beside="STEP = 2\n")) != first
    assert content_key(drawn()) == first


@needs_compiler
def test_a_comment_or_a_name_that_no_kernel_reads_leaves_the_key_as_it_was(drawn):
    first = content_key(drawn())
    assert content_key(drawn(beside="STEP = 1\nUNREAD = 3\n", comment="# said otherwise")) == first


def test_a_kernel_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(advance)) is advance


@needs_compiler
def test_two_constants_that_change_places_change_the_key():
    one, two = 1, 2

    def of(first, second):
        def function(x):
            return x * first + second

        return content_key(kernel(function))

    assert of(one, two) != of(two, one)


@needs_compiler
def test_the_machines_key_holds_its_prices_indices_and_no_text_for_users(monkeypatch):
    before = content_key(advance)
    monkeypatch.setattr(units, "format_quantity", lambda *_: "")
    monkeypatch.setattr(errors, "NEW", 1, raising=False)
    assert content_key(advance) == before
    poll = importlib.import_module("vfbench.machine.driver.poll")
    monkeypatch.setattr(poll, "POLL_START", costs.RX_PACKET)
    assert content_key(advance) != before


def test_importing_the_suite_writes_nothing_to_the_cache(tmp_path):
    run("import cli, strategies, workloads; strategies.ALL_STRATEGIES", NUMBA_CACHE_DIR=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


COMPILE = """
import numpy as np
from vfbench.kernels import kernel
@kernel
def double(x):
    return 2 * x
print(double(21))
"""


def run(code, **environment):
    """Standard output and standard error of ``code`` in a process of its own."""
    path = os.pathsep.join([str(ROOT), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-B", "-c", code],
        env={**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in environment.items()}},
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout, ended.stderr


@needs_compiler
def test_a_cache_that_cannot_be_written_is_said_and_another_one_used(tmp_path):
    (tmp_path / "file").write_text("")
    where = {"NUMBA_CACHE_DIR": tmp_path / "file" / "cache", "TMPDIR": tmp_path}
    first, second = run(COMPILE, **where), run(COMPILE, **where)
    private = tmp_path / f"vfbench-kernels-{os.geteuid()}"
    assert first[0] == second[0] == "42\n"
    assert first[1] == f"the kernel cache is in {private}, for {tmp_path}/file/cache: Not a directory\n"
    assert second[1] == ""
    assert private.stat().st_mode & 0o777 == 0o700


@needs_compiler
def test_a_folder_in_the_temporary_one_that_others_may_write_is_not_used(tmp_path):
    (tmp_path / "file").write_text("")
    private = tmp_path / f"vfbench-kernels-{os.geteuid()}"
    private.mkdir()
    private.chmod(0o777)
    said = run(COMPILE, NUMBA_CACHE_DIR=tmp_path / "file" / "cache", TMPDIR=tmp_path)
    assert said[0] == "42\n"
    assert said[1].startswith("compiled kernels are not kept: ")
    assert "another's or open to others" in said[1]
    assert said[1].count("\n") == 1
    assert not list(private.iterdir())


def test_without_a_home_no_folder_is_made_where_one_stands(monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(cache, "user_cache_path", lambda _: Path("~/.cache/vfbench"))
    assert all(folder.is_absolute() for folder in cache.cache_folders())


@needs_compiler
def test_of_each_kernel_a_few_versions_are_kept(tmp_path, monkeypatch):
    for age in range(12):
        path = tmp_path / f"module.name.entry.{age:016x}.nbi"
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(cache, "_delete_unused", lambda folder: None)
    cache._delete_old(tmp_path, f"module.name.entry.{0:016x}")
    left = sorted(path.name[18:34] for path in tmp_path.iterdir())
    assert left == [f"{age:016x}" for age in range(cache.KEPT_VERSIONS)]


def interrupted(then):
    """A compilation that is interrupted, and then goes on like this."""
    with interrupts_kept():
        signal.raise_signal(signal.SIGINT)
        then()


def test_an_interrupt_during_a_compilation_is_raised_where_nothing_drops_it():
    reached = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(lambda: (reached.append("on"), raise_if_interrupted(), reached.append("never")))
    assert reached == ["on"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_that_stops_the_process_is_kept_and_then_stops_it(number):
    reached = []

    def compile_and_be_stopped():
        with interrupts_kept():
            signal.raise_signal(number)
            reached.append("on")

    with stopping.handled(to_the_end=False):
        with pytest.raises(stopping.Stopped):
            compile_and_be_stopped()
        assert stopping.exit_code() == 128 + number
    assert reached == ["on"]


def test_a_compilation_that_fails_for_an_interrupt_is_interrupted():
    with pytest.raises(KeyboardInterrupt):
        interrupted(lambda: 1 // 0)


def test_what_a_hook_raises_reaches_who_called_the_machine():
    @kernel
    def hook(x):
        if x > 1:
            raise ValueError("too much")
        return x

    @kernel
    def machine(address, x):
        return call_hook(address, x) + 1

    address = address_of(hook, 0)
    assert machine(np.int64(address), 1) == 2
    with pytest.raises(ValueError, match="too much"):
        machine(np.int64(address), 2)
