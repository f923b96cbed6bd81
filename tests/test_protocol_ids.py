"""`pystreamredis.protocol.ids`: IDs are pairs of 64-bit numbers, and compare as such."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystreamredis.protocol.ids import (
    ZERO,
    are_even,
    before,
    count_ascending,
    id_of,
    is_before,
    is_id,
    is_later,
    number_of,
    parse_start,
)

Pair = tuple[int, int]

MAX = 2**64 - 1
few = st.sampled_from([1, 2, 9, 10, 11, 99, 100, 101])

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


@pytest.mark.parametrize(
    "entry_id", [b"0-0", b"1529416095111-4", b"%d-%d" % (2**64 - 1, 2**64 - 1)]
)
def test_two_numbers_are_an_id(entry_id: bytes) -> None:
    assert is_id(entry_id)


@pytest.mark.parametrize(
    "entry_id",
    [
        *(b"", b"-", b"1", b"1-", b"-1", b"1-2-3", b"1-a", b"1 -2", b"+1-0", b"1-0\n"),
        *(b"\xd9\xa5-0", b"1" * 21 + b"-0", b"%d-0" % 2**64, b"0-%d" % 2**64),
    ],
)
def test_anything_else_is_not_an_id(entry_id: bytes) -> None:
    assert not is_id(entry_id)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(few, few), max_size=5), st.booleans(), st.booleans())
@example([(10, 11), (100, 1), (11, 11)], False, False)
@example([(10, 1), (100, 1), (11, 1)], False, False)
@example([(1000, 1), (1, 1), (2000, 1)], False, False)
def test_ids_are_counted_as_in_the_naive_way(
    pairs: list[Pair], text: bool, is_sorted: bool
) -> None:
    """Contract 3.1: also what no server writes, of which the first and the last look well."""
    if is_sorted:
        pairs = sorted(pairs)
    naive = next((n for n in range(1, len(pairs)) if pairs[n - 1] >= pairs[n]), len(pairs))
    ids = [b"%d-%d" % pair for pair in pairs]
    assert count_ascending([each.decode() for each in ids] if text else ids) == naive


digits = st.text("019", min_size=1, max_size=3)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(digits, digits), max_size=5), st.booleans())
@example([("5", "11"), ("5", "010"), ("10", "1")], False)
@example([("5", "11"), ("5", "010")], True)
def test_zeros_that_numbers_begin_with_change_no_order(
    pairs: list[tuple[str, str]], text: bool
) -> None:
    """No server writes them, but a hostile one may."""
    numbers = [tuple(map(int, pair)) for pair in pairs]
    naive = next((n for n in range(1, len(pairs)) if numbers[n - 1] >= numbers[n]), len(pairs))
    ids = ["-".join(pair) for pair in pairs]
    assert count_ascending(ids if text else [each.encode() for each in ids]) == naive


@pytest.mark.parametrize(
    "wrong", [b"1x-1", b"17-x", b"--11", b"1--1", b"\xff7-1", b"22-1\n", b"2-1\n2-2"]
)
@pytest.mark.parametrize("at", [0, 1, 4])
def test_an_id_that_is_not_valid_ends_the_count(wrong: bytes, at: int) -> None:
    ids = [b"%d-1" % n for n in range(20, 25)]
    ids[at] = wrong
    assert count_ascending(ids) == at
    assert count_ascending([each.decode("latin-1") for each in ids]) == at


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
def test_an_id_survives_the_way_to_a_number_and_back(pair: tuple[int, int]) -> None:
    assert id_of(number_of(written(pair))) == written(pair)


@settings(deadline=None)
@given(pairs)
def test_text_is_the_same_number_as_bytes(pair: tuple[int, int]) -> None:
    """Contract 1.3: with `decode_responses` IDs are text."""
    assert number_of(written(pair).decode()) == number_of(written(pair))


@settings(deadline=None)
@given(st.integers(1, MAX))
def test_reading_after_a_time_includes_that_very_ms(ms: int) -> None:
    """Contract 2.2: messages of that very ms included."""
    assert number_of(before(ms)) + 1 == number_of(written((ms, 0)))
    assert before(ms) == written((ms - 1, MAX))


def test_reading_from_the_beginning_includes_everything() -> None:
    """Contract 2.2: `0` is the whole history; `0-1` is the first ID that there can be."""
    assert before(0) == ZERO == b"0-0"
    assert number_of(ZERO) < number_of(b"0-1")


@pytest.mark.parametrize("ms", [-1, -(2**64), 2**64, 2**128])
def test_a_time_outside_of_64_bits_is_refused(ms: int) -> None:
    """Contract 7: `-1`, `2**64`."""
    with pytest.raises(ValueError, match=rf"^{ms} is outside of 0 to 2\*\*64 - 1$"):
        before(ms)


@settings(deadline=None)
@given(pairs)
def test_a_whole_id_is_read_after(pair: tuple[int, int]) -> None:
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
def test_a_start_that_is_not_an_id_is_refused(text: str) -> None:
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
def test_any_text_is_an_id_or_refused(text: str) -> None:
    """Contract 7: a start is one of those in 2.2 or a `ValueError`, never anything else."""
    try:
        start = parse_start(text)
    except ValueError:
        return
    assert id_of(number_of(start)) == start
    assert text.replace("-", "", 1).isdecimal()
    assert text.isascii()


@pytest.mark.parametrize(
    ("entry_id", "is_one"),
    [
        (before(1), True),
        (before(1529416095111), True),
        (before(0), False),
        (b"5-%d" % (MAX - 1), False),
        (b"%d-0" % MAX, False),
    ],
)
def test_the_id_before_a_time_is_recognized(entry_id: bytes, is_one: bool) -> None:
    assert is_before(entry_id) is is_one


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], True),
        ([b"1-0"], True),
        ([b"1-0", b"9-9"], True),
        ([b"1-0", b"10-0"], False),
        ([b"10-0", b"1-0", b"1-00"], False),
        (["1-0", "9-9"], True),
        (["1-0", "10-0"], False),
    ],
)
def test_ids_of_one_length_are_recognized(ids: list[bytes], expected: bool) -> None:
    assert are_even(ids) is expected
