"""The suite's workloads, a file each."""

from __future__ import annotations

from vfbench.workload import Workload
from workloads.bulk import Bulk
from workloads.bursty import Bursty
from workloads.imix import ImixSimple
from workloads.key_value import KeyValue
from workloads.pcap import Pcap
from workloads.request_response import RequestResponse
from workloads.small_packets import SmallPackets
from workloads.tcp_stream import TcpStream

ALL_WORKLOADS: tuple[type[Workload], ...] = (
    SmallPackets,
    Bulk,
    ImixSimple,
    RequestResponse,
    Bursty,
    KeyValue,
    Pcap,
    TcpStream,
)
