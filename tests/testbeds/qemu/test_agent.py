"""The program in the guest: every packet ends in its class, held or echoed, and native XDP writes to packets."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.real_guests import booted, real_parts

from vfbench.errors import UserError
from vfbench.testbeds.qemu.agent.payload import fingerprint, payload, udp_frame
from vfbench.testbeds.qemu.boot.folder import run_folder
from vfbench.testbeds.qemu.boot.guest import load_modules
from vfbench.testbeds.qemu.boot.initramfs import initramfs
from vfbench.testbeds.qemu.boot.setup import GuestSetup
from vfbench.testbeds.qemu.parts.compiled import compiled
from vfbench.validation.linux.guest import WiredGuest

GUEST, PEER = bytes.fromhex("020000000001"), bytes.fromhex("020000000099")
CARD = ("-device", "virtio-net-pci,netdev=wire,mac=02:00:00:00:00:01,disable-legacy=on,romfile=")
KERNELS = ("6.12", "newest")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guest's program, which is a static one and runs on the host as well."""
    path = tmp_path_factory.mktemp("agent") / "agent"
    try:
        path.write_bytes(compiled(real_parts().compiler))
    except UserError as missing:
        pytest.skip(str(missing))
    path.chmod(0o755)
    return path


def on_host(program: Path, folder: Path, *words: str) -> list[dict[str, Any]]:
    environment = {"AGENT_FOLDER": str(folder / "run")}
    done = subprocess.run(
        [str(program), *words], env=environment, capture_output=True, text=True, check=False, timeout=40
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def frame(sequence: int, port: int, body_bytes: int = 1000) -> bytes:
    return udp_frame(GUEST, PEER, payload(sequence, body_bytes), port)


def spoiled(text: bytes, at: int, by: bytes) -> bytes:
    return text[:at] + by + text[at + len(by) :]


CASES: dict[str, list[bytes]] = {
    "good": [payload(1, 1000), payload(2, 1000), payload(3, 2), payload(4, 0)],
    "zero": [bytes(1016), spoiled(payload(5, 1000), 520, bytes(496))],
    "older": [payload(1, 1000)],
    "mixture": [
        spoiled(payload(6, 1000), 100, b"\xff"),
        payload(7, 1000)[:16] + payload(1, 1000)[16:],
        spoiled(payload(8, 1000), 4, b"\1"),
    ],
    "foreign": [b"x" * 64],
    "short": [b"xyz"],
}


@pytest.mark.parametrize("what", ["hold", "echo"])
def test_every_packet_ends_in_its_class(program: Path, tmp_path: Path, what: str) -> None:
    port = 9170 if what == "hold" else 9171
    on_host(program, tmp_path, what, str(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        for packet in (packet for packets in CASES.values() for packet in packets):
            peer.sendto(packet, ("127.0.0.1", port))
        (seen,) = [each for each in on_host(program, tmp_path, "collect") if each.get("port") == port]
    assert {name: seen[name] for name in CASES} == {name: len(packets) for name, packets in CASES.items()}
    assert seen["packets"] == sum(map(len, CASES.values()))
    assert seen["stale"] == seen["zero"] + seen["older"] + seen["mixture"] + seen["foreign"]
    assert (seen["last_sequence"], int(seen["seen"], 16)) == (4, 0b11110)
    assert [5, 63, 62, 125] in seen["damaged"]


def test_an_echo_is_the_beginning_of_what_came(program: Path, tmp_path: Path) -> None:
    on_host(program, tmp_path, "echo", "9172")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        peer.sendto(payload(9, 1000), ("127.0.0.1", 9172))
        assert peer.recv(2000) == payload(9, 1000)[:64]
    on_host(program, tmp_path, "collect")


@pytest.mark.parametrize(("hold_us", "answered"), [(0, 1), (60_000_000, 0)])
def test_what_is_read_only_because_the_run_has_ended_is_not_answered(
    program: Path, tmp_path: Path, hold_us: int, answered: int
) -> None:
    on_host(program, tmp_path, "app", "9174", str(hold_us))
    wanting = spoiled(payload(11, 1000), 6, struct.pack("<H", 64))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        peer.sendto(wanting, ("127.0.0.1", 9174))
        if answered:
            assert peer.recv(2000)[8:16] == struct.pack("<Q", 11)
        (seen,) = [each for each in on_host(program, tmp_path, "collect") if each.get("port") == 9174]
    assert (seen["good"], seen["answered"]) == (1, answered)


def test_a_port_that_is_taken_is_an_error_in_words(program: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 9173))
        done = subprocess.run([program, "hold", "9173"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"].startswith("bind: Address")


def test_a_payload_has_words_of_its_own_to_the_last_byte() -> None:
    text = payload(3, 13)
    assert struct.unpack_from("<IIQ", text) == (0x31424656, 13, 3)
    assert text[16:24] == struct.pack("<Q", 3 * 0x9E3779B97F4A7C15 % 2**64)
    assert len(text) == 29
    assert payload(4, 13)[16:] != text[16:]


@pytest.fixture(scope="module", params=KERNELS)
def guest(request: pytest.FixtureRequest) -> Iterator[WiredGuest]:
    """A guest of each kernel on a wire, its virtio-net with native XDP that writes."""
    found = real_parts(request.param)
    with run_folder() as folder:
        archive = folder / "initramfs"
        archive.write_bytes(initramfs(found, ["virtio_net"], agent=True))
        with WiredGuest(GuestSetup(found, archive, folder / "guest", CARD)) as running:
            booted(running)
            load_modules(running, "virtio_net")
            running.ask(
                "ip link set eth0 up; ip addr add 10.0.0.1/24 dev eth0; arp -s 10.0.0.9 02:00:00:00:00:99"
            )
            yield running


@pytest.mark.slow
def test_a_real_guest_holds_packets_and_tells_them_apart(guest: WiredGuest) -> None:
    for mode in ("read", "write"):
        (attached,) = guest.console.ask_json(f"agent xdp eth0 {mode}")
        assert attached == {"agent": "xdp", "mode": mode}
        guest.ask("agent hold 9000; agent raw eth0; agent dirty 0x400000 2000")
        sent = [frame(sequence, 9000) for sequence in range(1, 41)]
        for each in (*sent, frame(7, 9000), spoiled(frame(50, 9000), 602, bytes(456))):
            guest.send(each)
            guest.wait_until_idle()
        seen = {each["agent"]: each for each in guest.console.ask_json("agent collect")}
        assert (seen["hold"]["good"], seen["hold"]["older"], seen["hold"]["zero"]) == (40, 1, 1)
        assert seen["raw"]["frames"][0] == [len(sent[0]), fingerprint(sent[0]), 0]
        assert seen["dirty"]["pages"] > 0
        assert seen["xdp"]["mode"] == mode


@pytest.mark.slow
def test_an_interface_that_is_not_there_takes_no_xdp_program(guest: WiredGuest) -> None:
    lines = guest.ask("agent xdp eth9 write || true")
    assert "the driver takes no native XDP program" in lines[0]
