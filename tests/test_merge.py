"""`pystreamredis.merge`: sorted by ID, as far as is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystreamredis import merge
from pystreamredis.cursors import Cursor
from pystreamredis.ids import number_of
from pystreamredis.merge import next_batch, release, waiting_after

MAX = 2**64 - 1
# One shape after the other: as clocks make them, of one length, of many lengths,
# on both sides of a power of ten, at the ends.
numbers = st.one_of(
    st.integers(0, MAX),
    st.integers(1_529_416_095_111, 1_529_416_095_113),
    st.integers(0, 12),
    st.integers(97, 102),
    st.integers(MAX - 3, MAX),
    st.integers(0, 19).map(lambda exponent: 10**exponent),
)
pairs = st.tuples(numbers, numbers)
same_ms = st.tuples(st.just(1_529_416_095_111), numbers)
same_length = st.tuples(st.integers(10, 99), st.integers(100, 999))
bursts = st.tuples(st.integers(10, 13), st.integers(7, 12) | st.integers(98, 101))
kinds = (pairs, same_ms, same_length, bursts)
runs = st.one_of(*(st.sets(ids, max_size=12) for ids in kinds))
streams = st.lists(st.tuples(runs, st.booleans()), max_size=5)

Pair = tuple[int, int]
Stream = tuple[set[Pair], bool]


def written(pair: Pair, *, text: bool = False) -> Any:
    entry_id = f"{pair[0]}-{pair[1]}"
    return entry_id if text else entry_id.encode()


def read(entry_id: Any) -> Pair:
    text = entry_id if isinstance(entry_id, str) else entry_id.decode()
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


def cursors_of(content: list[Stream], *, text: bool = False) -> list[Cursor]:
    cursors = []
    for number, (pairs, complete) in enumerate(content):
        cursor = Cursor(f"s{number}", b"s%d" % number, b"0-0")
        cursor.waiting = [
            (cursor.name, written(pair, text=text), {"of": number}) for pair in sorted(pairs)
        ]
        cursor.fetched = written(max(pairs, default=(0, 0)))
        cursor.complete = complete
        cursors.append(cursor)
    return cursors


def expected_of(cursors: list[Cursor]) -> list[Any]:
    """Sort naively what lies up to the smallest bound."""
    bounds = [read(cursor.fetched) for cursor in cursors if not cursor.complete]
    bound = min(bounds, default=(MAX, MAX))
    known = [message for cursor in cursors for message in cursor.waiting]
    return sorted((m for m in known if read(m[1]) <= bound), key=lambda message: read(message[1]))


@settings(deadline=None, max_examples=300)
@given(streams, st.booleans())
@example([({(1, 9)}, True), ({(1, 10)}, True)], False)
@example([({(9, 9)}, True), ({(10, 1)}, True)], False)
@example([({(1, 100)}, True), ({(1, 22), (1, 5)}, True), ({(1, 22)}, True)], True)
@example([({(1, 1), (5, 5)}, False), ({(1, 2), (7, 7)}, False)], False)
def test_messages_are_released_as_a_naive_sort_would(content: list[Stream], text: bool) -> None:
    """Contract 3.1, 3.2: by ID, as two numbers; equal IDs in the order of the streams."""
    cursors = cursors_of(content, text=text)
    expected = expected_of(cursors)
    assert next_batch(release(cursors)).messages == expected


@settings(deadline=None, max_examples=150)
@given(streams, st.booleans())
def test_what_is_not_released_goes_on_waiting(content: list[Stream], text: bool) -> None:
    """Contract 3.1: each exactly once, so either released or kept, in order."""
    cursors = cursors_of(content, text=text)
    before = [list(cursor.waiting) for cursor in cursors]
    released = next_batch(release(cursors)).messages
    for cursor, messages in zip(cursors, before, strict=True):
        own = [message for message in released if message[0] == cursor.name]
        assert own + cursor.waiting == messages


@settings(deadline=None, max_examples=150)
@given(streams, st.booleans())
def test_a_batch_knows_where_each_of_its_streams_ends(content: list[Stream], text: bool) -> None:
    """Contract 2.4: positions are those of the last messages handed over."""
    batch = next_batch(release(cursors_of(content, text=text)))
    list(batch.iterator)
    positions: dict[Any, Any] = {}
    batch.settle(positions)
    assert positions == {name: entry_id for name, entry_id, _ in batch.messages}


@settings(deadline=None, max_examples=100)
@given(streams)
def test_the_stream_that_bounds_the_batch_is_released_whole(content: list[Stream]) -> None:
    """Contract 3.4: so there is room for the next read, and no standstill."""
    cursors = cursors_of(content)
    release(cursors)
    incomplete = [cursor for cursor in cursors if not cursor.complete]
    if incomplete:
        assert not min(incomplete, key=lambda cursor: read(cursor.fetched)).waiting
    else:
        assert not any(cursor.waiting for cursor in cursors)


@settings(deadline=None, max_examples=300)
@given(streams, st.booleans(), st.sampled_from([(1, 1), (4, 1), (7, 3)]), st.data())
def test_batches_make_up_what_was_released(
    content: list[Stream], text: bool, sizes: tuple[int, int], data: st.DataObject
) -> None:
    """In the same order, however few are sorted at once; and streams may be dropped between."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(merge, "_BATCH", sizes[0])
        monkeypatch.setattr(merge, "_LEAST", sizes[1])
        cursors = cursors_of(content, text=text)
        expected = expected_of(cursors)
        released = release(cursors)
        positions: dict[Any, Any] = {}
        while released:
            most = max(sizes[0], sizes[1] * len(released))
            batch = next_batch(released)
            messages = list(batch.iterator)
            assert 0 < len(messages) <= most
            assert messages == expected[: len(messages)]
            del expected[: len(messages)]
            batch.settle(positions)
            assert positions | {name: entry_id for name, entry_id, _ in messages} == positions
            if data.draw(st.booleans()):
                dropped = data.draw(st.sampled_from(["s0", "s1", "s2"]))
                released[:] = [run for run in released if run[0][0] != dropped]
                expected = [message for message in expected if message[0] != dropped]
        assert expected == []


def test_a_stream_not_read_to_its_end_holds_later_messages_of_others_back() -> None:
    """Contract 3.2: the server may hold 3-0 of the first one, which belongs between."""
    cursors = cursors_of([({(1, 0), (2, 0)}, False), ({(2, 0), (4, 0)}, True)])
    assert [(m[0], m[1]) for m in next_batch(release(cursors)).messages] == [
        ("s0", b"1-0"),
        ("s0", b"2-0"),
        ("s1", b"2-0"),
    ]
    assert [message[1] for message in cursors[1].waiting] == [b"4-0"]


def test_a_stream_of_which_nothing_has_come_holds_everything_back() -> None:
    """Contract 3.2: it was not read to its end, and starts before the others' messages."""
    cursors = cursors_of([(set(), False), ({(1, 0)}, True)])
    assert next_batch(release(cursors)).messages == []
    assert len(cursors[1].waiting) == 1


@pytest.mark.parametrize("content", [[], [(set(), True)], [(set(), False)]])
def test_nothing_is_released_where_nothing_waits(content: list[Stream]) -> None:
    batch = next_batch(release(cursors_of(content)))
    assert batch.messages == []
    assert list(batch.iterator) == []


def test_data_that_cannot_be_compared_is_never_looked_at() -> None:
    """Contract 3.2: equal IDs come in the order of the streams, whatever their data is."""
    cursors = cursors_of([({(1, 5), (1, 22)}, True), ({(1, 5), (1, 22)}, True)])
    for cursor in cursors:
        cursor.waiting = [(name, entry_id, object()) for name, entry_id, _ in cursor.waiting]
    assert [message[0] for message in next_batch(release(cursors)).messages] == [
        "s0",
        "s1",
        "s0",
        "s1",
    ]


@pytest.mark.parametrize(
    ("watermark", "left"), [((0, 5), 3), ((1, 0), 2), ((2, 7), 1), ((4, 0), 0)]
)
def test_what_is_beyond_a_watermark_would_go_on_waiting(watermark: Pair, left: int) -> None:
    """Contract 3.4: what a stream may still be asked for depends on it."""
    (cursor,) = cursors_of([({(1, 0), (2, 0), (4, 0)}, True)])
    assert waiting_after(cursor, number_of(written(watermark))) == left
    cursor.waiting = []
    assert waiting_after(cursor, number_of(written(watermark))) == 0
