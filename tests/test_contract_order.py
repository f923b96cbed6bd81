"""Contract 3: the order of messages, and what may change it."""

from __future__ import annotations

import inspect
from collections import Counter
from random import Random
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis import Streams
from tests.pythons import frees_at_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.servers import Endpoint

    ID = tuple[int, int]
    Histories = dict[str, list[ID]]

MAX = 2**64 - 1
COUNTS = [1, 2, 3, 7, 100]


def write(embedded: Endpoint, histories: Mapping[str, Iterable[ID]]) -> None:
    """Add an entry with each ID, one that tells its stream."""
    for stream, history in histories.items():
        for ms, sequence in history:
            embedded.command("XADD", stream, f"{ms}-{sequence}", "stream", stream)


def follow(embedded: Endpoint, streams: Any, **options: Any) -> Streams:
    """Follow streams on that server, without waiting unless asked to."""
    return Streams(embedded.host, embedded.port, streams, **{"block": None} | options)


def number(index: bytes) -> ID:
    """The two numbers of an ID."""
    ms, sequence = index.split(b"-")
    return int(ms), int(sequence)


def sorted_union(histories: Histories) -> list[tuple[ID, str]]:
    """What is to come: sorted by ID, equal ones in the order of the streams."""
    pairs = [(index, name) for name, history in histories.items() for index in history]
    return sorted(pairs, key=lambda pair: pair[0])


def all_of(messages: Iterable[Any]) -> list[tuple[ID, str]]:
    """IDs as numbers, and names."""
    return [(number(index), name) for name, index, _ in messages]


# Shapes of histories. Each has its own seed, so that it is the same every time.


def clustered() -> Histories:
    """Many entries in few milliseconds, so that sequences have one to three digits."""
    random = Random("clustered")
    return {
        name: sorted(
            {(1529416095111 + random.randrange(3), random.randrange(120)) for _ in "x" * 70}
        )
        for name in "abcd"
    }


def equal() -> Histories:
    """The same IDs in every stream."""
    return {name: [(i // 4 + 9, i % 4 + 8) for i in range(40)] for name in "dbca"}


def at_the_ends() -> Histories:
    """The smallest and the largest IDs there are, of all lengths in between."""
    random = Random("ends")
    lengths = [10**digits for digits in range(20)]
    middle = [(ms, random.choice(lengths)) for ms in lengths]
    ends = [(0, 1), (0, MAX), (MAX - 1, MAX), (MAX, 0), (MAX, MAX - 1), (MAX, MAX)]
    return {
        name: sorted({*random.sample(middle, 12), *random.sample(ends, 4), (5, MAX)})
        for name in "abc"
    }


def of_different_density() -> Histories:
    """Some entries of one stream for very many of another, at either end and in the middle."""
    return {
        "dense": [(1000 + i // 7, i % 7) for i in range(700)],
        "sparse": [(1001, 0), (1050, 3), (1099, 6), (1100, 0)],
        "before": [(i, 0) for i in range(1, 60)],
        "after": [(5000 + i, 0) for i in range(60)],
        "one": [(1050, 3)],
        "none": [],
    }


def of_many_streams() -> Histories:
    """As many streams as entries."""
    random = Random("many")
    return {
        f"stream{i}": sorted({(random.randrange(8, 12), random.randrange(8, 12)) for _ in "x" * 6})
        for i in range(40)
    }


def one_after_the_other() -> Histories:
    """No stream begins before the one before it has ended."""
    return {name: [(100 * i + j, 0) for j in range(1, 31)] for i, name in enumerate("badc")}


def of_one_stream() -> Histories:
    """Nothing to merge."""
    return {"a": [(i // 10 + 1, i) for i in range(230)]}


SHAPES = [
    clustered,
    equal,
    at_the_ends,
    of_different_density,
    of_many_streams,
    one_after_the_other,
    of_one_stream,
]


@pytest.mark.parametrize("by", ["for", "next"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_the_output_is_the_sorted_union_for_every_count(
    embedded: Endpoint, shape: Callable[[], Histories], by: str
) -> None:
    """Contract 3.1, 3.2, 3.4: every message once, by ID, whatever `count` is."""
    histories = shape()
    write(embedded, histories)
    expected = sorted_union(histories)
    for count in COUNTS:
        with follow(embedded, dict.fromkeys(histories, 0), count=count) as streams:
            found = list(streams) if by == "for" else list(iter(lambda: next(streams, None), None))
            assert all_of(found) == expected, count


@pytest.mark.parametrize("decode_responses", [False, True])
def test_ids_are_compared_as_numbers(embedded: Endpoint, decode_responses: bool) -> None:
    """Contract 3.2: `1-10` after `1-9`, and `10-0` after both."""
    write(embedded, {"a": [(1, 9), (10, 0)], "b": [(1, 10), (9, 0)]})
    with follow(embedded, {"a": 0, "b": 0}, decode_responses=decode_responses) as streams:
        found = [index if isinstance(index, str) else index.decode() for _, index, _ in streams]
    assert found == ["1-9", "1-10", "9-0", "10-0"]


@pytest.mark.parametrize("count", COUNTS)
def test_equal_ids_come_in_the_order_in_which_the_streams_were_given(
    embedded: Endpoint, count: int
) -> None:
    """Contract 3.2: `streams=` first, then keywords, then what was added."""
    names = ["z", "a", "m", "b"]
    write(embedded, {name: [(i, 7) for i in range(8, 13)] for name in names})
    with follow(embedded, ["later", "z", "a"], count=count, m=0) as streams:
        streams.discard("z", "a")
        streams.add({"z": 0, "a": 0}, b=0)
        found = [name for name, _, _ in streams]
    assert found == ["m", "z", "a", "b"] * 5


parts = st.integers(0, 2) | st.integers(8, 11) | st.integers(MAX - 1, MAX)
ids = st.tuples(parts, parts).filter(any)
histories = st.dictionaries(
    st.sampled_from("abcdef"), st.sets(ids, max_size=15).map(sorted), min_size=1
)


@given(histories=histories, count=st.sampled_from(COUNTS), decode_responses=st.booleans())
@settings(max_examples=100)
def test_any_histories_come_as_their_sorted_union(
    embedded: Endpoint, histories: Histories, count: int, decode_responses: bool
) -> None:
    """Contract 3.1, 3.2, 3.4: few streams, many equal IDs."""
    embedded.command("DEL", *"abcdef")
    write(embedded, histories)
    options: dict[str, Any] = {"count": count, "decode_responses": decode_responses}
    with follow(embedded, dict.fromkeys(histories, 0), **options) as streams:
        found = [(index if isinstance(index, bytes) else index.encode()) for _, index, _ in streams]
    assert [number(index) for index in found] == [pair[0] for pair in sorted_union(histories)]


# Memory.


class Held(dict[bytes, bytes]):
    """Data that is counted, stream by stream, for as long as it is in memory."""

    now: ClassVar[Counter[bytes]] = Counter()
    most: ClassVar[Counter[bytes]] = Counter()

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__(pairs)
        stream = self[b"stream"]
        Held.now[stream] += 1
        Held.most[stream] = max(Held.most[stream], Held.now[stream])

    def __del__(self) -> None:
        Held.now[self[b"stream"]] -= 1


@frees_at_once
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_at_most_twice_count_messages_of_a_stream_are_held_in_memory(
    embedded: Endpoint, shape: Callable[[], Histories], count: int
) -> None:
    """Contract 3.4: neither of those that wait nor of those that were handed over."""
    histories = shape()
    write(embedded, histories)
    Held.now.clear()
    Held.most.clear()
    number_of_messages = 0
    with follow(embedded, dict.fromkeys(histories, 0), count=count, fields=Held) as streams:
        for message in streams:
            assert message[2][b"stream"].decode() == message[0]
            del message
            number_of_messages += 1
    assert number_of_messages == len(sorted_union(histories))
    assert Held.most
    assert max(Held.most.values()) <= 2 * count


@frees_at_once
def test_at_most_twice_count_are_held_of_a_stream_that_is_far_ahead(embedded: Endpoint) -> None:
    """Contract 3.4: a stream that waits for others is not read further."""
    count = 10
    history: Histories = {
        "ahead": [(1000 + i, 0) for i in range(500)],
        # Lets one message go and keeps all others of the first read waiting.
        "behind": [(900 + i, 0) for i in range(9)] + [(1000, 1)],
    }
    write(embedded, history)
    Held.now.clear()
    Held.most.clear()
    with follow(embedded, dict.fromkeys(history, 0), count=count, fields=Held) as streams:
        found = [message[:2] for message in streams]
    assert [(number(index), name) for name, index in found] == sorted_union(history)
    assert Held.most[b"ahead"] <= 2 * count


# While streams are being written.


@pytest.mark.parametrize("count", [1, 3, 100])
def test_what_one_writer_writes_in_order_comes_in_order(embedded: Endpoint, count: int) -> None:
    """Contract 3.1, 3.2: over all streams, since each read sees what was there at one moment."""
    random = Random(count)
    written = [((1000 + i // 3, i), random.choice("abcd")) for i in range(1500)]

    def work() -> None:
        for (ms, sequence), stream in written:
            embedded.command("XADD", stream, f"{ms}-{sequence}", "stream", stream)

    with follow(embedded, ["a", "b", "c", "d"], count=count, block=60_000) as streams:
        writer = Thread(target=work)
        writer.start()
        found = [next(streams) for _ in written]
        writer.join()
    assert all_of(found) == written


def test_each_stream_stays_in_order_while_several_write(embedded: Endpoint) -> None:
    """Contract 3.1: every message once, in the order of its stream."""
    per_stream = 150
    script = "return redis.call('XADD', KEYS[1], '*', 'stream', KEYS[1])"
    added: dict[str, list[bytes]] = {name: [] for name in "abc"}

    def work() -> None:
        for _ in range(per_stream):
            for name, ids in added.items():
                ids.append(embedded.command("EVAL", script, 1, name))

    with follow(embedded, list(added), count=7, block=60_000) as streams:
        writer = Thread(target=work)
        writer.start()
        found = [next(streams) for _ in range(per_stream * len(added))]
        writer.join()
    for name, ids in added.items():
        assert [index for own, index, _ in found if own == name] == ids


def test_a_message_is_handed_over_as_soon_as_it_arrives(embedded: Endpoint) -> None:
    """Contract 3.3: it waits for no other stream, nor for `block` to be over."""
    with follow(embedded, ["a", "b"], block=0) as streams:
        for i in range(1, 21):
            write(embedded, {"ab"[i % 2]: [(i, 0)]})
            assert all_of([next(streams)]) == [((i, 0), "ab"[i % 2])]


def test_one_that_is_created_late_with_a_smaller_id_comes_when_it_comes(embedded: Endpoint) -> None:
    """Contract 3.3: late, but it comes, and once."""
    with follow(embedded, ["a", "b"], block=0) as streams:
        for i in range(1, 11):
            write(embedded, {"a": [(1000 + i, 0)]})
            assert all_of([next(streams)]) == [((1000 + i, 0), "a")]
            write(embedded, {"b": [(i, 0)]})
            assert all_of([next(streams)]) == [((i, 0), "b")]


def test_hold_is_an_option_that_is_off() -> None:
    """Contract 3.3: the default of `hold` is 0."""
    assert inspect.signature(Streams).parameters["hold"].default == 0


def test_hold_keeps_messages_back_so_that_late_ones_are_sorted_in(embedded: Endpoint) -> None:
    """Contract 3.3: `hold=<ms>`."""
    with follow(embedded, ["a", "b"], block=60_000, hold=700) as streams:
        assert list(streams.positions) == ["a", "b"]
        began = monotonic()
        write(embedded, {"a": [(2, 0), (4, 0)]})
        write(embedded, {"b": [(1, 0), (3, 0)]})
        found = [next(streams) for _ in range(4)]
        assert monotonic() - began >= 0.7
    assert all_of(found) == [((1, 0), "b"), ((2, 0), "a"), ((3, 0), "b"), ((4, 0), "a")]
