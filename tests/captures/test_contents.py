"""What a capture's frames hold, whole and in the order in which they are replayed."""

import struct

import numpy as np

from vfbench.captures import read_capture
from vfbench.captures.contents import read_frames
from workloads.pcap import SHIPPED_CAPTURE, Pcap


def pcap(link_type, *records):
    text = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type)
    for microseconds, data, length in records:
        text += struct.pack("<IIII", 1, microseconds, len(data), length) + data
    return text


def test_frames_have_the_lengths_of_the_capture():
    capture = read_capture(SHIPPED_CAPTURE)
    assert [len(each) for each in read_frames(SHIPPED_CAPTURE)] == list(capture.length)


def test_frames_are_in_order_of_time_and_zeros_stand_for_what_was_not_captured(tmp_path):
    path = tmp_path / "two.pcap"
    path.write_bytes(pcap(1, (20, b"b" * 60, 60), (10, b"a" * 60, 70)))
    assert read_frames(path) == [b"a" * 60 + bytes(10), b"b" * 60]


def test_a_packet_of_another_link_gets_an_ethernet_header(tmp_path):
    path = tmp_path / "raw.pcap"
    path.write_bytes(pcap(101, (10, b"\x45" + bytes(39), 40)))
    assert read_frames(path) == [bytes(12) + b"\x08\x00\x45" + bytes(39)]


def test_the_workloads_frames_are_those_that_it_offers(tmp_path):
    workload = Pcap()
    capture = read_capture(SHIPPED_CAPTURE)
    lengths = np.maximum(capture.length[capture.received], 60)
    assert [len(each) for each in workload.frame_contents()] == list(lengths)


def test_a_long_frame_is_cut_as_its_lengths_are(tmp_path):
    path = tmp_path / "long.pcap"
    frame = bytes(range(250)) * 20
    path.write_bytes(pcap(1, (10, frame, len(frame)), (20, frame[:100], 100)))
    workload = Pcap(capture=str(path), direction="both", segment_bytes=1518)
    pieces = workload.frame_contents()
    assert [len(each) for each in pieces] == [1514, 1514, 1514, 620, 100]
    assert b"".join(each[54:] for each in pieces[:4]) == frame[54:]
