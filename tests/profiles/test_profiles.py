"""Profiles: what things cost, and what a profile is refused for."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vfbench import profiles
from vfbench.errors import UserError
from vfbench.profiles import REQUIRED, Figure, Profile, load_profile, shipped_profiles
from vfbench.profiles.figures import CAPABILITY_OF, DIMENSIONS, FIGURES, UNITS

SHIPPED_TEXT = (Path(profiles.__file__).parent / "xeon-82599.toml").read_text(encoding="utf-8")


@pytest.fixture
def xeon() -> Profile:
    """The profile that ships."""
    return load_profile("xeon-82599")


def saved(folder: Path, text: str) -> Path:
    """The text as a profile of the user's own."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def with_line(figure: str, key: str, line: str) -> str:
    """The shipped profile with one line of one figure replaced (by nothing, if `line` is empty)."""
    pattern = rf"(\[costs\.{figure}\]\n(?:(?!\[costs).*\n)*?){key} = .*\n"
    text, count = re.subn(pattern, lambda found: found[1] + (f"{line}\n" if line else ""), SHIPPED_TEXT)
    assert count == 1
    return text


def without_figure(figure: str) -> str:
    """The shipped profile less one figure."""
    text, count = re.subn(rf"\[costs\.{figure}\]\n(?:.+\n)+", "", SHIPPED_TEXT)
    assert count == 1
    return text


def refusal(folder: Path, text: str) -> str:
    """The one line with which the text is refused; it names the file."""
    with pytest.raises(UserError) as refused:
        load_profile(saved(folder, text))
    message = str(refused.value)
    assert "mine.toml" in message
    assert "\n" not in message
    return message


def test_the_profile_of_the_argument_ships() -> None:
    """The machine of the 2015 argument is there by name."""
    assert "xeon-82599" in shipped_profiles()


@pytest.mark.parametrize("name", shipped_profiles())
def test_every_shipped_profile_is_complete_and_named_as_its_file(name: str) -> None:
    """A shipped profile loads, holds every figure of what its machine has in order, and goes by its file's name."""
    profile = load_profile(name)
    lacking = {figure for figure, needed in CAPABILITY_OF.items() if profile.offers[needed] is False}
    assert list(profile.figures) == [figure for figure in DIMENSIONS if figure not in lacking]
    assert profile.name == name


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_figure_from_memory_or_estimated_says_so(name: str) -> None:
    """Whatever is marked C tells its reader that it comes from memory or how it was estimated."""
    unsure = {key: each.source for key, each in load_profile(name).figures.items() if each.sure == "C"}
    silent = [
        key for key, source in unsure.items() if "Estimate" not in source and "from memory" not in source
    ]
    assert silent == []


@pytest.mark.parametrize("name", shipped_profiles())
def test_what_is_paid_is_told_in_one_sentence(name: str) -> None:
    """Every figure says what is paid, by whom, in one sentence of one line."""
    told = [figure.what for figure in load_profile(name).figures.values()]
    assert [what for what in told if not re.fullmatch(r"[A-Z].*[^.]\.", what)] == []


def test_a_cost_of_what_the_machine_has_not_is_refused_in_the_file_and_where_it_is_asked_for(
    tmp_path: Path, xeon: Profile
) -> None:
    """A price for a device's log on a machine without one could only mislead."""
    stated = SHIPPED_TEXT + SHIPPED_TEXT[SHIPPED_TEXT.index("[costs.poll_start]") :].split("\n\n")[0].replace(
        "poll_start", "device_log_entry"
    )
    assert "device_log_entry] is stated, but machine.device_dirty_log is false" in refusal(tmp_path, stated)
    with pytest.raises(
        ValueError, match="xeon-82599 has no device_log_entry: its machine lacks device_dirty_log"
    ):
        xeon.picoseconds("device_log_entry")


def test_a_cost_of_what_the_machine_has_must_be_stated(tmp_path: Path) -> None:
    """Offering a capability without its costs is refused, with the cost to add."""
    offered = SHIPPED_TEXT.replace("[machine.vdpa]\nhas = false", "[machine.vdpa]\nhas = true")
    assert "svq_suspend_pair is missing; add [costs.svq_suspend_pair]" in refusal(tmp_path, offered)


def test_todays_machine_has_the_costs_of_todays_strategies() -> None:
    """Every conditional cost is stated by one shipped profile at least, and by the newest for what it offers."""
    newest = load_profile("modern-100g")
    offered = {figure for figure, needed in CAPABILITY_OF.items() if newest.offers[needed] is not False}
    stated = {figure for name in shipped_profiles() for figure in load_profile(name).figures}
    assert offered <= set(newest.figures)
    assert set(CAPABILITY_OF) - stated == set()


def test_no_figure_is_required_twice() -> None:
    """Each required figure has one dimension."""
    assert len(DIMENSIONS) == len(FIGURES)


def test_a_path_loads_like_a_name(tmp_path: Path, xeon: Profile) -> None:
    """The same content under a path is the same profile."""
    assert load_profile(saved(tmp_path, SHIPPED_TEXT)) == xeon


def test_cycles_become_time_by_the_clock(xeon: Profile) -> None:
    """6732 cycles at 2.1 GHz are 3.206 microseconds."""
    assert xeon.picoseconds("exit_user_space") == 3_205_714


@pytest.mark.parametrize(
    ("figure", "picoseconds"),
    [("iotlb_miss", 280_000), ("device_stop", 100_000_000), ("vf_hot_unplug", 300_000_000_000)],
)
def test_times_become_picoseconds(xeon: Profile, figure: str, picoseconds: int) -> None:
    """Nanoseconds, microseconds and milliseconds each convert."""
    assert xeon.picoseconds(figure) == picoseconds


def test_a_rate_is_the_same_in_either_unit(tmp_path: Path, xeon: Profile) -> None:
    """4 bytes a cycle at 2.1 GHz and 8400 bytes a microsecond cost a byte the same."""
    text = with_line("copy_rate", "unit", 'unit = "bytes_per_us"')
    text = text.replace("value = 4.0", "value = 8400").replace("high = 15.0", "high = 9000")
    in_microseconds = load_profile(saved(tmp_path, text))
    assert in_microseconds.picoseconds_per_byte("copy_rate") == pytest.approx(1000 / 8.4)
    assert xeon.picoseconds_per_byte("copy_rate") == pytest.approx(1000 / 8.4)


def test_a_value_is_given_as_the_file_states_it(xeon: Profile) -> None:
    """Asked for its value, a figure stays in its own unit."""
    assert xeon.value("iotlb_entries") == 64.0


def test_a_rate_is_no_time_and_a_count_is_no_rate(xeon: Profile) -> None:
    """Asking for a figure in a dimension that it has not is an error of the caller."""
    with pytest.raises(ValueError, match="copy_rate is not a time"):
        xeon.picoseconds("copy_rate")
    with pytest.raises(ValueError, match="tap_queue is not a rate"):
        xeon.picoseconds_per_byte("tap_queue")


def test_the_parts_of_map_and_unmap_add_up_to_the_paper(xeon: Profile) -> None:
    """A strict map costs 4618 cycles and a strict unmap 2999, as in the rIOMMU paper."""
    assert xeon.value("iova_alloc") + xeon.value("page_table_map") == 3986 + 588 + 44
    unmap = ("iova_free", "page_table_unmap", "iotlb_invalidate")
    assert sum(map(xeon.value, unmap)) == 249 + 159 + 438 + 2127 + 26


def test_the_digest_ignores_layout(tmp_path: Path, xeon: Profile) -> None:
    """Comments, the order of figures and 2.10 for 2.1 are not content."""
    clock, rest = re.split(r"(?=\[costs\.rx_packet\])", SHIPPED_TEXT)
    header, clock = re.split(r"(?=\[costs\.cpu_frequency\])", clock)
    moved = header + rest + clock.replace("value = 2.1\n", "value = 2.10  # GHz\n")
    assert load_profile(saved(tmp_path, moved)).digest == xeon.digest


@pytest.mark.parametrize(
    ("key", "line"),
    [("value", "value = 2800"), ("high", "high = 6001"), ("sure", 'sure = "B"'), ("what", 'what = "Other."')],
)
def test_the_digest_changes_with_every_part_of_a_figure(
    tmp_path: Path, xeon: Profile, key: str, line: str
) -> None:
    """A changed value, range, letter or text is another profile."""
    assert load_profile(saved(tmp_path, with_line("write_fault", key, line))).digest != xeon.digest


def test_a_replaced_figure_renews_the_digest(xeon: Profile) -> None:
    """Walking a figure to its high end for sensitivity analysis cannot keep the old digest."""
    figure = xeon.figures["mmio_read"]
    walked = {**xeon.figures, "mmio_read": dataclasses.replace(figure, value=figure.high)}
    assert dataclasses.replace(xeon, figures=walked).digest != xeon.digest


def test_a_profile_cannot_be_changed(xeon: Profile) -> None:
    """Neither a figure nor the set of figures can be assigned to."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        xeon.figures["mmio_read"].value = 0.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        xeon.figures["mmio_read"] = xeon.figures["mmio_write"]  # type: ignore[index]


def test_a_profile_travels_to_a_worker_process(xeon: Profile) -> None:
    """Pickled and read back, a profile is equal, digest and all."""
    assert pickle.loads(pickle.dumps(xeon)) == xeon


def test_json_holds_every_field(xeon: Profile) -> None:
    """Nothing of a figure is lost on its way into a manifest."""
    written = json.loads(json.dumps(xeon.to_json()))
    assert written["digest"] == xeon.digest
    assert {name: Figure(**table) for name, table in written["costs"].items()} == xeon.figures


def test_an_unknown_name_lists_what_ships() -> None:
    """A misspelt profile is answered with the names that exist."""
    with pytest.raises(UserError, match=r"no profile 'xeon'; there are .*xeon-82599"):
        load_profile("xeon")


def test_a_path_without_a_file_is_refused(tmp_path: Path) -> None:
    """A .toml path that does not exist is named."""
    with pytest.raises(UserError, match=r"absent\.toml: cannot be read"):
        load_profile(tmp_path / "absent.toml")


def test_a_missing_figure_is_named_with_its_units(tmp_path: Path) -> None:
    """Leaving a figure out says what to add."""
    message = refusal(tmp_path, without_figure("mmio_read"))
    assert message.endswith("mmio_read is missing; add [costs.mmio_read], in cycles or ns or us or ms")


def test_an_unknown_figure_is_answered_with_the_nearest(tmp_path: Path) -> None:
    """A misspelt figure is not ignored."""
    text = SHIPPED_TEXT.replace("[costs.exit_user_space]", "[costs.exit_userspace]")
    assert refusal(tmp_path, text).endswith("unknown figure 'exit_userspace'; did you mean exit_user_space?")


@pytest.mark.parametrize(
    ("figure", "key", "line", "words"),
    [
        ("exit_kernel", "unit", 'unit = "GHz"', "exit_kernel: unit 'GHz' does not do; give cycles or ns"),
        ("copy_rate", "unit", 'unit = "ns"', "give bytes_per_cycle or bytes_per_us"),
        ("exit_kernel", "unit", "unit = []", "exit_kernel: unit [] does not do"),
        ("exit_kernel", "value", "value = -1", "exit_kernel: value -1 does not do for a time figure"),
        ("exit_kernel", "low", "low = -1", "low -1 does not do for a time figure; give zero or more"),
        ("exit_kernel", "value", "value = nan", "exit_kernel: value nan is not a finite number"),
        ("exit_kernel", "high", "high = 1" + "0" * 400, "is not a finite number"),
        ("exit_kernel", "high", "high = inf", "high inf is not a finite number"),
        ("exit_kernel", "value", 'value = "2565"', "value '2565' is not a finite number"),
        ("exit_kernel", "value", "value = true", "value True is not a finite number"),
        ("exit_kernel", "low", "low = 2566", "value 2565 is not between low 2566 and high 3500"),
        ("exit_kernel", "high", "high = 2564", "value 2565 is not between low 2000 and high 2564"),
        ("exit_kernel", "sure", 'sure = "D"', "exit_kernel: sure 'D' does not do; give A or B or C"),
        ("exit_kernel", "sure", "", "exit_kernel: sure is missing; give value, unit, sure, source"),
        ("exit_kernel", "high", "", "exit_kernel: high is missing"),
        ("exit_kernel", "source", 'source = ""', "exit_kernel: source '' is no text"),
        ("exit_kernel", "sure", 'sure = "B"\nsuer = "B"', "unknown key 'suer'; did you mean sure?"),
        ("cpu_frequency", "low", "low = 0", "low 0 does not do for a frequency figure; give more than zero"),
        ("copy_rate", "low", "low = 0", "low 0 does not do for a rate figure; give more than zero"),
        ("tap_queue", "value", "value = 500.5", "value 500.5 does not do for a count figure; give a whole"),
    ],
)
def test_a_figure_stated_badly_is_refused(
    tmp_path: Path, figure: str, key: str, line: str, words: str
) -> None:
    """Each way of stating a figure badly is answered with the value and with what would do."""
    message = refusal(tmp_path, with_line(figure, key, line))
    assert f"mine.toml: {figure}: " in message
    assert words in message


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("schema = 1\n", "schema = 2\n", "schema 2 is not known; 1 is"),
        ("schema = 1\n", "schema = true\n", "schema True is not known"),
        ("schema = 1\n", "", "schema is missing"),
        ('name = "xeon-82599"', 'name = ""', "name '' is no text"),
        ("schema = 1\n", "schema = 1\nsumary = 1\n", "unknown key 'sumary'; did you mean summary?"),
        ("schema = 1\n", "schema = \n", "not TOML"),
    ],
)
def test_a_bad_head_is_refused(tmp_path: Path, before: str, after: str, words: str) -> None:
    """Schema, name and summary are checked like the figures."""
    assert words in refusal(tmp_path, SHIPPED_TEXT.replace(before, after))


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ("machine = {}\ncosts = 3", "costs 3 is no table"),
        ("machine = 1\n[costs]\nmmio_read = 3", "machine 1 is no table"),
    ],
)
def test_costs_that_are_no_tables_are_refused(tmp_path: Path, costs: str, words: str) -> None:
    """A bare number in place of tables is refused, not crashed on."""
    assert words in refusal(tmp_path, f'schema = 1\nname = "x"\nsummary = "y"\n{costs}\n')


def test_a_bare_number_for_a_figure_is_refused(tmp_path: Path) -> None:
    """A figure without unit and source is no figure."""
    bare = without_figure("mmio_read").replace('summary = "Xeon', 'costs.mmio_read = 900\nsummary = "Xeon')
    assert "mmio_read: 900 is no table; give value, unit" in refusal(tmp_path, bare)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes that are no text are refused with their place."""
    path = tmp_path / "mine.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(UserError, match="byte 8 is not UTF-8"):
        load_profile(path)


def test_every_dimension_has_units_that_convert(xeon: Profile) -> None:
    """No figure of a dimension can be stated in a unit that the profile does not know how to convert."""
    conversions: dict[str, Callable[[Profile, str], float]] = {
        "time": Profile.picoseconds,
        "rate": Profile.picoseconds_per_byte,
    }
    for name, dimension in REQUIRED.items():
        convert = conversions.get(dimension, Profile.value)
        for unit in UNITS[dimension]:
            stated = {**xeon.figures, name: dataclasses.replace(xeon.figures[name], unit=unit)}
            assert convert(dataclasses.replace(xeon, figures=stated), name) >= 0


def test_importing_profiles_is_light() -> None:
    """Listing and loading profiles needs neither numpy nor pandas nor numba."""
    code = (
        "import sys; from vfbench.profiles import load_profile; load_profile('xeon-82599');"
        "print(sorted({'numpy', 'pandas', 'numba', 'pyarrow'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


HEIR = 'schema = 1\nname = "heir"\nsummary = "s"\ninherit = "xeon-82599"\nholds = ["fifo"]\n[costs]\n'


def test_an_heir_takes_over_as_estimates_what_it_does_not_state(tmp_path: Path, xeon: Profile) -> None:
    """A figure found on another machine is an estimate here, letter C, and names where it comes from."""
    taken = load_profile(saved(tmp_path, HEIR)).figures["iotlb_miss"]
    assert (taken.value, taken.sure) == (xeon.figures["iotlb_miss"].value, "C")
    assert taken.source.startswith("Estimate: as on xeon-82599, where it is A: pcie-bench")


def test_what_holds_for_the_heir_too_keeps_its_letter(tmp_path: Path, xeon: Profile) -> None:
    """The same card, the same software: the figure is as sure as it was."""
    assert load_profile(saved(tmp_path, HEIR)).figures["fifo"] == xeon.figures["fifo"]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"xeon-82599"', '"atlantis"', "inherit 'atlantis' is no shipped profile; there are modern-100g"),
        ('["fifo"]', '"fifo"', "holds 'fifo' is no list"),
        ('["fifo"]', '["fifoo"]', "holds: unknown figure 'fifoo'; did you mean fifo?"),
        ('holds = ["fifo"]\n', "", "holds is missing"),
    ],
)
def test_an_heir_stated_badly_is_refused(tmp_path: Path, before: str, after: str, words: str) -> None:
    """Base and list are checked like the figures."""
    assert words in refusal(tmp_path, HEIR.replace(before, after))


def test_a_measured_figure_must_say_how(tmp_path: Path) -> None:
    """Letter M without host, date, method and repeats is refused."""
    assert "measured is missing" in refusal(tmp_path, with_line("mmio_read", "sure", 'sure = "M"'))


@pytest.mark.parametrize("name", shipped_profiles())
def test_no_kick_is_cheaper_than_an_exit_that_does_nothing(name: str) -> None:
    """A kick leaves the guest and comes back, whatever wakes up at its end."""
    profile = load_profile(name)
    assert profile.picoseconds("ioeventfd_kick") > profile.picoseconds("exit_hypercall")


@pytest.mark.parametrize("name", shipped_profiles())
def test_the_unmap_in_the_hosts_table_does_not_hold_its_invalidation(name: str) -> None:
    """An invalidation is a cost of its own: in the unmap as well, it would be paid twice."""
    assert load_profile(name).figures["iommu_shadow_unmap"].what.endswith("its invalidation apart.")
