"""`pystreamredis.ids`: IDs are pairs of 64-bit numbers, and compare as such."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.ids import ZERO, before, id_of, is_later, number_of, parse_start

MAX = 2**64 - 1
parts = st.one_of(
    st.integers(0, MAX),
    st.integers(0, 12),
    st.integers(MAX - 12, MAX),
    st.integers(0, 64).map(lambda exponent: min(2**exponent, MAX)),
    st.integers(0, 19).map(lambda exponent: 10**exponent),
)
pairs = st.tuples(parts, parts)


def written(pair: tuple[int, int]) -> bytes:
    return b"%d-%d" % pair


@settings(deadline=None)
@given(pairs, pairs)
def test_ids_compare_as_two_numbers_do(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Contract 3.2: compared as two 64-bit numbers."""
    assert (number_of(written(one)) < number_of(written(other))) == (one < other)
    assert (number_of(written(one)) == number_of(written(other))) == (one == other)
    assert is_later(written(one), written(other)) == (one > other)


def test_ten_comes_after_nine() -> None:
    """Contract 3.2: `1-10` after `1-9`."""
    assert number_of(b"1-10") > number_of(b"1-9")
    assert number_of(b"10-0") > number_of(b"9-9")


@settings(deadline=None)
@given(pairs)
def test_an_id_becomes_a_number_and_the_same_id_again(pair: tuple[int, int]) -> None:
    assert id_of(number_of(written(pair))) == written(pair)


@settings(deadline=None)
@given(pairs)
def test_text_is_the_same_number_as_bytes(pair: tuple[int, int]) -> None:
    """Contract 1.3: with `decode_responses` IDs are text."""
    assert number_of(written(pair).decode()) == number_of(written(pair))


@settings(deadline=None)
@given(st.integers(1, MAX))
def test_reading_after_a_time_takes_in_that_very_ms_and_nothing_before(ms: int) -> None:
    """Contract 2.2: messages of that very ms included."""
    assert number_of(before(ms)) + 1 == number_of(written((ms, 0)))
    assert before(ms) == written((ms - 1, MAX))


def test_reading_from_the_beginning_takes_in_everything() -> None:
    """Contract 2.2: `0` is the whole history; `0-1` is the first ID that there can be."""
    assert before(0) == ZERO == b"0-0"
    assert number_of(ZERO) < number_of(b"0-1")


@pytest.mark.parametrize("ms", [-1, -(2**64), 2**64, 2**128])
def test_a_time_that_is_no_64_bit_number_is_refused(ms: int) -> None:
    """Contract 7: `-1`, `2**64`."""
    with pytest.raises(ValueError, match=rf"^{ms} is outside of 0 to 2\*\*64 - 1$"):
        before(ms)


@settings(deadline=None)
@given(pairs)
def test_a_whole_id_is_where_reading_goes_on_after(pair: tuple[int, int]) -> None:
    """Contract 2.2: after that message, what a resume needs."""
    assert parse_start(written(pair).decode()) == written(pair)


@settings(deadline=None)
@given(parts)
def test_digits_alone_are_a_time(ms: int) -> None:
    """Contract 2.2: digits only, like the `int`."""
    assert parse_start(str(ms)) == before(ms)


def test_zeros_in_front_are_dropped() -> None:
    """Positions are compared with IDs as servers write them."""
    assert parse_start("007-010") == b"7-10"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "-1",
        "1-",
        "-1-1",
        "1--1",
        "1-2-3",
        "abc",
        "1-*",
        "+",
        "$ ",
        " 1",
        "1 ",
        "1\n",
        "1-1\n",
        "1_0",
        "+1",
        "0x1",
        "1.5",
        "1-1.5",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "\N{SUPERSCRIPT TWO}-1",
        "1" * 100,
        "1-" + "1" * 100,
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Contract 7: `"abc"`, `"1-2-3"`; and what `int()` would take but servers do not."""
    with pytest.raises(ValueError, match=r"^it is neither '<ms>' nor '<ms>-<sequence>'$"):
        parse_start(text)


@pytest.mark.parametrize(
    "text", [f"{2**64}", f"{2**64}-0", f"0-{2**64}", f"{10**20}-0", f"0-{10**30}", "9" * 99]
)
def test_parts_of_more_than_64_bits_are_refused(text: str) -> None:
    """Contract 7: `2**64`."""
    with pytest.raises(ValueError, match="outside of 0 to"):
        parse_start(text)


@settings(deadline=None)
@given(st.text(max_size=24))
def test_no_text_is_taken_for_an_id_that_is_none(text: str) -> None:
    """Contract 7: a start is one of those in 2.2 or a `ValueError`, never anything else."""
    try:
        start = parse_start(text)
    except ValueError:
        return
    assert id_of(number_of(start)) == start
    assert text.replace("-", "", 1).isdecimal()
    assert text.isascii()
