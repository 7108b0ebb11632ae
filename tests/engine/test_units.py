"""Quantities as users write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfbench.errors import UserError
from vfbench.units import LARGEST, SCALES, format_quantity, parse_number, parse_whole


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("10Gbps", "bps", 10**10),
        ("10 Gbit/s", "bps", 10**10),
        ("128MiB/s", "bps", 128 * 2**20 * 8),
        ("14.88Mpps", "pps", 14_880_000),
        ("4GiB", "bytes", 4 * 2**30),
        ("1518B", "bytes", 1518),
        ("1.5kB", "bytes", 1500),
        ("300ms", "ns", 300_000_000),
        ("50us", "ns", 50_000),
        ("50\u00b5s", "ns", 50_000),
        ("0", "ns", 0),
        ("20kpages/s", "pages_per_s", 20_000),
        ("20000", "count", 20_000),
        ("20k", "count", 20_000),
        ("1e3", "count", 1000),
    ],
)
def test_a_quantity_means_what_it_says(text: str, unit: str, value: int) -> None:
    assert parse_whole(text, unit) == value


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("50%", 0.5), ("0.1%", 0.001), ("1", 1.0)])
def test_a_ratio_may_be_written_in_percent(text: str, value: float) -> None:
    assert parse_number(text, "ratio") == value


@pytest.mark.parametrize("unit", SCALES)
@pytest.mark.parametrize(
    "text",
    ["", " ", "nan", "inf", "-1", "-1ms", "1 parsec", "GiB", "1GiB1", "1,5s", "0x10", "\u0661", "1e999"],
)
def test_what_is_no_quantity_is_refused_by_name_with_the_units_that_would_do(text: str, unit: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_number(text, unit)
    assert repr(text) in str(refused.value)
    assert SCALES[unit].written[-1] in str(refused.value)


def test_a_number_without_its_unit_is_ambiguous_and_refused() -> None:
    with pytest.raises(UserError, match=r"'4' is no size: write a number and its unit .*GiB"):
        parse_whole("4", "bytes")


def test_bits_are_not_bytes() -> None:
    with pytest.raises(UserError, match="'128Mb' is no size"):
        parse_whole("128Mb", "bytes")


def test_half_a_byte_is_no_size() -> None:
    with pytest.raises(UserError, match=r"'1.5B' is not a whole number of B"):
        parse_whole("1.5B", "bytes")


def test_what_no_kernel_could_count_is_refused() -> None:
    with pytest.raises(UserError, match="too large"):
        parse_whole("99999999999TiB", "bytes")


def test_a_long_text_is_not_repeated_in_full() -> None:
    with pytest.raises(UserError) as refused:
        parse_whole("9" * 100_000 + "x", "bytes")
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (10**10, "bps", "10Gbps"),
        (128 * 2**20 * 8, "bps", "128MiB/s"),
        (1 << 30, "bytes", "1GiB"),
        (1518, "bytes", "1518B"),
        (300_000_000, "ns", "300ms"),
        (0, "ns", "0"),
        (4096, "count", "4096"),
        (0.5, "ratio", "0.5"),
    ],
)
def test_a_quantity_is_shown_as_a_user_would_write_it(value: float, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text


@given(st.sampled_from(list(SCALES)), st.integers(0, LARGEST))
def test_a_shown_whole_quantity_parses_back_exactly(unit: str, value: int) -> None:
    assert parse_whole(format_quantity(value, unit), unit) == value


@given(st.sampled_from(list(SCALES)), st.floats(0, 1e15, allow_nan=False))
def test_a_shown_fraction_parses_back_exactly(unit: str, value: float) -> None:
    assert parse_number(format_quantity(value, unit), unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("5gbps", "bps", 5 * 10**9),
        ("5GBPS", "bps", 5 * 10**9),
        ("100mbit", "bps", 10**8),
        ("1gib", "bytes", 1 << 30),
        ("1GIB", "bytes", 1 << 30),
        ("512mib", "bytes", 512 << 20),
        ("4Gi", "bytes", 4 << 30),
        ("300MS", "ns", 300 * 10**6),
        ("20K", "count", 20_000),
    ],
)
def test_units_are_read_in_any_case_where_that_leaves_one_meaning(text: str, unit: str, value: int) -> None:
    assert parse_whole(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "meanings"),
    [
        ("1G", "bytes", "1GiB (as QEMU reads it) or 1GB (a power of ten)"),
        ("512m", "bytes", "512MiB (as QEMU reads it) or 512MB (a power of ten)"),
        ("5G", "bps", "5Gbps (as iperf reads it) or 5GiB/s (as QEMU reads it)"),
        ("64k", "bytes", "64KiB (as QEMU reads it) or 64kB (a power of ten)"),
        ("5gb/s", "bps", "5Gb/s or 5GB/s"),
    ],
)
def test_what_has_two_meanings_is_refused_with_both(text: str, unit: str, meanings: str) -> None:
    with pytest.raises(UserError, match="meanings") as caught:
        parse_whole(text, unit)
    assert meanings in str(caught.value)
