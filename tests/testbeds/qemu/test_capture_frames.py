"""A capture's frames as they are, sent to the guest: only addresses change, and every byte is known there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfbench.testbeds.qemu.agent.payload import checksum, fingerprint, udp_frame
from vfbench.testbeds.qemu.device.capture import (
    GUEST_IP,
    GUEST_MAC,
    PEER_IP,
    PEER_MAC,
    Contents,
    addressed,
    write_captured,
)
from vfbench.testbeds.qemu.device.records import DEVICE

OTHERS = (bytes((192, 0, 2, 7)), bytes((198, 51, 100, 9)))


def tcp_checksum(frame):
    ip = frame[14:]
    segment = ip[20 : int.from_bytes(ip[2:4], "big")]
    pseudo = ip[12:20] + b"\0\x06" + len(segment).to_bytes(2, "big")
    return checksum(pseudo + segment + b"\0" * (len(segment) % 2))


def tcp_frame(body):
    ip = bytearray(udp_frame(b"\1" * 6, b"\2" * 6, b"", 9, addresses=OTHERS)[14:34])
    ip[9], ip[2:4], ip[10:12] = 6, (40 + len(body)).to_bytes(2, "big"), b"\0\0"
    ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
    segment = bytearray(20) + body
    segment[12] = 5 << 4
    frame = bytes(12) + b"\x08\x00" + bytes(ip) + bytes(segment)
    segment[16:18] = tcp_checksum(frame).to_bytes(2, "big")
    return bytes(12) + b"\x08\x00" + bytes(ip) + bytes(segment)


@given(st.binary(max_size=60))
def test_checksums_of_ip_and_tcp_fit_the_new_addresses(body):
    found = addressed(tcp_frame(body))
    assert found[:12] == GUEST_MAC + PEER_MAC
    assert found[26:34] == PEER_IP + GUEST_IP
    assert checksum(found[14:34]) == 0
    assert tcp_checksum(found) == 0


def test_what_is_no_ip_keeps_every_byte_behind_its_addresses():
    frame = bytes(12) + b"\x88\xcc" + bytes(range(46))
    assert addressed(frame)[12:] == frame[12:]


def test_a_udp_packet_without_checksum_stays_without():
    assert addressed(udp_frame(b"\1" * 6, b"\2" * 6, b"text", 9))[40:42] == b"\0\0"


@pytest.mark.parametrize("length", [60, 61, 67, 128, 1514])
def test_the_hash_is_the_one_that_the_guests_program_takes(length):
    frame = bytes(np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8))
    contents = Contents([frame])
    assert contents.hashes.view(np.uint64)[0] == int(fingerprint(addressed(frame)[12:]), 16)


def test_a_replay_repeats_its_frames_and_each_says_which_it_is():
    frames = [bytes([number]) * (60 + number) for number in range(3)]
    device = np.zeros(1, dtype=DEVICE).view(np.recarray)[0]
    contents = Contents(frames)
    contents.give_to(device)
    memory = np.zeros(256, dtype=np.uint8)
    write_captured(device, memory.ctypes.data, 300_001)
    wanted = addressed(frames[300_001 % 3])
    assert bytes(memory[6:12]) == b"\2" + (300_001).to_bytes(5, "big")
    assert bytes(memory[12 : len(wanted)]) == wanted[12:]
    assert bytes(memory[len(wanted) :]) == bytes(256 - len(wanted))
