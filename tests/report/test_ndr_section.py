"""Rates without loss on the page: what `bench ndr --json` found, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.made_up import two_strategies

from vfbench.errors import UserError
from vfbench.report.ndr_section import read_ndr
from vfbench.report.page import render

NDR = {
    "trial_ns": 10**9,
    "found": [
        {
            "strategy": "a|<b>",
            "frame_bytes": 64,
            "link_bps": 10**10,
            "ndr_bps": 6_720_000_000,
            "pdr_bps": None,
            "trials": 9,
            "reason": "",
            "latency": [{"load": 0.9, "rate_bps": 6 * 10**9, "p50_us": 31.25, "p99_us": 77.0}],
            "ndr_mpps": 10.0,
        }
    ],
}


@pytest.mark.parametrize("format_", ["html", "md"])
def test_rates_without_loss_and_latency_at_shares_of_them_are_on_the_page(
    tmp_path: Path, format_: str
) -> None:
    (tmp_path / "ndr.json").write_text(json.dumps(NDR))
    text = render(two_strategies(tmp_path / "set"), format_, ndr=read_ndr(tmp_path / "ndr.json"))
    assert "Rate without loss" in text
    assert "p99 us at 90%" in text
    for cell in ("10.0", "6.72", "67.2%", "31.2", "77.0"):
        assert cell in text
    assert "<b>" not in text


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"found": 5}', '{"found": [{"strategy": 5}]}', '{"found": [[]]}', "[" * 99]
)
def test_what_is_no_answer_of_ndr_is_refused_in_a_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "ndr.json").write_text(content)
    with pytest.raises(UserError, match="is not what `bench ndr --json` printed"):
        read_ndr(tmp_path / "ndr.json")
