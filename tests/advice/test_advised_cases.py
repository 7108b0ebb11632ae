"""docs/advice.md: each worked case says what the page says that it says; every question has its answer's words."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from cli import main
from vfbench.advice.questions import answer_to, questions

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "advice.md").read_text(encoding="utf-8")
CASES = re.findall(r"^### \d+\. (.+?)\n+```\n(bench advise .+?)\n```\n((?:> .+\n)+)", PAGE, re.MULTILINE)


def test_there_are_twelve_cases_at_least():
    assert len(CASES) >= 12
    assert len(CASES) == len(re.findall(r"^### \d+\.", PAGE, re.MULTILINE))


@pytest.mark.parametrize(("command", "quotes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_worked_case_gives_the_answer_that_the_page_shows(command, quotes, capsys):
    assert main(shlex.split(command)[1:]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert [quote for quote in re.findall(r"> (.+)", quotes) if " ".join(quote.split()) not in shown] == []


ASKED = {
    "Why can't my VF migrate at all, which kernel option is missing, when the firmware is ready?": (
        "CONFIG_MLX5_VFIO_PCI",
        "migration is not supported in kernel",
        "variant driver",
    ),
    "Are VFs restored after a migration?": ("state", "1.1 to 2.3 s", "virtio-net carries the traffic"),
    "Why does failover pause a minute?": ("6.5 s", "0.25 s", "pinned"),
    "Must vDPA be down during all of pre-copy, or will assuming everything dirty do?": (
        "Neither",
        "shadow virtqueues",
        "never converge",
    ),
    "Can I migrate behind a vIOMMU?": ("Not with a log in the device", "refuses", "lost"),
    "What does VFIO migration need?": (
        "28.41.1000",
        "QEMU 8.1",
        "libvirt 8.6",
        "No virtual IOMMU, no post-copy",
    ),
    "Why is the network's downtime seconds when QEMU says 50 ms?": (
        "vCPUs stand still",
        "link is back",
        "peer",
    ),
    "Can a page be copied before its DMA lands?": ("Yes", "stale", "clear, invalidate, fence"),
    "How do I test it without the card?": ("igb", "vfio-user", "vdpa_sim"),
    "Can I use post-copy with a VF?": ("No", "refuses", "PRI"),
}
"""Questions as people put them, and words without which an answer would be wrong."""


@pytest.mark.parametrize("asked", ASKED)
def test_a_question_that_people_ask_gets_its_answer(asked, capsys):
    assert main(["advise", "--ask", asked]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(asked)
    assert [words for words in ASKED[asked] if words not in shown] == []


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("my vf cannot migrate, qemu says migration is not supported in kernel", "cannot-migrate"),
        ("is migration with intel-iommu in the guest possible", "behind-viommu"),
        ("failover hangs for 60 seconds", "failover-pause"),
        ("ping shows an outage of 3 seconds but qemu reports a downtime of 50 ms", "downtime-seconds"),
        ("can I test this without hardware", "test-without-card"),
        ("does postcopy work with vfio", "post-copy-vf"),
        ("requirements of vfio migration", "what-vfio-needs"),
        ("is the vdpa device stopped during precopy", "vdpa-down"),
    ],
)
def test_a_question_in_other_words_finds_the_same_answer(asked, answered):
    assert answer_to(asked).id == answered


def test_every_question_has_source_and_grade():
    assert [each.id for each in questions() if each.sure not in "ABC" or not each.source] == []
    assert {each.question for each in questions()} == set(ASKED)


def test_a_question_that_is_like_none_is_refused_with_those_there_are(capsys):
    assert main(["advise", "--ask", "who won the match?"]) == 2
    assert "there are: Why can't my VF migrate at all" in capsys.readouterr().err


def test_an_answer_can_be_had_as_json(capsys):
    assert main(["advise", "--ask", "failover-pause", "--json"]) == 0
    assert '"id": "failover-pause"' in capsys.readouterr().out
