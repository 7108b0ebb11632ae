"""A VM for a test, or the reason why there is none here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.runs import why_no_kvm

from vfbench.testbeds.kvm.sys.vm import VirtualMachine

MEMORY_BYTES = 16 << 20


@pytest.fixture
def kvm() -> None:
    """Skips where there is no usable /dev/kvm, or no compiler to make guest code with."""
    if why_no_kvm():
        pytest.skip(why_no_kvm())


@pytest.fixture
def vm(kvm: None) -> Iterator[VirtualMachine]:
    with VirtualMachine(MEMORY_BYTES) as machine:
        yield machine


@pytest.fixture
def kvm_host(kvm: None) -> None:
    """For tests that make their own VMs; `kvm` is also the testbed's name."""
