"""The migration thread's part: which page goes next, and copying it as it is at that instant."""

from __future__ import annotations

from typing import Any

import numpy as np

from vfbench.kernels import kernel
from vfbench.machine.memory.guest_memory import BLOCKS_PER_PAGE, MAPPED, PAGE_SHIFT, WORDS_PER_PAGE
from vfbench.machine.memory.words import load_byte, load_word, store_byte, store_word
from vfbench.testbeds.model.engine import advance

TRANSFER = np.dtype(
    [
        ("source_words", "i8"),
        ("source_marks", "i8"),
        ("target_words", "i8"),
        ("pending", "i8"),  # address of one byte for each backed page: known to be dirty, not sent since
        ("sent_before", "i8"),  # address of one byte for each backed page
        ("structure_bytes", "i8"),
        ("pages", "i8"),
        ("cold_pages", "i8"),  # pages without contents that are still to be sent
        ("cold_sent", "i8"),  # whether all of them have been, once
        ("cursor", "i8"),
        ("pending_pages", "i8"),
        ("skips_mapped", "i8"),
        ("page_ps", "i8"),
        ("sent_pages", "i8"),
        ("resent_pages", "i8"),
        # pages of zeros, where they are detected
        ("detects_zeros", "i8"),
        ("zero_ps", "i8"),
        ("cold_zeros", "i8"),  # of the cold pages that are still to be sent, the last so many are zeros
        ("sent_zeros", "i8"),
        ("resent_zeros", "i8"),
        ("page_bytes", "i8"),
        ("zero_bytes", "i8"),
        ("room_bytes", "i8"),  # what may still be sent; looked at where pages differ in size
    ]
)
NONE = -1


@kernel
def may_go(transfer: Any, page: int) -> bool:
    """Whether ``page`` is pending and not held back."""
    if load_byte(transfer.pending, page) == 0:
        return False
    return not (transfer.skips_mapped and load_byte(transfer.source_marks, page) & MAPPED)


@kernel
def next_page(transfer: Any) -> int:
    """The next page to send in address order, round the end if need be; NONE if there is none."""
    for page in range(transfer.cursor, transfer.pages):
        if may_go(transfer, page):
            return page
    if transfer.cold_pages > 0:
        return transfer.pages
    for page in range(transfer.cursor):
        if may_go(transfer, page):
            return page
    return NONE


@kernel
def copy_words(transfer: Any, page: int) -> bool:
    """The page's contents, at this instant; whether they are zeros."""
    first_block_page = transfer.structure_bytes >> PAGE_SHIFT
    if page < first_block_page:
        word, count = page * WORDS_PER_PAGE, WORDS_PER_PAGE
    else:
        word = first_block_page * WORDS_PER_PAGE + (page - first_block_page) * BLOCKS_PER_PAGE
        count = BLOCKS_PER_PAGE
    ones = 0
    for i in range(word, word + count):
        value = load_word(transfer.source_words, i)
        store_word(transfer.target_words, i, value)
        ones |= value
    return ones == 0


@kernel
def count_zeros(transfer: Any, pages: int, sent_before: int) -> None:
    """Of the pages that were sent, so many were zeros, and went as headers."""
    transfer.sent_zeros += pages
    transfer.resent_zeros += pages * sent_before
    transfer.room_bytes -= pages * transfer.zero_bytes


@kernel
def send_page(transfer: Any, page: int) -> int:
    """Copy a page and take it off the list; how long it takes on its way."""
    zeros = copy_words(transfer, page) and transfer.detects_zeros != 0
    store_byte(transfer.pending, page, 0)
    transfer.pending_pages -= 1
    transfer.sent_pages += 1
    transfer.resent_pages += load_byte(transfer.sent_before, page)
    if zeros:
        count_zeros(transfer, 1, load_byte(transfer.sent_before, page))
    else:
        transfer.room_bytes -= transfer.page_bytes
    store_byte(transfer.sent_before, page, 1)
    transfer.cursor = page + 1
    return transfer.zero_ps if zeros else transfer.page_ps


@kernel
def cold_batch(transfer: Any, room_ps: int, zeros: bool) -> int:
    """How many cold pages of a kind fit into time and room, at least one."""
    page_ps = transfer.zero_ps if zeros else transfer.page_ps
    page_bytes = transfer.zero_bytes if zeros else transfer.page_bytes
    left = transfer.cold_zeros if zeros else transfer.cold_pages - transfer.cold_zeros
    fit = min(max(1, room_ps // page_ps), max(1, -(-transfer.room_bytes // page_bytes)))
    return min(left, fit)


@kernel
def send_cold(transfer: Any, room_ps: int) -> int:
    """Send as many cold pages as fit into ``room_ps``, at least one; how long they take on their way."""
    zeros = transfer.cold_pages == transfer.cold_zeros
    pages = cold_batch(transfer, room_ps, zeros)
    if zeros:
        transfer.cold_zeros -= pages
        count_zeros(transfer, pages, transfer.cold_sent)
    else:
        transfer.room_bytes -= pages * transfer.page_bytes
    transfer.cold_pages -= pages
    transfer.sent_pages += pages
    transfer.resent_pages += pages * transfer.cold_sent
    if transfer.cold_pages == 0:
        transfer.cursor = 0
        transfer.cold_sent = 1
    return pages * (transfer.zero_ps if zeros else transfer.page_ps)


@kernel
def send_until(
    transfer: Any,
    engine: Any,
    cpus: Any,
    pairs: Any,
    applications: Any,
    source: Any,
    frames: Any,
    until_ps: int,
) -> bool:
    """Send page by page while the machine runs on, up to ``until_ps``; False as soon as nothing may go, or no room."""
    while engine.now_ps < until_ps:
        page = next_page(transfer)
        if page == NONE or transfer.room_bytes <= 0:
            return False
        cold = page == transfer.pages
        took_ps = send_cold(transfer, until_ps - engine.now_ps) if cold else send_page(transfer, page)
        advance(engine, cpus, pairs, applications, source, frames, engine.now_ps + took_ps)
    return True
