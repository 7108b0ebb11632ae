"""The report: every section, nothing from the network, and sentences that the records bear out."""

from __future__ import annotations

import html.parser
import re
from pathlib import Path

import pytest
from support.fakes import Careful, Careless, Steady, experiment
from support.made_up import frame_sizes, outcome, two_strategies, write

import cli
from vfbench.commands.report import _link
from vfbench.errors import UserError
from vfbench.experiment import Driver
from vfbench.records import SCHEMA_VERSION, Outcome, Record, read_records
from vfbench.report.against_baseline import choose_baseline, compared
from vfbench.report.answer import answer
from vfbench.report.decision import decision_map
from vfbench.report.families import frame_size_families
from vfbench.report.page import render
from vfbench.report.provenance import commands
from vfbench.report.scenarios import main_scenarios, scenarios

SECTIONS = [
    "answer",
    "table",
    "figures",
    "integrity",
    "verdicts",
    "validation",
    "environment",
    "profile",
    "again",
]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    return two_strategies(tmp_path_factory.mktemp("records"), seeds=6)


@pytest.fixture(scope="module")
def page(records: list[Record]) -> str:
    return render(records, "html")


class Tags(html.parser.HTMLParser):
    """Every start tag with its attributes, and that each is closed in turn."""

    VOID = ("meta", "br", "path", "use", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.crossed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)


def tags(page: str) -> Tags:
    parsed = Tags()
    parsed.feed(page)
    return parsed


def test_every_section_is_there_in_the_order_of_a_readers_questions(page: str) -> None:
    assert [name for name in re.findall(r'<h2 id="(\w+)"', page) if name in SECTIONS] == SECTIONS


def test_the_page_takes_nothing_from_anywhere(page: str) -> None:
    for tag, attributes in tags(page).found:
        assert tag not in ("link", "img", "iframe", "object")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), attributes
    assert not re.search(r"@import|url\((?!#)", page)


def test_tags_are_closed_and_ids_are_used_once(page: str) -> None:
    parsed = tags(page)
    assert (parsed.open, parsed.crossed) == ([], [])
    ids = [attributes["id"] for _, attributes in parsed.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_jump_in_the_page_lands_somewhere(page: str) -> None:
    parsed = tags(page)
    ids = {attributes.get("id") for _, attributes in parsed.found}
    jumps = {a["href"][1:] for tag, a in parsed.found if tag == "a" and a.get("href")}  # type: ignore[index]
    assert jumps
    assert jumps <= ids


def test_a_picture_for_each_subject_with_words_for_who_cannot_see_it(page: str) -> None:
    labels = [attributes["aria-label"] for tag, attributes in tags(page).found if tag == "svg"]
    assert [str(label).partition(",")[0] for label in labels] == [
        "Blackout against steady cost",
        "Dirty pages and what was sent again",
        "The migration over time",
        "The downtime",
        "Latency",
        "Processor time per packet",
        "What arrived wrong",
    ]


def test_dark_and_print_have_colours_of_their_own(page: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media print" in page


def test_the_answer_names_who_damaged_and_who_is_fastest_of_the_rest(tmp_path: Path) -> None:
    for strategy, gbps, stale in (
        (Careful(), 8.0, 0),
        (Careful(mode="deferred"), 9.0, 0),
        (Careless(), 10.0, 7),
    ):
        for seed in range(1, 7):
            made = experiment(strategy=strategy, seed=seed)
            write(tmp_path, made, outcome(gbps + seed / 1000, stale_pages_payload=stale))
    (scenario,) = scenarios(read_records(tmp_path))
    found = answer(scenario)
    assert found.lines(100)[:3] == [
        "WHOLE: careful mode=strict, careful mode=deferred (6 runs each).",
        "DAMAGED: careless in 6 of 6 runs (at worst 7 stale payload pages).",
        "Most throughput: careful mode=deferred 9.00 Gb/s; careful mode=strict -11 %.",
    ]


def test_one_damaged_run_of_many_is_damage(tmp_path: Path) -> None:
    for seed, corrupted in enumerate((0, 0, 0, 1), start=1):
        write(tmp_path, experiment(seed=seed), outcome(8.0, packets_corrupted=corrupted))
    (scenario,) = scenarios(read_records(tmp_path))
    assert "DAMAGED: careful in 1 of 4 runs (at worst 1 corrupted packet)." in answer(scenario).lines()


def test_what_was_not_compared_is_not_called_whole(tmp_path: Path) -> None:
    write(tmp_path, experiment(), Outcome("ok", measures={"gbps": 9.0}))
    (scenario,) = scenarios(read_records(tmp_path))
    assert answer(scenario).lines()[0].startswith("WHOLE: none (1 run each")
    assert "Never compared: careful (ok)." in answer(scenario).lines()


def test_a_failed_run_is_told_and_is_in_no_figure(tmp_path: Path) -> None:
    two_strategies(tmp_path, seeds=1)
    write(tmp_path, experiment(strategy=Careful(atomic=True)), Outcome("failed", "the ring stalled"))
    page = render(read_records(tmp_path), "html")
    assert "Never compared: careful atomic=true (failed)." in page
    assert "failed: the ring stalled" in page


def test_times_of_an_emulated_guest_are_neither_ranked_nor_drawn(tmp_path: Path) -> None:
    records = two_strategies(tmp_path, testbed="kvm", functional=True)
    page = render(records, "html")
    (scenario,) = scenarios(records)
    assert not any("Gb/s" in line or "latency" in line for line in answer(scenario).lines())
    assert page.count("Guest code was emulated: times and throughput don") == 2
    assert "<th>throughput" not in page


def test_the_baseline_is_what_ran_first_unless_one_is_named(records: list[Record]) -> None:
    assert choose_baseline(records, None) == "careful"
    assert choose_baseline(records, "careless") == "careless"


def test_better_and_worse_are_words_and_follow_the_measures_direction(records: list[Record]) -> None:
    (scenario,) = scenarios(records)
    table = compared(scenario, "careful")
    careless = table.rows[1]
    cells = dict(zip([column.measure for column in table.columns], careless.cells, strict=True))
    assert (cells["gbps"].ratio, cells["gbps"].standing) == ("1.25", "damaged")
    assert cells["downtime_ms"].standing == "same"
    assert cells["stale_pages_payload"].median == "7"


def test_runs_that_differ_in_a_setting_are_scenarios_of_their_own(tmp_path: Path) -> None:
    found = scenarios(frame_sizes(tmp_path))
    assert [each.title for each in found] == ["steady, 64B frames", "steady, 1518B frames"]
    assert [len(each.groups) for each in found] == [2, 2]


def test_each_testbed_has_a_main_scenario(tmp_path: Path) -> None:
    two_strategies(tmp_path / "a", seeds=1)
    two_strategies(tmp_path / "b", seeds=1, testbed="kvm")
    main = main_scenarios(scenarios(read_records(tmp_path)))
    assert sorted(each.testbed for each in main) == ["kvm", "model"]


def test_two_frame_sizes_make_a_figure(tmp_path: Path) -> None:
    records = frame_sizes(tmp_path)
    (family,) = frame_size_families(records)
    assert len(family.records) == 4
    assert "Throughput against frame size" in render(records, "html")


def test_repeats_are_one_command(records: list[Record]) -> None:
    assert commands(records) == ["bench run --strategy careful --seed 1 --repeat 6"] * 2


def test_names_from_records_cannot_become_markup(tmp_path: Path) -> None:
    write(tmp_path, experiment(), outcome(8.0), command="bench run --strategy '<b>'")
    page = render(read_records(tmp_path), "html")
    assert "&lt;b&gt;" in page
    assert "'<b>'" not in page


def test_markdown_has_the_answer_the_table_and_the_commands(records: list[Record]) -> None:
    page = render(records, "md")
    assert "DAMAGED: careless" in page
    header = next(line for line in page.splitlines() if line.startswith("| strategy"))
    row = next(line for line in page.splitlines() if line.startswith("| careless"))
    assert header.count("|") == row.count("|")
    assert "×1.25 damaged" in row
    assert "```\nbench run --strategy careful --seed 1 --repeat 6" in page


def bench(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = cli.main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_the_command_writes_a_page_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_strategies(tmp_path / "set", seeds=1)
    code, out, err = bench(capsys, "report", tmp_path / "set", "-o", tmp_path / "page.html")
    assert (code, out, err) == (0, "", f"Report: {tmp_path / 'page.html'}\n")
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_a_name_that_ends_in_md_gets_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_strategies(tmp_path / "set", seeds=1)
    bench(capsys, "report", tmp_path / "set", "-o", tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text().startswith("## vfbench")


def test_markdown_goes_to_the_screen_unless_a_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_strategies(tmp_path, seeds=1)
    assert bench(capsys, "report", tmp_path, "--format", "md")[1].startswith("## vfbench")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no result at 'nowhere'"),
        (["empty"], "'empty' holds no finished run"),
        (["set", "--baseline", "carefull"], "no run is of a strategy 'carefull' - did you mean 'careful'?"),
        (["set", "--format", "pdf"], "'pdf' is not one of"),
        (["set", "-o", "nowhere/page.html"], "can't write 'nowhere/page.html': there is no folder 'nowhere'"),
        (["newer"], f"has schema 99; this vfbench reads up to {SCHEMA_VERSION}"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    two_strategies(Path("set"), seeds=1)
    manifest = write(Path("newer"), experiment(), outcome(1.0)).path / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"schema": {SCHEMA_VERSION}', '"schema": 99'))
    code, out, err = bench(capsys, "report", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not list(Path().glob("*.html"))


def test_no_runs_have_no_baseline() -> None:
    with pytest.raises(UserError, match="no runs"):
        choose_baseline([], None)


def test_of_more_variants_than_a_picture_holds_it_shows_the_plainest_of_each_strategy(tmp_path: Path) -> None:
    strategies = [
        Careless(),
        *(Careful(touched_bytes=touched) for touched in (1, 2, 3)),
        Careful(atomic=True),
    ]
    strategies += [Careful(mode="deferred", touched_bytes=touched) for touched in (1, 2, 3, 4)]
    for strategy in strategies:
        write(tmp_path, experiment(strategy=strategy), outcome(8.0))
    (scenario,) = scenarios(read_records(tmp_path))
    assert len(scenario.groups) == 9
    assert [group.first.run["strategy"] for group in scenario.typical.groups] == ["careless", "careful"]


def test_the_page_links_the_validations_where_there_are_any(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "results" / "validation" / "index.html"
    assert _link(None, Path("results/argument.html")) == ""
    page.parent.mkdir(parents=True)
    page.write_text("<p>four tables</p>")
    assert _link(None, Path("results/argument.html")) == "validation/index.html"
    assert 'href="validation/index.html"' in render(records, "html", validation="validation/index.html")


def test_the_first_screen_has_the_verdict_the_answer_a_picture_and_the_ranking(page: str) -> None:
    lead = page.partition('<div class="lead">')[2].partition("<nav>")[0]
    assert "6 of 12 runs DAMAGED" in lead
    assert "DAMAGED: careless in 6 of 6 runs" in lead
    assert lead.index("6 of 12 runs DAMAGED") < lead.index("<svg") < lead.index('<h2 id="ranking">')
    rows = re.findall(r"<tr><th>(\w+).*?data-value=\"(\d)\">([A-Z]+ ?[\d/]*)<", lead)
    assert rows == [("careful", "0", "WHOLE"), ("careless", "6", "DAMAGED 6/6")]


def test_one_damaged_run_in_nine_leads_page_table_and_markdown(tmp_path: Path) -> None:
    for seed in range(1, 10):
        write(tmp_path, experiment(seed=seed), outcome(8.0, stale_pages_payload=5 * (seed == 3)))
    records = read_records(tmp_path)
    page, text = render(records, "html"), render(records, "md")
    assert "1 of 9 runs DAMAGED" in page
    assert "DAMAGED 1/9" in page
    assert text.splitlines()[2] == "**1 of 9 runs DAMAGED**"
    assert "| careful (baseline) | DAMAGED 1/9 |" in text


def test_the_map_says_which_strategy_where(tmp_path: Path) -> None:
    page = render(frame_sizes(tmp_path), "html")
    found = decision_map(scenarios(read_records(tmp_path)))
    assert found is not None
    assert (found.rows, found.columns) == (("steady, receiving",), ("64B", "1518B"))
    assert found.fields["steady, receiving", "64B"].strategy in ("careful", "careless")
    assert "<th>1518B</th>" in page


@pytest.mark.parametrize(
    ("cycles", "gaps_ms", "best", "why"),
    [
        ((100.0, 101.0), (20.0, 10.0), "careless", "level, shortest gap"),
        ((100.0, 120.0), (20.0, 10.0), "careful", "level, least processor time"),
    ],
)
def test_of_equally_fast_strategies_the_cheaper_one_is_taken_and_of_equally_cheap_ones_the_shorter_gap(
    tmp_path: Path, cycles: tuple[float, float], gaps_ms: tuple[float, float], best: str, why: str
) -> None:
    for size in (64, 1518):
        for strategy, own, gap_ms in zip((Careful(), Careless()), cycles, gaps_ms, strict=True):
            made = experiment(strategy=strategy, workload=Steady(frame_bytes=size))
            figures = {
                "guest_cycles_per_packet": own,
                "host_cycles_per_packet": 0.0,
                "service_gap_ms": gap_ms,
            }
            write(tmp_path, made, outcome(8.0, pages_compared=100, **figures))
    found = decision_map(scenarios(read_records(tmp_path)))
    assert found is not None
    choice = found.fields["steady, receiving", "64B"]
    assert (choice.strategy, choice.why) == (best, why)


def test_scenarios_have_plain_names(tmp_path: Path) -> None:
    for rate, reuse in ((0, "flip"), (10**9, "flip"), (10**9, "none")):
        made = experiment(workload=Steady(rate_bps=rate), driver=Driver(page_reuse=reuse))
        write(tmp_path, made, outcome(8.0))
    assert [each.title for each in scenarios(read_records(tmp_path))] == [
        "steady, at line rate",
        "steady, at 1Gbps",
        "steady, at 1Gbps, fresh pages",
    ]
