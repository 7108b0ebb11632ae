"""The program that runs in the guest, compiled from its C source when it is first wanted, and kept by its content."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from platformdirs import user_cache_path

from vfbench.errors import UserError
from vfbench.files import make_folders, remove_leftovers, write_file
from vfbench.testbeds.qemu.parts.described import Compiler

SOURCES = "vfbench.testbeds.qemu.agent"
ELF = b"\x7fELF"
COMPILE_S = 60.0


def compiled(compiler: Compiler | None, source: str = "agent.c") -> bytes:
    """A static program of the C file of that name and the headers beside it; UserError where it can't be made."""
    folder = files(SOURCES)
    texts = {
        each.name: each.read_bytes()
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
        if each.name.endswith((".c", ".h"))
    }
    if compiler is None:
        raise UserError("there is no C compiler for the guest's program; `make linux-guest` fetches one")
    mark = hashlib.sha256(repr((source, texts, compiler)).encode()).hexdigest()[:16]
    kept = user_cache_path("vfbench") / "guest-programs" / mark
    if kept.is_file() and (content := kept.read_bytes()).startswith(ELF):
        return content
    content = _compile(compiler, source, texts)
    _keep(kept, content)
    return content


def _compile(compiler: Compiler, source: str, texts: dict[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="vfbench-") as name:
        folder = Path(name)
        for each, text in texts.items():
            (folder / each).write_bytes(text)
        made = folder / "program"
        command = [*compiler.command, str(folder / source), *compiler.last, "-o", str(made)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"the C compiler does not run: {error}") from None
        if done.returncode != 0 or not made.is_file():
            said = (done.stderr.strip().splitlines() or ["no reason given"])[0]
            raise UserError(f"{compiler.command[-1]} makes no static program: {said}")
        return made.read_bytes()


def _keep(kept: Path, content: bytes) -> None:
    """For the next guest; where nothing can be kept, it is made again."""
    with suppress(OSError):
        make_folders(kept.parent)
        remove_leftovers(kept.parent)
        write_file(kept, content, replace=True)
