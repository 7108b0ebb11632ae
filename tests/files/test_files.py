"""What is written is there in full or not at all; what is replaced is the old or the new; the rest is nobody's."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from support.crash_points import crashes

from vfbench import files
from vfbench.files import check_only, make_new_folder, remove_leftovers, write_file, write_folder

OLD, NEW = {"a": b"old a", "b": b"old b"}, {"a": b"new a" * 1000, "c": b"new c"}
NAMES = ("a", "b", "c")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["exchange", "no exchange"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system that has renameat2's flags, and one that has not."""
    if request.param == "no exchange":

        def cannot(source: Path, target: Path, flags: int) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

        monkeypatch.setattr(files, "renameat2", cannot)
    return str(request.param)


def test_a_new_folder_is_there_in_full_or_not_at_all_wherever_its_writer_dies(
    tmp_path: Path, system: str
) -> None:
    place = tmp_path / "set" / "run"
    seen = []
    for _ in crashes(lambda: write_folder(place, NEW), lambda: remove_leftovers(place.parent, NAMES)):
        found = contents(place) if place.exists() else {}
        # An empty folder is nothing: no reader takes it for a result.
        assert found in ({}, NEW)
        seen.append(found)
        if found:
            break
    assert len(seen) > 10


def test_a_replaced_folder_is_the_old_or_the_new_wherever_its_writer_dies(
    tmp_path: Path, system: str
) -> None:
    place = tmp_path / "run"

    def prepare() -> None:
        remove_leftovers(tmp_path, NAMES)
        if place.exists():
            files.remove_folder(place, NAMES)
        write_folder(place, OLD)

    seen = []
    for _ in crashes(lambda: write_folder(place, NEW, replaces=NAMES), prepare):
        if system == "no exchange":
            remove_leftovers(tmp_path, NAMES)
        assert contents(place) in (OLD, NEW)
        seen.append(contents(place) == NEW)
    assert seen == sorted(seen)
    assert len(seen) > 15
    remove_leftovers(tmp_path, NAMES)
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_is_the_old_or_the_new_wherever_its_writer_dies(
    tmp_path: Path, system: str, replace: bool
) -> None:
    place = tmp_path / "page"

    def prepare() -> None:
        remove_leftovers(tmp_path)
        place.unlink(missing_ok=True)
        if replace:
            place.write_bytes(b"old")

    seen = [
        place.read_bytes() if place.exists() else b""
        for _ in crashes(lambda: write_file(place, "new" * 1000, replace=replace), prepare)
    ]
    assert set(seen) == {b"old" if replace else b"", b"new" * 1000}
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["page"]


def name_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


class Journal:
    """What is synced and what is not, in the order of events: what could be lost when the power goes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.unsynced: set[str] = set()
        self.shown_unsynced: list[str] = []
        write, fsync, rename2 = os.write, os.fsync, files.renameat2

        def note_write(descriptor: int, content: Any) -> int:
            self.unsynced.add(name_of(descriptor))
            return write(descriptor, content)

        def note_sync(descriptor: int) -> None:
            fsync(descriptor)
            self.unsynced.discard(name_of(descriptor))

        def note_rename(source: Path, target: Path, flags: int) -> None:
            inside = [name for name in self.unsynced if name.startswith(str(source))]
            self.shown_unsynced += inside
            rename2(source, target, flags)
            self.unsynced.add(str(target.parent))

        monkeypatch.setattr(os, "write", note_write)
        monkeypatch.setattr(os, "fsync", note_sync)
        monkeypatch.setattr(files, "renameat2", note_rename)


def test_nothing_is_shown_before_it_is_on_disk_and_nothing_is_reported_before_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(monkeypatch)
    write_folder(tmp_path / "run", OLD)
    write_folder(tmp_path / "run", NEW, replaces=NAMES)
    write_file(tmp_path / "page", "text", replace=False)
    assert journal.shown_unsynced == []
    assert journal.unsynced == set()


def test_a_folder_with_anything_else_in_it_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "run"
    write_folder(place, OLD)
    (place / ".git").mkdir()
    with pytest.raises(FileExistsError, match=r"it holds '\.git', which is not of ours"):
        write_folder(place, NEW, replaces=NAMES)
    assert (place / "a").read_bytes() == OLD["a"]
    assert names(tmp_path) == ["run"]


def test_what_comes_into_a_folder_while_it_is_replaced_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "run"
    write_folder(place, OLD)
    exchange = files._exchange_folders

    def late(source: Path, target: Path) -> None:
        (target / "notes").write_text("precious")
        exchange(source, target)

    monkeypatch.setattr(files, "_exchange_folders", late)
    write_folder(place, NEW, replaces=NAMES)
    assert contents(place) == NEW
    remove_leftovers(tmp_path, NAMES)
    (kept,) = tmp_path.rglob("notes")
    assert kept.read_text() == "precious"


@pytest.mark.parametrize("what", ["link to a folder", "file", "linked file inside"])
def test_links_are_neither_followed_nor_replaced(tmp_path: Path, what: str) -> None:
    place, other = tmp_path / "run", tmp_path / "other"
    write_folder(other, OLD)
    if what == "link to a folder":
        place.symlink_to(other)
    elif what == "file":
        place.write_text("precious")
    else:
        place.mkdir()
        (place / "a").symlink_to(other / "a")
    with pytest.raises(FileExistsError):
        write_folder(place, NEW, replaces=NAMES)
    assert contents(other) == OLD
    assert len(names(tmp_path)) == 2


def test_a_link_where_a_file_goes_is_not_written_through(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("precious")
    link.symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_file(link, "new", replace=False)
    write_file(link, "new", replace=True)
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("precious", "new", False)


def test_a_hidden_name_that_is_taken_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".vfbench-0123456789abcdef").symlink_to(victim)
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0123456789abcdef")
    for write in (
        lambda: write_file(tmp_path / "new", "", replace=True),
        lambda: write_folder(tmp_path / "new", NEW),
    ):
        with pytest.raises(FileExistsError):
            write()
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new").exists()


def test_two_who_make_the_same_folder_get_one_each(tmp_path: Path) -> None:
    make_new_folder(tmp_path / "set")
    with pytest.raises(FileExistsError):
        make_new_folder(tmp_path / "set")


def test_a_file_keeps_its_mode_and_a_new_one_goes_by_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "new", "", replace=False)
        write_folder(tmp_path / "folder", {"a": b""})
    finally:
        os.umask(before)
    (tmp_path / "new").chmod(0o604)
    write_file(tmp_path / "new", "", replace=True)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "folder", "folder/a")]
    assert modes == [0o604, 0o750, 0o640]


def hidden(parent: Path, number: int) -> Path:
    return parent / f".vfbench-{number:016x}"


def test_leftovers_go_and_whatever_else_is_hidden_stays(tmp_path: Path) -> None:
    hidden(tmp_path, 1).write_text("half a fi")
    hidden(tmp_path, 2).mkdir()
    (hidden(tmp_path, 2) / "a").write_text("half a fi")
    kept = [".git", ".vfbench", ".vfbench-mine", ".run.1234"]
    for name in kept:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("precious")
    hidden(tmp_path, 3).mkdir()
    (hidden(tmp_path, 3) / "letters").write_text("precious")
    hidden(tmp_path, 4).symlink_to(tmp_path / ".git")
    remove_leftovers(tmp_path, NAMES)
    assert names(tmp_path) == sorted([*kept, hidden(tmp_path, 3).name, hidden(tmp_path, 4).name])


def test_what_a_living_writer_holds_is_no_leftover(tmp_path: Path) -> None:
    hidden(tmp_path, 1).write_text("half a fi")
    with hidden(tmp_path, 1).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        remove_leftovers(tmp_path)
        assert hidden(tmp_path, 1).exists()
    remove_leftovers(tmp_path)
    assert not hidden(tmp_path, 1).exists()


def test_check_only_names_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    check_only(tmp_path, NAMES)
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError, match="it holds 'b'"):
        check_only(tmp_path, NAMES)


def test_a_folder_is_put_in_anothers_place_which_is_then_in_its_own(tmp_path: Path, system: str) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for place in (new, old):
        place.mkdir()
        (place / "name").write_text(place.name)
    files.put_folder(new, old)
    assert ((old / "name").read_text(), (new / "name").read_text()) == ("new", "old")
    files.put_folder(old, tmp_path / "third")
    assert (tmp_path / "third" / "name").read_text() == "new"
    assert not old.exists()
