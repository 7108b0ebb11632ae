"""Figures: legible without their colours, the same look for a strategy everywhere, and nothing pooled."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from support.fakes import Careful, Careless, experiment
from support.made_up import frame_sizes, outcome, two_strategies, write

from strategies import ALL_STRATEGIES
from vfbench.errors import UserError
from vfbench.records import Outcome, Record, intervals_frame, read_records, rounds_frame, runs_frame
from vfbench.report import figures
from vfbench.report.figures.look import COLOURS, look
from vfbench.report.figures.timeline import without_slivers, without_the_end

Draw = Callable[[list[Record]], Figure]

DRAWN: dict[str, Draw] = {
    "rounds": lambda records: figures.pre_copy_rounds(rounds_frame(records)),
    "timeline": lambda records: figures.migration_timeline(intervals_frame(records)),
    "downtime": lambda records: figures.downtime_parts(runs_frame(records)),
    "latency": lambda records: figures.latency_percentiles(runs_frame(records)),
    "cycles": lambda records: figures.cycles_per_packet(runs_frame(records)),
    "integrity": lambda records: figures.integrity(runs_frame(records)),
    "pareto": lambda records: figures.pareto(runs_frame(records)),
    "throughput": lambda records: figures.throughput_by_frame_size(runs_frame(records)),
}
TIMED = [name for name in DRAWN if name not in ("rounds", "integrity")]
every_figure = pytest.mark.parametrize("name", DRAWN)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return two_strategies(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def drawn(records: list[Record]) -> Callable[[str], Figure]:
    """Each figure once: tests look, and change nothing."""
    return functools.cache(lambda name: DRAWN[name](records))


Drawn = Callable[[str], Figure]


def words(figure: Figure) -> str:
    """All that is written on it."""
    texts = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]  # type: ignore[attr-defined]
    return " ".join(" ".join(texts).split())


@every_figure
def test_axes_say_what_they_show_and_in_which_unit(drawn: Drawn, name: str) -> None:
    written = words(drawn(name))
    units = {"rounds": "(MiB)", "timeline": "(Gb/s)", "downtime": "(ms)", "latency": "(us, logarithmic)"}
    units |= {
        "pareto": "gap for the peer (ms)",
        "cycles": "(cycles per packet)",
        "integrity": "pages per migration",
        "throughput": "(bytes)",
    }
    assert units[name] in written


@every_figure
def test_the_caption_names_testbed_and_repeats(drawn: Drawn, name: str) -> None:
    assert "Testbed model, costs of profile made-up; 3 runs each." in words(drawn(name))


@every_figure
def test_each_strategy_is_named(drawn: Drawn, name: str) -> None:
    written = words(drawn(name))
    assert "careful" in written
    assert "careless" in written


@every_figure
def test_a_strategy_has_its_colour_in_every_figure(drawn: Drawn, name: str) -> None:
    figure = drawn(name)
    if name != "downtime":  # its bars are parts, not strategies
        assert {look("careful").colour.lower(), look("careless").colour.lower()} <= _colours(figure)


def _colours(figure: Figure) -> set[str]:
    artists: list[Any] = figure.findobj()
    drawn = [artist.get_facecolor() for artist in artists if hasattr(artist, "get_facecolor")]
    drawn += [artist.get_color() for artist in artists if hasattr(artist, "get_color")]
    drawn += [artist.get_edgecolor() for artist in artists if hasattr(artist, "get_edgecolor")]
    return {to_hex(colour) for colour in drawn if isinstance(colour, str) or len(colour) in (3, 4)}


def test_shipped_strategies_are_told_apart_with_and_without_colour() -> None:
    looks = [look(each.name) for each in ALL_STRATEGIES]
    assert len({(each.colour, each.marker) for each in looks}) == len(looks)
    assert len({(each.colour, each.hatch) for each in looks}) == len(looks)
    assert len({(each.marker, each.hatch) for each in looks}) == len(looks)
    first = looks[:4]
    assert len({each.colour for each in first}) == len({each.marker for each in first}) == len(first)


def test_a_strangers_strategy_gets_a_colour_that_never_changes() -> None:
    assert look("first-byte") == look("first-byte")
    assert look("first-byte").colour in COLOURS


def test_variants_of_a_strategy_share_its_colour_and_differ_in_their_dashes(tmp_path: Path) -> None:
    records = frame_sizes(tmp_path, (Careful(), Careful(mode="deferred")))
    figure = figures.throughput_by_frame_size(runs_frame(records))
    first, second = (container.lines[0] for container in figure.axes[0].containers)
    assert first.get_color() == second.get_color() == look("careful").colour
    assert first.get_linestyle() != second.get_linestyle()


def test_throughput_has_a_point_per_frame_size_and_the_line_rate(tmp_path: Path) -> None:
    figure = figures.throughput_by_frame_size(runs_frame(frame_sizes(tmp_path)))
    (axes,) = figure.axes
    line = axes.containers[0].lines[0]
    assert list(line.get_xdata()) == [64, 1518]
    assert list(line.get_ydata()) == [0.32, 7.59]
    assert [y for each in axes.get_lines() if each.get_label() == "line rate" for y in each.get_ydata()] == [
        10,
        10,
    ]


def test_any_measure_can_be_drawn_against_any_parameter(tmp_path: Path) -> None:
    for mode, gbps in (("strict", 3.0), ("deferred", 9.0)):
        write(tmp_path, experiment(strategy=Careful(mode=mode)), outcome(gbps))
    figure = figures.measure_against(runs_frame(read_records(tmp_path)), "strategy.mode", "gbps")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["strict", "deferred"]
    assert axes.get_ylabel() == "throughput (Gb/s)"


def test_words_are_not_joined_by_a_line(tmp_path: Path) -> None:
    for mode, gbps in (("strict", 3.0), ("deferred", 9.0)):
        write(tmp_path, experiment(strategy=Careful(mode=mode)), outcome(gbps))
    runs = runs_frame(read_records(tmp_path))
    (line,) = (
        each
        for each in figures.measure_against(runs, "strategy.mode", "gbps").axes[0].get_lines()
        if len(each.get_xdata()) == 2 and each.get_marker() not in "_|"
    )
    assert line.get_linestyle() == "None"


def test_many_variants_get_a_panel_each_beside_the_other_strategies(tmp_path: Path) -> None:
    variants = [Careful(touched_bytes=number) for number in range(1, 9)]
    records = frame_sizes(tmp_path, (*variants, Careless()))
    panels = [axes for axes in DRAWN["throughput"](records).axes if axes.get_visible()]
    assert len(panels) == len(variants)
    for axes in panels:
        assert (
            sum(len(line.get_xdata()) == 2 and line.get_marker() in "os^DvPX" for line in axes.get_lines())
            == 2
        )


def test_a_timeline_takes_intervals_of_any_length(tmp_path: Path) -> None:
    lengths = [10.0, 4.0, 6.0, 10.0, 2.5, 7.5]
    whole = outcome(8.0)
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    rows = [
        {**row, "start_ms": start, "length_ms": length}
        for row, start, length in zip(whole.intervals, starts, lengths, strict=True)
    ]
    record = write(tmp_path, experiment(), dataclasses.replace(whole, intervals=rows))
    figure = DRAWN["timeline"]([record])
    (strip,) = figure.axes
    (steps,) = (patch for patch in strip.patches if hasattr(patch, "get_data"))
    assert list(steps.get_data().edges) == [*starts, 40.0]
    assert "per interval of 10 ms, cut where a phase ends" in words(figure)


def test_the_parts_of_a_bar_add_up_to_the_downtime(drawn: Drawn) -> None:
    (axes,) = drawn("downtime").axes
    first = [bar for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == 0]
    assert sum(bar.get_width() for bar in first) == 12.0


@every_figure
def test_runs_of_two_testbeds_are_never_in_one_figure(tmp_path: Path, name: str) -> None:
    two_strategies(tmp_path / "a", seeds=1)
    two_strategies(tmp_path / "b", seeds=1, testbed="kvm")
    with pytest.raises(UserError, match="testbed kvm and model are never put in one figure"):
        DRAWN[name](read_records(tmp_path))


@pytest.mark.parametrize("name", TIMED)
def test_a_figure_of_times_says_that_an_emulated_guests_do_not_count(tmp_path: Path, name: str) -> None:
    assert "times and throughput don't count" in words(
        DRAWN[name](two_strategies(tmp_path, seeds=1, functional=True))
    )


@every_figure
def test_failed_runs_alone_draw_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path, experiment(strategy=Careless()), Outcome("failed", "the ring stalled"))
    with pytest.raises(UserError, match="nothing to draw"):
        DRAWN[name](read_records(tmp_path))


@every_figure
def test_text_neither_overlaps_nor_leaves_the_paper(
    drawn: Drawn, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = drawn(name)
    boxes: list[tuple[str, Any]] = []
    draw = Text.draw

    def recorded(text: Text, renderer: Any, *more: Any, **named: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            boxes.append((text.get_text(), text.get_window_extent(renderer)))
        draw(text, renderer, *more, **named)

    monkeypatch.setattr(Text, "draw", recorded)
    FigureCanvasAgg(figure).draw()
    width, height = figure.bbox.width, figure.bbox.height
    assert [text for text, box in boxes if box.x0 < -1 or box.x1 > width + 1] == []
    assert [text for text, box in boxes if box.y0 < -1 or box.y1 > height + 1] == []
    overlapping = [
        (one, other)
        for n, (one, a) in enumerate(boxes)
        for other, b in boxes[n + 1 :]
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    assert overlapping == []


def test_an_svg_takes_the_pages_ink_and_keeps_its_ids_to_itself(drawn: Drawn) -> None:
    svg = figures.to_svg(drawn("latency"), "lat", 'said "aloud"')
    assert svg.startswith("<svg ")
    assert 'aria-label="said &quot;aloud&quot;"' in svg
    assert "var(--ink)" in svg
    assert "#202124" not in svg
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert ids
    assert all(each.startswith("lat-") for each in ids)
    assert set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', svg)) <= set(ids)


def test_the_same_records_give_the_same_picture(records: list[Record]) -> None:
    first, second = (figures.to_svg(DRAWN["rounds"](records), "a", "b") for _ in range(2))
    assert first == second


def test_what_the_end_of_a_phase_cut_off_is_drawn_with_the_interval_before_it() -> None:
    rows = pandas.DataFrame(
        {
            "phase": ["migrating", "migrating", "blackout", "after"],
            "start_ms": [0.0, 10.0, 10.1, 13.1],
            "length_ms": [10.0, 0.1, 3.0, 10.0],
            "gbps": [5.0, 106.0, 1.0, 5.0],
        }
    )
    shown = without_slivers(rows)
    assert list(shown["length_ms"]) == [10.1, 3.0, 10.0]
    assert list(shown["gbps"]) == pytest.approx([6.0, 1.0, 5.0])


def test_a_damaged_strategy_is_crossed_out_and_joins_no_front(records: list[Record]) -> None:
    written = words(DRAWN["pareto"](records))
    assert "DAMAGED" in written
    whole = [record for record in records if record.run["strategy"] == "careful"]
    with pytest.raises(UserError, match="one dot is no picture"):
        DRAWN["pareto"](whole)


def test_one_damaged_run_of_nine_is_seen_in_the_picture_of_integrity(tmp_path: Path) -> None:
    for seed in range(1, 10):
        write(tmp_path, experiment(seed=seed), outcome(8.0, packets_corrupted=5 * (seed == 7)))
    assert "5 (1 of 9 runs)" in words(DRAWN["integrity"](read_records(tmp_path)))


def test_pre_copies_without_rounds_are_no_picture(tmp_path: Path) -> None:
    ended = dataclasses.replace(outcome(8.0), rounds=[{"round": 0, "dirty_pages": 5, "resent_bytes": 0}])
    write(tmp_path, experiment(), ended)
    with pytest.raises(UserError, match="no course to draw"):
        DRAWN["rounds"](read_records(tmp_path))


def test_a_pre_copy_that_was_given_up_is_said_to_be(tmp_path: Path) -> None:
    write(
        tmp_path, experiment(), dataclasses.replace(outcome(8.0), state="not-converged", reason="30 rounds")
    )
    assert "of careful where it was given up" in words(DRAWN["rounds"](read_records(tmp_path)))


def test_the_timeline_ends_where_the_peer_ends() -> None:
    rows = pandas.DataFrame(
        {
            "phase": ["steady", "migrating", "blackout", "after", "after"],
            "length_ms": [10.0] * 5,
            "packets_offered": [100, 100, 100, 100, 3],
        }
    )
    assert len(without_the_end(rows)) == 4
