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
def copy_words(transfer: Any, page: int) -> None:
    """The page's contents, at this instant."""
    first_block_page = transfer.structure_bytes >> PAGE_SHIFT
    if page < first_block_page:
        word, count = page * WORDS_PER_PAGE, WORDS_PER_PAGE
    else:
        word = first_block_page * WORDS_PER_PAGE + (page - first_block_page) * BLOCKS_PER_PAGE
        count = BLOCKS_PER_PAGE
    for i in range(word, word + count):
        store_word(transfer.target_words, i, load_word(transfer.source_words, i))


@kernel
def send_page(transfer: Any, page: int) -> None:
    """Copy a page and take it off the list."""
    copy_words(transfer, page)
    store_byte(transfer.pending, page, 0)
    transfer.pending_pages -= 1
    transfer.sent_pages += 1
    transfer.resent_pages += load_byte(transfer.sent_before, page)
    store_byte(transfer.sent_before, page, 1)
    transfer.cursor = page + 1


@kernel
def send_cold(transfer: Any, room_ps: int) -> int:
    """Send as many cold pages as fit into ``room_ps``, at least one; returns how many."""
    pages = min(transfer.cold_pages, max(1, room_ps // transfer.page_ps))
    transfer.cold_pages -= pages
    transfer.sent_pages += pages
    transfer.resent_pages += pages * transfer.cold_sent
    if transfer.cold_pages == 0:
        transfer.cursor = 0
        transfer.cold_sent = 1
    return pages


@kernel
def send_until(
    transfer: Any,
    engine: Any,
    cpus: Any,
    ports: Any,
    applications: Any,
    source: Any,
    frames: Any,
    until_ps: int,
) -> bool:
    """Send page by page while the machine runs on, up to ``until_ps``; False as soon as nothing may go."""
    while engine.now_ps < until_ps:
        page = next_page(transfer)
        if page == NONE:
            return False
        sent = 1
        if page == transfer.pages:
            sent = send_cold(transfer, until_ps - engine.now_ps)
        else:
            send_page(transfer, page)
        advance(engine, cpus, ports, applications, source, frames, engine.now_ps + sent * transfer.page_ps)
    return True
