"""`pystreamredis.spreading`: how many connections there are, and which streams each gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystreamredis.spreading import connections_for, spread


@pytest.mark.parametrize(
    ("streams", "connections"),
    [(1, 1), (100, 1), (101, 2), (1000, 10), (9_901, 100), (10_000, 100), (1_000_000, 100)],
)
def test_there_is_a_connection_for_each_hundred_up_to_a_hundred(
    streams: int, connections: int
) -> None:
    assert connections_for(streams, None) == connections


@pytest.mark.parametrize(
    ("streams", "wanted", "connections"), [(5, 1, 1), (5, 3, 3), (5, 10, 5), (10_000, 1, 1)]
)
def test_the_caller_may_say_how_many_but_none_goes_without_a_stream(
    streams: int, wanted: int, connections: int
) -> None:
    assert connections_for(streams, wanted) == connections


@given(
    begun=st.lists(st.integers(0, 5), min_size=1, max_size=6),
    more=st.integers(0, 40),
)
def test_streams_go_where_the_fewest_are(begun: list[int], more: int) -> None:
    shares = [[(at, n) for n in range(size)] for at, size in enumerate(begun)]
    before = [list(share) for share in shares]
    fresh = [(-1, n) for n in range(more)]
    spread(fresh, shares)
    for share, old in zip(shares, before, strict=True):
        assert share[: len(old)] == old
    assert sorted(each for share in shares for each in share if each[0] < 0) == sorted(fresh)
    grown = [len(share) for share, old in zip(shares, before, strict=True) if len(share) > len(old)]
    assert max(grown, default=0) <= min(map(len, shares)) + 1
