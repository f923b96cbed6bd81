"""`pystreamredis.protocol.ids`: what is an ID, and how many of some are in order."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystreamredis.protocol.ids import count_ascending, is_id, number_of

Pair = tuple[int, int]

few = st.sampled_from([1, 2, 9, 10, 11, 99, 100, 101])


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
def test_all_else_is_none(entry_id: bytes) -> None:
    assert not is_id(entry_id)


def test_ids_compare_as_two_numbers() -> None:
    """Contract 3.2."""
    assert number_of(b"1-10") > number_of("1-9")
    assert number_of(b"10-0") > number_of("9-9")


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
def test_what_is_none_ends_the_count(wrong: bytes, at: int) -> None:
    ids = [b"%d-1" % n for n in range(20, 25)]
    ids[at] = wrong
    assert count_ascending(ids) == at
    assert count_ascending([each.decode("latin-1") for each in ids]) == at
