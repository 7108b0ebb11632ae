"""`-o` never takes what is not ours: it asks before it replaces, writes through what is no file, and says so first."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from support.made_up import experiment, outcome, write

import cli
from vfbench.commands.output import Output
from vfbench.errors import UserError

COMMANDS = {
    "page": ("report", "set", "--format", "md", "-o"),
    "pack": ("pack", "set", "-o"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(Path("set"), experiment(), outcome(1.0))
    return tmp_path


def put(path: Path, text: str = "new", *, force: bool = False) -> None:
    with Output(path, force=force) as place:
        place.write(text)


@pytest.mark.parametrize("command", COMMANDS)
def test_earlier_output_is_replaced_only_if_that_is_asked_for(
    here: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    words = [*COMMANDS[command], "out"]
    assert cli.main(words) == 0
    first = (here / "out").stat().st_ino
    assert cli.main(words) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert (here / "out").stat().st_ino == first
    assert cli.main([*words, "--force"]) == 0
    assert (here / "out").stat().st_ino != first
    assert sorted(path.name for path in here.iterdir()) == ["out", "set"]


def test_a_pack_leaves_a_folder_alone_in_which_there_is_something_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["pack", "set", "-o", "out"]) == 0
    (here / "out" / ".git").mkdir()
    assert cli.main(["pack", "set", "-o", "out", "--force"]) == 2
    assert "it holds '.git'" in capsys.readouterr().err
    assert (here / "out" / "packed.json").exists()


def test_a_link_is_written_through_and_what_it_names_is_replaced_only_if_asked_for(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link, page = tmp_path / "link", tmp_path / "elsewhere" / "page"
    link.symlink_to("elsewhere/page")
    put(link)
    assert (link.is_symlink(), page.read_text()) == (True, "new")
    with pytest.raises(UserError, match="link' exists: --force replaces it"):
        put(link, "newer")
    put(link, "newer", force=True)
    assert (link.is_symlink(), page.read_text()) == (True, "newer")


@pytest.mark.parametrize("force", [False, True])
def test_a_device_is_written_through_and_stays_one(tmp_path: Path, force: bool) -> None:
    link = tmp_path / "link"
    link.symlink_to(os.devnull)
    for place in (Path(os.devnull), link):
        put(place, force=force)
    assert Path(os.devnull).is_char_device()
    assert link.is_symlink()


@pytest.mark.parametrize("force", [False, True])
def test_a_fifo_is_written_through_and_stays_one(tmp_path: Path, force: bool) -> None:
    fifo, read = tmp_path / "fifo", []
    os.mkfifo(fifo)
    with pytest.raises(UserError, match="a FIFO that nobody reads"):
        put(fifo, force=force)
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    with os.fdopen(descriptor, "rb") as reader:
        thread = threading.Thread(target=lambda: read.append(reader.read()))
        with Output(fifo, force=force) as place:
            thread.start()
            place.write("long" * 100_000)
        thread.join()
    assert read == [b"long" * 100_000]
    assert fifo.is_fifo()


def test_standard_output_by_its_name_is_written_through_at_its_position(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("a") as file:
        put(Path(f"/proc/self/fd/{file.fileno()}"))
        put(Path(f"/dev/fd/{file.fileno()}"), "er\n")
    assert log.read_text() == "before\nnewer\n"


def refused_places(folder: Path) -> dict[str, Path]:
    (folder / "file").write_text("precious")
    (folder / "loop").symlink_to("loop")
    return {
        "it is a folder; name a file": folder,
        "there is no folder": folder / "missing" / "page",
        "--force replaces it": folder / "file",
        "Too many levels of symbolic links": folder / "loop",
        "null": folder / "nul\0l",
    }


def test_what_will_not_do_is_refused_before_the_work(tmp_path: Path) -> None:
    for words, place in refused_places(tmp_path).items():
        with pytest.raises(UserError, match=words):
            Output(place, force=False)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_another_users_link_in_a_folder_for_anybody_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "for-anybody").mkdir()
    (tmp_path / "for-anybody").chmod(0o1777)
    victim, link = tmp_path / "victim", tmp_path / "for-anybody" / "page"
    link.symlink_to(victim)
    os.chown(link, 12345, -1, follow_symlinks=False)
    with pytest.raises(UserError, match="another user's symbolic link"):
        Output(link, force=True)
    os.chown(link, os.geteuid(), -1, follow_symlinks=False)
    put(link)
    assert victim.read_text() == "new"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page"
    with Output(page, force=False) as place:
        page.write_text("precious")
        with pytest.raises(UserError, match="--force replaces it"):
            place.write("new")
    assert page.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["page"]
