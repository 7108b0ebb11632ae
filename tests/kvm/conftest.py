"""A VM for a test, or the reason why there is none here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfbench.errors import UserError
from vfbench.kernels import COMPILED
from vfbench.testbeds.kvm.device import KvmDevice
from vfbench.testbeds.kvm.vm import VirtualMachine

MEMORY_BYTES = 16 << 20


@pytest.fixture
def kvm() -> None:
    """Skips where there is no usable /dev/kvm, or no compiler to make guest code with."""
    try:
        with KvmDevice():
            pass
    except UserError as error:
        pytest.skip(str(error))
    if not COMPILED:
        pytest.skip("NUMBA_DISABLE_JIT is set: no guest code can be compiled")


@pytest.fixture
def vm(kvm: None) -> Iterator[VirtualMachine]:
    with VirtualMachine(MEMORY_BYTES) as machine:
        yield machine


@pytest.fixture
def kvm_host(kvm: None) -> None:
    """For tests that make their own VMs; `kvm` is also the testbed's name."""
