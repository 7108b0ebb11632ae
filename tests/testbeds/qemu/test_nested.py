"""The kernel's own vfio-pci, which has no variant driver for igb's VF: QEMU refuses to migrate, and failover works."""

from __future__ import annotations

import os

import pytest
from support.nested_guests import VF, InnerQemu, give_vf_to_vfio, nested_setup
from support.real_guests import booted, real_parts

from vfbench.testbeds.qemu.boot.folder import run_folder
from vfbench.testbeds.qemu.boot.guest import Guest
from vfbench.testbeds.qemu.parts import prefix

WANTED = "VFBENCH_NESTED"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(WANTED not in os.environ, reason=f"a guest in a guest takes minutes: set {WANTED}=1"),
]
STREAM = "unix:/run/stream"


def test_with_its_vf_a_guest_is_not_migrated_and_without_it_is() -> None:
    found = real_parts()
    if prefix.manifest(prefix.PREFIX) is None:
        pytest.skip("QEMU goes into the guest with its libraries: `make linux-guest` fetches both")
    with run_folder() as folder, Guest(nested_setup(found, folder)) as outer:
        give_vf_to_vfio(booted(outer))
        source = InnerQemu(outer, "source", f"-device vfio-pci,host={VF},id=vf")
        source.wait_until_booted()
        refused = source("migrate", uri=STREAM)
        assert refused.startswith(f"{VF}: VFIO migration init failed: migration is not supported in kernel")

        source("device_del", id="vf")
        source.wait(lambda: source.events("DEVICE_DELETED") != [], 60.0, "unplug")
        target = InnerQemu(outer, "target", "-incoming defer")
        assert target("migrate-incoming", uri=STREAM) == {}
        assert source("migrate", uri=STREAM) == {}
        ended = ("completed", "failed")
        source.wait(lambda: source("query-migrate")["status"] in ended, 120.0, "migration")
        assert source("query-migrate")["status"] == "completed"
        assert target("device_add", driver="vfio-pci", host=VF, id="vf") == {}
        assert [
            each["qdev_id"] for bus in target("query-pci") for each in bus["devices"] if each["qdev_id"]
        ] == ["vf"]
