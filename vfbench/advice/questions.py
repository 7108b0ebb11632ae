"""Questions that people ask, and their answers: `questions.toml`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from vfbench.errors import UserError

FILE: Final = Path(__file__).with_name("questions.toml")
WIDTH: Final = 100


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question with its answer; `words` are groups, of each of which any word counts once."""

    id: str
    question: str
    words: tuple[tuple[str, ...], ...]
    answer: str
    sure: str
    source: str

    def matches(self, text: str) -> float:
        """How many of its groups occur in the text, those beyond the first two counting less."""
        found = [group for group in self.words if any(_has(text, word) for word in group)]
        return len(found) + 0.1 * (self.words[0] in found) - 0.01 * len(self.words)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    question: tuple[Question, ...]


@cache
def questions() -> tuple[Question, ...]:
    """Every question, in the file's order."""
    return msgspec.toml.decode(FILE.read_bytes(), type=_Document).question


def answer_to(text: str) -> Question:
    """The question that is most like the text, or has that id; UserError lists all where none is like it."""
    known = questions()
    for each in known:
        if text.strip() == each.id:
            return each
    best = max(known, key=lambda each: each.matches(text))
    if best.matches(text) < 2 - 0.1:
        listed = "; ".join(each.question for each in known)
        raise UserError(f"--ask {text!r} is like no question that has an answer; there are: {listed}")
    return best


def lines(question: Question) -> Iterator[str]:
    """Question, answer and source, for a terminal."""
    yield question.question
    yield ""
    yield from textwrap.wrap(question.answer, WIDTH, break_long_words=False, break_on_hyphens=False)
    yield ""
    yield f"Source ({question.sure}): {question.source}"


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text, re.IGNORECASE) is not None
