"""`pystreamredis.core.merge`: messages sorted by ID, as far as is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystreamredis.core import merge
from pystreamredis.core.delivery import BATCH_SIZE
from pystreamredis.core.merge import next_batch, release
from pystreamredis.core.stream import StreamState
from pystreamredis.protocol.ids import number_of

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


def states_of(content: list[Stream], *, text: bool = False) -> list[StreamState]:
    states = []
    for number, (pairs, caught_up) in enumerate(content):
        state = StreamState(f"s{number}", b"s%d" % number, b"0-0")
        state.pending = [
            (state.name, written(pair, text=text), {"of": number}) for pair in sorted(pairs)
        ]
        state.last_id = written(max(pairs, default=(0, 0)))
        state.caught_up = caught_up
        states.append(state)
    return states


def expected_of(states: list[StreamState]) -> list[Any]:
    """Sort naively what lies up to the smallest bound."""
    bounds = [read(state.last_id) for state in states if not state.caught_up]
    bound = min(bounds, default=(MAX, MAX))
    known = [message for state in states for message in state.pending]
    return sorted((m for m in known if read(m[1]) <= bound), key=lambda message: read(message[1]))


@settings(deadline=None, max_examples=300)
@given(streams, st.booleans())
@example([({(1, 9)}, True), ({(1, 10)}, True)], False)
@example([({(9, 9)}, True), ({(10, 1)}, True)], False)
@example([({(1, 100)}, True), ({(1, 22), (1, 5)}, True), ({(1, 22)}, True)], True)
@example([({(1, 1), (5, 5)}, False), ({(1, 2), (7, 7)}, False)], False)
def test_messages_are_released_in_the_order_of_a_naive_sort(
    content: list[Stream], text: bool
) -> None:
    """Contract 3.1, 3.2: by ID, as two numbers; equal IDs in the order of the streams."""
    states = states_of(content, text=text)
    expected = expected_of(states)
    assert next_batch(release(states)).messages == expected


@settings(deadline=None, max_examples=150)
@given(streams, st.booleans())
def test_messages_not_released_stay_pending(content: list[Stream], text: bool) -> None:
    """Contract 3.1: each exactly once, so either released or kept, in order."""
    states = states_of(content, text=text)
    before = [list(state.pending) for state in states]
    released = next_batch(release(states)).messages
    for state, messages in zip(states, before, strict=True):
        own = [message for message in released if message[0] == state.name]
        assert own + state.pending == messages


@settings(deadline=None, max_examples=150)
@given(streams, st.booleans())
def test_a_batch_has_the_last_id_of_each_of_its_streams(content: list[Stream], text: bool) -> None:
    """Contract 2.4: positions are those of the last messages delivered."""
    batch = next_batch(release(states_of(content, text=text)))
    list(batch.iterator)
    assert batch.delivered() == {name: entry_id for name, entry_id, _ in batch.messages}


@settings(deadline=None, max_examples=100)
@given(streams)
def test_the_stream_that_bounds_the_batch_is_released_whole(content: list[Stream]) -> None:
    """Contract 3.4: so there is room for the next read, and no deadlock."""
    states = states_of(content)
    release(states)
    behind = [state for state in states if not state.caught_up]
    if behind:
        assert not min(behind, key=lambda state: read(state.last_id)).pending
    else:
        assert not any(state.pending for state in states)


@settings(deadline=None, max_examples=300)
@given(streams, st.booleans(), st.sampled_from([(1, 1), (4, 1), (7, 3)]), st.data())
def test_batches_are_all_that_was_released_in_order(
    content: list[Stream], text: bool, sizes: tuple[int, int], data: st.DataObject
) -> None:
    """However few are sorted at once; and streams may be dropped in between."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(merge, "BATCH_SIZE", sizes[0])
        monkeypatch.setattr(merge, "LEAST_SHARE", sizes[1])
        states = states_of(content, text=text)
        expected = expected_of(states)
        released = release(states)
        while released:
            most = max(sizes[0], sizes[1] * len(released))
            batch = next_batch(released)
            messages = list(batch.iterator)
            assert 0 < len(messages) <= most
            assert messages == expected[: len(messages)]
            del expected[: len(messages)]
            assert batch.delivered() == {name: entry_id for name, entry_id, _ in messages}
            if data.draw(st.booleans()):
                dropped = data.draw(st.sampled_from(["s0", "s1", "s2"]))
                released[:] = [run for run in released if run[0][0] != dropped]
                expected = [message for message in expected if message[0] != dropped]
        assert expected == []


def test_a_stream_with_more_entries_holds_back_later_messages() -> None:
    """Contract 3.2: the server may have a 3-0 in the first stream, which belongs between."""
    states = states_of([({(1, 0), (2, 0)}, False), ({(2, 0), (4, 0)}, True)])
    assert [(m[0], m[1]) for m in next_batch(release(states)).messages] == [
        ("s0", b"1-0"),
        ("s0", b"2-0"),
        ("s1", b"2-0"),
    ]
    assert [message[1] for message in states[1].pending] == [b"4-0"]


def test_a_stream_without_entries_so_far_holds_back_all_messages() -> None:
    """Contract 3.2: its entries may be older than the others' messages."""
    states = states_of([(set(), False), ({(1, 0)}, True)])
    assert next_batch(release(states)).messages == []
    assert len(states[1].pending) == 1


@pytest.mark.parametrize("content", [[], [(set(), True)], [(set(), False)]])
def test_nothing_is_released_if_nothing_is_pending(content: list[Stream]) -> None:
    batch = next_batch(release(states_of(content)))
    assert batch.messages == []
    assert list(batch.iterator) == []


def test_data_is_never_compared() -> None:
    """Contract 3.2: equal IDs come in the order of the streams, whatever their data is."""
    states = states_of([({(1, 5), (1, 22)}, True), ({(1, 5), (1, 22)}, True)])
    for state in states:
        state.pending = [(name, entry_id, object()) for name, entry_id, _ in state.pending]
    assert [message[0] for message in next_batch(release(states)).messages] == [
        "s0",
        "s1",
        "s0",
        "s1",
    ]


@pytest.mark.parametrize(
    ("watermark", "left"), [((0, 5), 3), ((1, 0), 2), ((2, 7), 1), ((4, 0), 0)]
)
def test_messages_beyond_a_watermark_are_counted(watermark: Pair, left: int) -> None:
    """Contract 3.4: the number of entries to ask for depends on it."""
    (state,) = states_of([({(1, 0), (2, 0), (4, 0)}, True)])
    assert state.count_after(number_of(written(watermark))) == left
    state.pending = []
    assert state.count_after(number_of(written(watermark))) == 0


def names_and_ids(runs: list[Any]) -> list[tuple[str, bytes]]:
    return [(name, entry_id) for name, entry_id, _ in next_batch(runs).messages]


@pytest.mark.parametrize("caught_up", [True, False])
def test_nothing_beyond_a_limit_is_released(caught_up: bool) -> None:
    """Contract 3.3: `hold` keeps messages back that the merge would release."""
    states = states_of([({(1, 0), (3, 0)}, caught_up), ({(2, 0), (4, 0)}, True)])
    limit = number_of(b"2-0")
    assert names_and_ids(release(states, limit)) == [("s0", b"1-0"), ("s1", b"2-0")]
    assert release(states, limit) == []
    assert names_and_ids(release(states, number_of(b"9-9")))[0] == ("s0", b"3-0")


def test_a_limit_beyond_the_watermark_changes_nothing() -> None:
    """Contract 3.2: a stream that has more entries holds back others, however large the limit."""
    states = states_of([({(1, 0)}, False), ({(2, 0)}, True)])
    assert names_and_ids(release(states, number_of(b"9-0"))) == [("s0", b"1-0")]


def test_streams_apart_hold_back_only_their_own_group() -> None:
    """Contract 5.3: a server that is down does not stop the others."""
    states = states_of([({(5, 0)}, True), ({(1, 0)}, False), ({(4, 0)}, True), ({(3, 0)}, True)])
    others, group, another = states[:1], states[1:3], states[3:]
    released = release(others, None, [group, another])
    assert names_and_ids(released) == [("s1", b"1-0"), ("s3", b"3-0"), ("s0", b"5-0")]
    assert [message[1] for message in states[2].pending] == [b"4-0"]


def test_streams_apart_are_held_back_by_the_others() -> None:
    """Contract 3.2: what is read where nothing has failed keeps its order."""
    states = states_of([({(2, 0)}, False), ({(1, 0), (3, 0)}, True)])
    assert names_and_ids(release(states[:1], None, [states[1:]])) == [
        ("s1", b"1-0"),
        ("s0", b"2-0"),
    ]
    assert [message[1] for message in states[1].pending] == [b"3-0"]


def test_equal_ids_come_in_the_order_of_the_streams_and_of_those_apart() -> None:
    """Contract 3.2."""
    states = states_of([({(1, 0)}, True)] * 3)
    released = release([states[2], states[0]], None, [[states[1]]])
    assert [name for name, _ in names_and_ids(released)] == ["s2", "s0", "s1"]


def test_a_batch_has_a_bounded_size_and_leaves_the_rest() -> None:
    """Sorted messages are delivered while they are still in the processor's caches."""
    size = BATCH_SIZE
    runs = release(states_of([({(ms, 0) for ms in range(1, size + 9)}, True)]))
    assert len(next_batch(runs).messages) == size
    assert len(next_batch(runs).messages) == 8
    assert runs == []


def test_a_batch_has_some_messages_of_each_stream_however_many_there_are() -> None:
    """Each batch costs a look at each stream, so it has to be worth it."""
    count = BATCH_SIZE // merge.LEAST_SHARE * 2
    ids = {(ms, 0) for ms in range(1, merge.LEAST_SHARE + 2)}
    runs = release(states_of([(ids, True)] * count))
    assert len(next_batch(runs).messages) == count * merge.LEAST_SHARE
