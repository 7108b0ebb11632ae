"""The page in a real browser: nothing is cut off or fetched, and it works in light, in dark and on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.made_up import two_strategies

from vfbench.report.page import render

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
LIGHT, DARK = 1, 0
"""Chromium's `preferredColorScheme`."""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "page.html").write_text(render(two_strategies(folder / "set"), "html"), encoding="utf-8")
    return folder / "page.html"


def chromium(page: Path, *words: str, width: int = 1000) -> str:
    """What it prints; any host but this page is out of its reach."""
    assert CHROMIUM is not None
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--no-first-run", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *(f"--user-data-dir={page.parent / 'browser'}", f"--window-size={width},4000", *words, page.as_uri()),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def pixels(picture: Path) -> object:
    import matplotlib.image

    return matplotlib.image.imread(picture)[..., :3]


@pytest.mark.parametrize(("scheme", "is_dark"), [(LIGHT, False), (DARK, True)])
def test_paper_and_ink_follow_the_readers_scheme(page: Path, scheme: int, is_dark: bool) -> None:
    picture = page.with_name(f"{scheme}.png")
    chromium(page, f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}")
    seen = pixels(picture)
    assert (seen[5, 5].mean() < 0.5) == is_dark  # type: ignore[index]
    assert seen.max() - seen.min() > 0.8  # type: ignore[attr-defined]


MEASURE = """
<script>
const wide = [...document.querySelectorAll("h1, h2, h3, p, li, figure, svg, dl")]
  .filter(each => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest("details:not([open])"));
document.title = "wide " + wide.length + ", page " + (document.documentElement.scrollWidth > innerWidth)
  + ", pictures "
  + [...document.querySelectorAll("svg")].filter(each => each.getBoundingClientRect().height > 50).length;
</script>
"""


@pytest.mark.parametrize("width", [600, 1400])
def test_nothing_leaves_the_window(page: Path, width: int) -> None:
    measured = page.with_name("measured.html")
    measured.write_text(
        page.read_text(encoding="utf-8").replace("</body>", f"{MEASURE}</body>"), encoding="utf-8"
    )
    title = chromium(measured, "--dump-dom", width=width).partition("<title>")[2].partition("</title>")[0]
    assert title == "wide 0, page false, pictures 7"


def test_it_prints(page: Path) -> None:
    paper = page.with_name("page.pdf")
    chromium(page, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) > 1


FIRST_SCREEN = """
<script>
const bottoms = [".stamp", ".verdict-lines li:last-child", ".lead tbody tr", ".lead figure svg"].map(
  each => Math.round(document.querySelector(each).getBoundingClientRect().bottom));
parent.postMessage(`${innerWidth} ${innerHeight} ${bottoms.join(" ")}`, "*");
</script>
"""
IN_A_FRAME = """<!doctype html><title></title><iframe src="{page}" width="{width}" height="{height}"></iframe>
<script>addEventListener("message", said => document.title = said.data);</script>"""
"""A window of the browser is no narrower than 500 pixels, whatever it is asked for; a frame is."""


@pytest.mark.parametrize(("width", "height", "seen"), [(1280, 800, 4), (390, 844, 2)])
def test_verdict_and_answer_are_in_the_first_screen_on_a_desktop_with_picture_and_ranking(
    page: Path, width: int, height: int, seen: int
) -> None:
    measured, frame = page.with_name("first.html"), page.with_name("frame.html")
    text = page.read_text(encoding="utf-8")
    measured.write_text(text.replace("</body>", f"{FIRST_SCREEN}</body>"), encoding="utf-8")
    frame.write_text(IN_A_FRAME.format(page=measured.name, width=width, height=height), encoding="utf-8")
    dumped = chromium(frame, "--virtual-time-budget=5000", "--dump-dom", width=1400)
    title = dumped.partition("<title>")[2].partition("</title>")[0]
    inner_width, inner_height, *bottoms = map(int, title.split())
    assert (inner_width, inner_height) == (width, height)
    assert min(bottoms) > 0
    assert max(bottoms[:seen]) < height
