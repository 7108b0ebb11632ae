"""The guest that a real QEMU migrates, and what the model says of it."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest
from support.real_guests import real_parts

from vfbench.errors import UserError
from vfbench.validation.qemu.account import Account, Case, Host, Stores
from vfbench.validation.qemu.cases import cases
from vfbench.validation.qemu.comparison import compared
from vfbench.validation.qemu.guest import FILLED_FROM, Program, boot_sector
from vfbench.validation.qemu.machine import find_qemu, started
from vfbench.validation.qemu.measurement import MEMORY_BYTES, Measured, buffer_pages, measure, measure_host
from vfbench.validation.qemu.prediction import predict

MIB = 1 << 20
PROGRAM = Program("sequential", 4096, 20, 4773, 12288)
HOST = Host(
    line_bytes_per_s=500e6, stopped_bytes_per_s=500e6, window_late_ms=0.5, pages=16514, nonzero_pages=12374
)
CASE = Case("a case", PROGRAM, 32 * MIB, 300, 6000)


def predicted(rate: float, **changes: object) -> Account:
    case = dataclasses.replace(CASE, **changes)
    return predict(case, Stores(0, rate), HOST, case.limit_ms)


# --- the boot sector


@pytest.mark.parametrize("pattern", ["sequential", "random"])
def test_a_boot_sector_has_512_bytes_and_the_bios_s_signature(pattern):
    sector = boot_sector(dataclasses.replace(PROGRAM, pattern=pattern))
    assert len(sector) == 512
    assert sector[-2:] == b"\x55\xaa"
    assert sector[0] == 0xFA  # cli


def test_the_boot_sector_holds_the_program_s_numbers():
    sector = boot_sector(PROGRAM)
    assert b"\xb9" + (12288).to_bytes(4, "little") in sector  # mov ecx, filled pages
    assert b"\x25" + (4095).to_bytes(4, "little") in sector  # and eax, working set - 1
    assert b"\xb9" + (3 * 4773).to_bytes(4, "little") in sector  # mov ecx, ACPI's counts in a tick


def test_every_jump_s_table_lies_where_the_code_says():
    sector = boot_sector(PROGRAM)
    far = sector.index(b"\xea") + 1
    protected = int.from_bytes(sector[far : far + 2], "little") - 0x7C00
    assert sector[protected : protected + 2] == b"\x66\xb8"  # mov ax, data
    load_idt = sector.index(b"\x0f\x01\x1d") + 3
    pointer = int.from_bytes(sector[load_idt : load_idt + 4], "little") - 0x7C00
    table = int.from_bytes(sector[pointer + 2 : pointer + 6], "little") - 0x7C00
    handler = int.from_bytes(sector[table + 64 : table + 66], "little") - 0x7C00
    assert sector[handler : handler + 2] == b"\x66\xba"  # mov dx, ACPI's timer


@pytest.mark.parametrize("pages", [0, 3, 16384])
def test_a_working_set_that_the_guest_cannot_have_is_refused(pages):
    with pytest.raises(ValueError, match=f"a working set of {pages} pages"):
        boot_sector(dataclasses.replace(PROGRAM, working_set_pages=pages))


def test_a_sequential_guest_goes_round_and_a_random_one_does_not():
    assert list(PROGRAM.pages(4094, 4)) == [4094, 4095, 0, 1]
    drawn = dataclasses.replace(PROGRAM, pattern="random").pages(0, 4096)
    # Drawn with replacement, 1 - 1/e of the pages are met.
    assert len(np.unique(drawn)) / 4096 == pytest.approx(1 - np.exp(-1), abs=0.02)


# --- the prediction


def test_a_guest_that_dirties_nothing_is_sent_once():
    account = predicted(0)
    assert account.converged
    assert account.syncs == 3  # at the start, when it is done, and after the stop
    assert account.sent_bytes == pytest.approx(12374 * 4104 + (16514 - 12374) * 9, rel=1e-3)


def test_a_dirty_rate_above_the_bandwidth_never_converges():
    assert not predicted(20_000).converged


def test_a_working_set_that_fits_the_downtime_limit_converges_at_any_rate():
    small = dataclasses.replace(PROGRAM, working_set_pages=256)
    account = predicted(20_000, program=small)
    assert account.converged
    assert account.sent_bytes < 52e6


def test_pages_of_zeros_cost_nine_bytes():
    half = dataclasses.replace(PROGRAM, working_set_pages=2, filled_pages=6144)
    few = predict(
        dataclasses.replace(CASE, program=half),
        Stores(0, 0),
        dataclasses.replace(HOST, nonzero_pages=6144),
        6000,
    )
    assert few.sent_bytes == pytest.approx(6144 * 4104 + (16514 - 6144) * 9, rel=1e-3)


def test_a_page_s_share_of_a_packet_is_counted_on_a_channel():
    one, four = (predicted(0, channels=n, zero_pages="multifd") for n in (0, 4))
    # Ten bytes a page instead of eight; a page of zeros takes its share of a packet's header and no byte more.
    assert four.sent_bytes - one.sent_bytes == pytest.approx(12374 * 2 + (16514 - 12374) * 1, abs=200)


def test_zeros_that_nobody_looks_for_go_in_full():
    assert predicted(0, zero_pages="none").sent_bytes == pytest.approx(16514 * 4104, rel=1e-3)


def test_what_the_channels_send_beyond_a_window_s_share_makes_the_migration_shorter():
    ahead = dataclasses.replace(HOST, channels_ahead_bytes={4: 1.6e6})
    case = dataclasses.replace(CASE, channels=4)
    slow, fast = (predict(case, Stores(0, 0), host, 6000).total_ms for host in (HOST, ahead))
    assert slow - fast == pytest.approx(500, abs=15)  # 10 windows instead of 15


def test_a_guest_that_dirties_too_fast_is_throttled_every_second_period():
    fast = {"bandwidth_bytes_per_s": 16 * MIB, "auto_converge": True}
    # The first round dirties 16 MiB and sends 48; each that follows takes over a second and dirties what it sends.
    assert [
        predicted(20_000, **fast, limit_ms=limit).throttle_percent for limit in (3000, 5500, 7500, 9500)
    ] == [0, 0, 20, 30]
    assert predicted(0, auto_converge=True).throttle_percent == 0
    assert predicted(0).throttle_percent is None


def test_each_case_of_the_table_is_one_that_the_settings_can_say():
    for case in cases():
        assert case.settings.multifd_channels == case.channels
        assert case.settings.auto_converge == case.auto_converge


def test_a_window_that_ends_late_makes_the_migration_longer():
    late = dataclasses.replace(HOST, window_late_ms=10.0)
    slow, fast = (predict(CASE, Stores(0, 0), host, 6000).total_ms for host in (late, HOST))
    assert slow / fast == pytest.approx(1.09, abs=0.02)


def test_a_qemu_that_counts_only_what_left_its_buffer_sends_more_in_a_window():
    buffering = dataclasses.replace(HOST, buffer_pages=buffer_pages("10.0.2 (Debian)"))
    slow, fast = (predict(CASE, Stores(0, 0), host, 6000).total_ms for host in (HOST, buffering))
    assert buffer_pages("7.2.22 (Debian)") == 1
    assert slow - fast == pytest.approx(100, abs=5)  # 15 windows instead of 16


def test_the_grid_has_cases_that_converge_and_cases_that_do_not():
    verdicts = {
        predict(case, Stores(0, case.program.nominal_rate), HOST, case.limit_ms).converged for case in cases()
    }
    assert verdicts == {True, False}


def test_a_wrong_verdict_is_a_missed_goal():
    measured = Measured(Account(False, 9, 200_000_000, 6000.0, None), Stores(0, 0.0), 0.0)
    rows = {row.measure: row for row in compared(CASE, measured, HOST)}
    assert rows["converged"].met is False
    assert "total time" not in rows


# --- a real QEMU


def test_without_qemu_one_line_says_how_to_get_one():
    with pytest.raises(UserError, match=r"no program no-such-qemu; fetch it with `make linux-guest`"):
        find_qemu("no-such-qemu")


async def _touched(qemu, folder, program):
    """The pages of the working set that the guest has dirtied, and its count before and after they were read."""
    boot = folder / "boot.img"
    boot.write_bytes(boot_sector(program).ljust(1_474_560, b"\0"))
    async with started(qemu, folder, "guest", boot, MEMORY_BYTES) as machine:
        await machine.until_ready()
        await asyncio.sleep(0.5)
        await machine.ask("stop")
        count = await machine.stores()
        stride = 4096 // 4
        words = await machine.words(FILLED_FROM, program.working_set_pages * stride)
        return count, np.flatnonzero(words[2::stride])


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["sequential", "random"])
def test_the_guest_dirties_the_very_pages_that_the_model_says(tmp_path, pattern):
    program = Program(pattern, 64, 3, 23866, 128)
    count, touched = asyncio.run(_touched(real_parts().qemu, tmp_path, program))
    assert count > 0
    assert list(touched) == sorted(set(program.pages(0, count)))


@pytest.mark.slow
def test_a_real_migration_of_a_quiet_guest_sends_what_the_model_says(tmp_path):
    quiet = dataclasses.replace(PROGRAM, working_set_pages=256, pages_per_tick=4)
    idle, busy = (dataclasses.replace(PROGRAM, pages_per_tick=each) for each in (0, 80))
    qemu = real_parts().qemu
    host = asyncio.run(measure_host(qemu, idle, busy, tmp_path))
    case = dataclasses.replace(CASE, program=quiet)
    measured = asyncio.run(measure(qemu, case, tmp_path))
    account = predict(case, measured.stores, host, case.limit_ms)
    assert measured.account.converged == account.converged
    assert account.sent_bytes == pytest.approx(measured.account.sent_bytes, rel=0.1)
    assert abs(account.syncs - measured.account.syncs) <= 1
