"""Fetching a guest's parts: what apt is asked, what is left out, and what a fetch that breaks off leaves behind."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from vfbench.errors import UserError
from vfbench.testbeds.qemu.parts import apt, fetch, prefix
from vfbench.testbeds.qemu.parts.apt import PrivateApt
from vfbench.testbeds.qemu.parts.unpack import unpack

APT_GET = """#!/bin/sh
here=$(dirname "$0")
archives=$(echo "$@" | sed -n 's/.*Dir::Cache::archives=\\([^ ]*\\).*/\\1/p')
archives=${archives:-$(dirname "$APT_CONFIG")/cache/archives}
had="$archives/qemu_1_amd64.deb"
echo "$*" >> "$here/asked"
case "$*" in
*indextargets*) echo "http://mirror.example/debian/ bookworm main"; echo "http://other.example/x stable contrib";;
*--print-uris*install*) test -e "$had" || echo "'http://x/qemu_1_amd64.deb' qemu_1_amd64.deb 2000000 h";;
*--print-uris*download*) echo "'http://x/tcc_1%3a2_amd64.deb' tcc_1%3a2_amd64.deb 1000000 h";;
*update*) test ! -e "$here/offline" || { echo "E: Failed to fetch http://x  Could not connect" >&2; exit 100; };;
*install*) : > "$(dirname "$APT_CONFIG")/cache/archives/qemu_1_amd64.deb";;
*download*) : > tcc_1%3a2_amd64.deb;;
esac
"""
APT_CACHE = """#!/bin/sh
case "$*" in
"madison linux-image-amd64") echo "linux-image-amd64 | 7.3.4-1 | http://x"; echo "linux-image-amd64 | 6.12.117-1 | http://x";;
"show linux-image-amd64=7.3.4-1") echo "Depends: linux-base-amd64 (= 7), linux-image-7.3.4+deb13-amd64 (= 7)";;
"show linux-image-amd64=6.12.117-1") echo "Depends: linux-image-6.12.117+deb13-amd64 (= 6)";;
"show linux-image-7.3.4+deb13-amd64")
  echo "Depends: dracut | initramfs-tools, linux-binary-7.3.4+deb13-amd64 (= 7), linux-modules-7.3.4+deb13-amd64";;
"show linux-image-6.12.117+deb13-amd64") echo "Depends: kmod, initramfs-tools | linux-initramfs-tool";;
esac
"""
APT_CONFIG = """#!/bin/sh
echo 'APT::Sandbox::User "_apt";'
echo 'Acquire::http::Proxy "http://proxy.example:3128";'
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Debian's tools, made up; what apt-get was asked is in the file ``asked``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "apt-get": APT_GET,
        "apt-cache": APT_CACHE,
        "apt-config": APT_CONFIG,
        "dpkg-deb": "#!/bin/sh\ncat $2\n",
    }
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setattr(apt, "SYSTEM_PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def a_package(path: Path, **files: str) -> Path:
    """What dpkg-deb makes of a package: a tar archive."""
    with tarfile.open(path, "w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"./usr/{name.replace('__', '/')}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_nothing_of_the_machines_is_used_but_its_mirror_and_how_it_is_reached(
    tools: Path, tmp_path: Path
) -> None:
    private = PrivateApt(tmp_path / "own", ("trixie", "trixie-backports"))
    configuration = (private.folder / "apt.conf").read_text()
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in configuration
    assert f'Dir::State::status "{private.folder}/status";' in configuration
    assert "_apt" not in configuration
    assert (private.folder / "status").read_bytes() == b""
    lines = (private.folder / "sources.list").read_text().splitlines()
    assert [line.split("] ")[-1].removeprefix("deb ") for line in lines] == [
        "http://mirror.example/debian/ trixie main",
        "http://mirror.example/debian/ trixie-backports main",
    ]


def test_a_machine_without_a_debian_archive_is_told_what_would_do(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "SUITES", ("noble",))
    with pytest.raises(UserError, match=r"no archive of a Debian release.*--set qemu\.binary=FILE"):
        PrivateApt(tmp_path / "own", ("trixie",))


def test_a_machine_without_apt_is_told_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"needs Debian's apt-get, .*--set qemu\.kernel=FILE"):
        PrivateApt(tmp_path / "own", ("trixie",))


def test_an_archive_that_cannot_be_reached_is_an_error_in_apts_words(tools: Path, tmp_path: Path) -> None:
    (tools / "offline").touch()
    with pytest.raises(UserError, match="Could not connect"):
        PrivateApt(tmp_path / "own", ("trixie",)).update()


def test_both_kernels_come_with_what_belongs_to_them_and_nothing_else(tools: Path, tmp_path: Path) -> None:
    assert fetch._kernel_packages(PrivateApt(tmp_path / "own", ("trixie",))) == [
        "linux-image-7.3.4+deb13-amd64",
        "linux-binary-7.3.4+deb13-amd64",
        "linux-modules-7.3.4+deb13-amd64",
        "linux-image-6.12.117+deb13-amd64",
    ]


def test_what_an_earlier_try_downloaded_is_still_unpacked(tools: Path, tmp_path: Path) -> None:
    """apt lists only what it has yet to download."""
    said: list[str] = []
    first = fetch._download(tmp_path / "own", said.append)
    assert fetch._download(tmp_path / "own", said.append) == first
    assert [path.name for path in first] == ["qemu_1_amd64.deb", "tcc_1%3a2_amd64.deb"]
    assert said[1].startswith("downloading 2 packages, 3 MB: QEMU, busybox, tcc, musl-dev, linux-image-7.3.4")


def test_a_fetch_that_fails_leaves_the_earlier_set_and_its_downloads(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "linux-guest"
    root.mkdir()
    (root / prefix.MANIFEST).write_text(
        json.dumps({"layout": prefix.LAYOUT, "qemu": "11.1.0", "kernels": ["6.12.1"]})
    )
    monkeypatch.setattr(fetch, "unpack", lambda _packages, folder: folder.mkdir())
    with pytest.raises(UserError, match="QEMU does not start"):
        fetch.fetch(lambda _line: None, root, anew=True)
    assert prefix.manifest(root) is not None
    assert (tmp_path / "linux-guest.downloads/cache/archives/qemu_1_amd64.deb").exists()


def test_a_complete_set_is_not_fetched_again(tools: Path, tmp_path: Path) -> None:
    contents = {"layout": prefix.LAYOUT, "qemu": "11.1.0", "kernels": ["7.3.4", "6.12.1"]}
    (tmp_path / prefix.MANIFEST).write_text(json.dumps(contents))
    said: list[str] = []
    fetch.fetch(said.append, tmp_path)
    assert said == [
        f"already there: QEMU 11.1.0, Linux 7.3.4 and 6.12.1, in {tmp_path} (--anew fetches the newest)"
    ]
    assert not (tools / "asked").exists()


def test_a_new_set_takes_the_place_of_one_of_an_earlier_layout(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "linux-guest"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/old").touch()
    monkeypatch.setattr(fetch, "unpack", lambda _packages, folder: (folder / "new").mkdir(parents=True))
    contents = {"layout": prefix.LAYOUT, "qemu": "11.1.0", "kernels": ["7.3.4"]}
    monkeypatch.setattr(fetch, "_tried", lambda _root, _packages: contents)
    fetch.fetch(lambda _line: None, root)
    assert sorted(path.name for path in root.iterdir()) == [prefix.MANIFEST, "new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "linux-guest", "linux-guest.lock"]


def test_packages_are_unpacked_without_what_no_guest_needs(tools: Path, tmp_path: Path) -> None:
    package = a_package(tmp_path / "x.deb", bin__qemu="program", share__doc__readme="text")
    unpack([package], tmp_path / "root")
    assert (tmp_path / "root/usr/bin/qemu").read_text() == "program"
    assert not (tmp_path / "root/usr/share").exists()


def test_a_package_that_is_damaged_is_named(tools: Path, tmp_path: Path) -> None:
    package = a_package(tmp_path / "x_1_amd64.deb", bin__qemu="program" * 1000)
    package.write_bytes(package.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"x_1_amd64\.deb can't be unpacked.*fetch again"):
        unpack([package], tmp_path / "root")
