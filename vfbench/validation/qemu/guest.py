"""The guest: one boot sector that dirties a known set of pages, in a known pattern, at a known rate.

It enters protected mode, writes to every page that is to be more than zeros, sets the PIT's channel 0 and sleeps.
Each tick dirties the next `pages_per_tick` pages of the working set and counts them; between ticks the processor
halts. QEMU drops ticks that come too late, so the guest reads ACPI's timer and makes up for those that it missed:
the rate holds on a busy host. Code, stack, descriptor tables and the count share page 7, the only other page that
the guest dirties.

Encodings: Intel SDM, volume 2. PIT and PIC: the 8254's and 8259A's datasheets. ACPI's timer: ACPI specification,
section 4.8.3.3; SeaBIOS puts the PIIX4's at port 0x608. Boot: the BIOS loads the sector to
0x7C00 in real mode and jumps there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from vfbench.machine.memory.guest_memory import PAGE_BYTES, PAGE_SHIFT

Pattern = Literal["sequential", "random"]

SECTOR_BYTES: Final = 512
LOADED_AT: Final = 0x7C00
OWN_PAGE: Final = LOADED_AT >> PAGE_SHIFT
COUNT_AT: Final = 0x7000
"""Where the guest counts the pages that it dirtied, 32 bits; beside it, READY once all is set up."""
READY_AT: Final = COUNT_AT + 4
LAST_AT: Final = COUNT_AT + 8
"""ACPI's time of the last tick that stores were made for."""
READY: Final = 0x76666231
FILLED_FROM: Final = 2 << 20
"""The filled pages, of which the first are the working set, begin at 2 MiB, above what the BIOS uses."""
PIT_HZ: Final = 1193181.666
_ACPI_TIMER_PORT: Final = 0x608
_ACPI_PER_PIT: Final = 3
"""Both count the same crystal: ACPI's timer 3579545 times a second, 24 bits."""
_MIX_1: Final = 0x9E3779B1
_MIX_2: Final = 0x85EBCA6B
_CODE, _DATA = 0x08, 0x10


@dataclass(frozen=True)
class Program:
    """What the guest does. `working_set_pages` is a power of two, and no more than `filled_pages`.

    A tick is `pit_divisor` counts of the PIT, so there are `PIT_HZ / pit_divisor` in a second.
    """

    pattern: Pattern
    working_set_pages: int
    pages_per_tick: int
    pit_divisor: int
    filled_pages: int

    @property
    def nominal_rate(self) -> float:
        """Stores to pages per second."""
        return self.pages_per_tick * PIT_HZ / self.pit_divisor

    def pages(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """The working set's pages (0 on) that stores number `first` to `first + count - 1` go to."""
        stores = np.arange(first, first + count, dtype=np.int64).astype(np.uint32)
        if self.pattern == "random":
            stores = stores * np.uint32(_MIX_1)
            stores = (stores ^ (stores >> np.uint32(15))) * np.uint32(_MIX_2)
            stores = stores >> np.uint32(32 - self._index_bits)
        return (stores & np.uint32(self.working_set_pages - 1)).astype(np.int64)

    @property
    def _index_bits(self) -> int:
        return self.working_set_pages.bit_length() - 1


def boot_sector(program: Program) -> bytes:
    """The 512 bytes; ValueError for a program that the guest can't carry out."""
    _check(program)
    # The first pass finds how long each part is, the second knows where the tables and the handler stand.
    lengths = [len(part) for part in _parts(program, [0] * 5)]
    starts = [LOADED_AT + sum(lengths[:i]) for i in range(len(lengths))]
    code = b"".join(_parts(program, starts))
    if len(code) > SECTOR_BYTES - 2:
        raise ValueError(f"{len(code)} bytes do not fit into a boot sector")
    return code.ljust(SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


def _check(program: Program) -> None:
    pages = program.working_set_pages
    if pages < 2 or pages & (pages - 1) or pages > program.filled_pages:
        raise ValueError(f"a working set of {pages} pages is no power of two up to {program.filled_pages}")
    if not 0 <= program.pages_per_tick < 1 << 16 or not 2 <= program.pit_divisor < 1 << 16:
        raise ValueError(f"{program.pages_per_tick} pages a tick of {program.pit_divisor} can't be had")


def _parts(program: Program, starts: list[int]) -> tuple[bytes, ...]:
    _, protected, handler, gdt, idt = starts
    return (
        _enter_protected_mode(protected, gdt + 24),
        _set_up_and_sleep(program, idt + 72),
        _tick(program),
        _descriptor_table(gdt),
        _interrupt_table(idt, handler),
    )


def _enter_protected_mode(protected: int, gdt_pointer: int) -> bytes:
    return b"".join(
        (
            b"\xfa",  # cli
            b"\x31\xc0\x8e\xd8",  # xor ax, ax; mov ds, ax
            b"\xe4\x92\x0c\x02\xe6\x92",  # in al, 0x92; or al, 2; out 0x92, al: address line 20
            b"\x0f\x01\x16" + struct.pack("<H", gdt_pointer & 0xFFFF),  # lgdt [gdt_pointer]
            b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0",  # mov eax, cr0; or al, 1; mov cr0, eax
            b"\xea" + struct.pack("<HH", protected & 0xFFFF, _CODE),  # jmp code:protected
        )
    )


def _set_up_and_sleep(program: Program, idt_pointer: int) -> bytes:
    low, high = program.pit_divisor & 0xFF, program.pit_divisor >> 8
    return b"".join(
        (
            b"\x66\xb8" + struct.pack("<H", _DATA),  # mov ax, data
            b"\x8e\xd8\x8e\xc0\x8e\xd0",  # mov ds, ax; mov es, ax; mov ss, ax
            b"\xbc" + struct.pack("<I", LOADED_AT),  # mov esp, 0x7C00
            b"\xbf" + struct.pack("<I", FILLED_FROM),  # mov edi, first page
            b"\xb9" + struct.pack("<I", program.filled_pages),  # mov ecx, pages
            b"\x89\x3f",  # fill: mov [edi], edi
            b"\x81\xc7" + struct.pack("<I", PAGE_BYTES),  # add edi, 4096
            b"\xe2\xf6",  # loop fill
            b"\x31\xf6",  # xor esi, esi: the count
            b"\xb0\x34\xe6\x43",  # PIT: channel 0, low and high byte, mode 2
            bytes((0xB0, low, 0xE6, 0x40, 0xB0, high, 0xE6, 0x40)),
            b"\xb0\xfe\xe6\x21\xb0\xff\xe6\xa1",  # PICs: nothing but IRQ 0
            _read_acpi_timer(),
            b"\xa3" + struct.pack("<I", LAST_AT),  # mov [last], eax
            b"\x0f\x01\x1d" + struct.pack("<I", idt_pointer),  # lidt [idt_pointer]
            b"\x89\x35" + struct.pack("<I", COUNT_AT),  # mov [count], esi
            b"\xc7\x05" + struct.pack("<II", READY_AT, READY),  # mov dword [ready], READY
            b"\xfb",  # sti
            b"\xf4\xeb\xfd",  # sleep: hlt; jmp sleep
        )
    )


def _tick(program: Program) -> bytes:
    stores = _due_stores(program) if program.pages_per_tick else b""
    return b"".join(
        (
            stores,
            b"\x89\x35" + struct.pack("<I", COUNT_AT),  # mov [count], esi
            b"\xb0\x20\xe6\x20",  # mov al, 0x20; out 0x20, al: end of interrupt
            b"\xcf",  # iret
        )
    )


def _read_acpi_timer() -> bytes:
    return b"\x66\xba" + struct.pack("<H", _ACPI_TIMER_PORT) + b"\xed"  # mov dx, port; in eax, dx


def _due_stores(program: Program) -> bytes:
    """All stores of the ticks that passed since the last time; none, if less than one did."""
    stores = _stores(program)
    return b"".join(
        (
            _read_acpi_timer(),
            b"\x2b\x05" + struct.pack("<I", LAST_AT),  # sub eax, [last]
            b"\x25" + struct.pack("<I", (1 << 24) - 1),  # and eax, 0xFFFFFF
            b"\x31\xd2",  # xor edx, edx
            b"\xb9" + struct.pack("<I", _ACPI_PER_PIT * program.pit_divisor),  # mov ecx, counts in a tick
            b"\xf7\xf1",  # div ecx: ticks in eax
            b"\x0f\xaf\xc8",  # imul ecx, eax
            b"\x01\x0d" + struct.pack("<I", LAST_AT),  # add [last], ecx
            b"\x69\xc8" + struct.pack("<I", program.pages_per_tick),  # imul ecx, eax, pages in a tick
            b"\xe3" + struct.pack("<b", len(stores)),  # jecxz past the stores
            stores,
        )
    )


def _stores(program: Program) -> bytes:
    body = b"".join(
        (
            b"\x89\xf0",  # next: mov eax, esi
            _mix(program.working_set_pages) if program.pattern == "random" else b"",
            b"\x25" + struct.pack("<I", program.working_set_pages - 1),  # and eax, pages - 1
            b"\xc1\xe0" + bytes((PAGE_SHIFT,)),  # shl eax, 12
            b"\xff\x80" + struct.pack("<I", FILLED_FROM + 8),  # inc dword [eax + first page + 8]
            b"\x46",  # inc esi
        )
    )
    return body + b"\xe2" + struct.pack("<b", -len(body) - 2)  # loop next


def _mix(working_set_pages: int) -> bytes:
    shift = 32 - (working_set_pages.bit_length() - 1)
    return b"".join(
        (
            b"\x69\xc0" + struct.pack("<I", _MIX_1),  # imul eax, eax, mix 1
            b"\x89\xc2\xc1\xea\x0f\x31\xd0",  # mov edx, eax; shr edx, 15; xor eax, edx
            b"\x69\xc0" + struct.pack("<I", _MIX_2),  # imul eax, eax, mix 2
            b"\xc1\xe8" + bytes((shift,)),  # shr eax, 32 - bits
        )
    )


def _descriptor_table(at: int) -> bytes:
    """Nothing, code and data, both flat over 4 GiB; then the pointer that `lgdt` reads."""
    entries = struct.pack("<QQQ", 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF)
    return entries + struct.pack("<HI", len(entries) - 1, at)


def _interrupt_table(at: int, handler: int) -> bytes:
    """Vector 8, which is where the BIOS leaves IRQ 0; then the pointer that `lidt` reads."""
    gate = struct.pack("<HHHH", handler & 0xFFFF, _CODE, 0x8E00, handler >> 16)
    entries = bytes(64) + gate
    return entries + struct.pack("<HI", len(entries) - 1, at)
