"""The parser's work grows with the bytes that come, and with nothing else.

Work is counted, not timed: the lines of the library that are run, and the bytes that its
buffer copies or looks through. Twice as much of the same, in pieces of the same size, must
be no more than twice the work, and no byte may cost more than some fixed number of steps.
"""

from __future__ import annotations

import sys
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import NEED_DATA, Parser, ProtocolError, XreadParser
from pystreamredis.protocol.buffer import Buffer
from pystreamredis.protocol.patterns import Pattern

from .resp import encode
from .scripted import entries

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Self

# Lines and bytes for a byte that comes, when each comes on its own.
MOST = 80
# Twice, and what patterns learn on the way.
GROWTH = 2.3
SIZES = [1, 100, 1 << 20]


class Counter:
    """Counts what is done while it is entered."""

    def __init__(self) -> None:
        self.steps = 0

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if "pystreamredis" not in frame.f_code.co_filename:
            return None
        self.steps += event == "line"
        return self._trace


class CountedBytes(bytes):
    """Bytes that count how many of them are looked through or copied."""

    counter: Counter

    def find(self, *args: Any) -> int:
        found = super().find(*args)
        end = len(self) if found < 0 else found
        self.counter.steps += max(0, end - (args[1] if len(args) > 1 else 0))
        return found

    def __contains__(self, what: Any) -> bool:
        self.counter.steps += len(self)
        return super().__contains__(what)

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        self.counter.steps += len(part) if isinstance(key, slice) else 1
        return part


class CountedBuffer(Buffer):
    """A buffer whose bytes count: what it joins was copied."""

    counter: Counter

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, data: bytes) -> None:
        self._data = CountedBytes(data)
        self._data.counter = self.counter
        self.counter.steps += len(data)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    monkeypatch.setattr(CountedBuffer, "counter", counter, raising=False)
    monkeypatch.setattr("pystreamredis.protocol.parser.Buffer", CountedBuffer)
    return counter


def work(counter: Counter, parser: Any, take: Callable[[], Any], data: bytes, size: int) -> int:
    """Feed it in pieces of a size, taking what is there after each; count the steps."""
    pieces = [CountedBytes(data[at : at + size]) for at in range(0, len(data), size)]
    for piece in pieces:
        piece.counter = counter
    counter.steps = 0
    with counter:
        try:
            for piece in pieces:
                parser.feed(piece)
                while take() is not NEED_DATA:
                    pass
        except ProtocolError:
            pass
    return counter.steps


SHAPES: dict[str, Callable[[int], bytes]] = {
    "a string": lambda n: b"$%d\r\n%b\r\n" % (n, b"x" * n),
    "a string of ends of lines": lambda n: b"$%d\r\n%b\r\n" % (n, b"\r\n" * (n // 2)),
    "a string that does not end": lambda n: b"$%d\r\n%b" % (10**8, b"\n" * n),
    "a line": lambda n: b"+%b\r\n" % (b"x" * n),
    "a line that does not end": lambda n: b"+" + b"x" * n,
    "lines": lambda n: b":12345\r\n" * (n // 8),
    "strings in an array": lambda n: b"*%d\r\n%b" % (n // 12, b"$5\r\nhello\r\n" * (n // 12)),
    "empty arrays": lambda n: b"*%d\r\n%b" % (n // 4, b"*0\r\n" * (n // 4)),
    "arrays that nest": lambda n: (b"*1\r\n" * 60 + b":1\r\n") * (n // 244),
    "a map": lambda n: b"%%%d\r\n%b" % (n // 8, b"+k\r\n:1\r\n" * (n // 8)),
    "a streamed string": lambda n: b"$?\r\n%b;0\r\n" % (b";1\r\nx\r\n" * (n // 7)),
    "a streamed array": lambda n: b"*?\r\n%b.\r\n" % (b":1\r\n" * (n // 4)),
    "pushes": lambda n: b">1\r\n+push\r\n" * (n // 11),
    "attributes": lambda n: b"|1\r\n+key\r\n+value\r\n" * (n // 19),
    "an attribute": lambda n: b"|%d\r\n%b" % (n // 8, b"+k\r\n:1\r\n" * (n // 8)),
    "errors": lambda n: b"-ERR no\r\n" * (n // 9),
}
REPLIES: dict[str, Callable[[int], bytes]] = {
    "alike": lambda n: encode(entries("s", *(f"1-{at}" for at in range(1, n // 40)))),
    "of all kinds": lambda n: encode(
        [
            [
                "s",
                [
                    [f"1-{at}", ["f" * (at * 7 % 50), "v" * (at * 13 % 90)]]
                    for at in range(1, n // 90)
                ],
            ]
        ]
    ),
    "of one large value": lambda n: encode([["s", [["1-1", ["f", "v" * n]]]]]),
    "one by one": lambda n: b"".join(encode(entries("s", f"{at}-0")) for at in range(1, n // 50)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_twice_as_many_bytes_are_at_most_twice_the_work(
    counter: Counter, shape: Callable[[int], bytes], size: int
) -> None:
    once, twice = (
        work(counter, parser, parser.next_value, shape(n), size)
        for n, parser in ((4_000, Parser()), (8_000, Parser()))
    )
    assert len(shape(4_000)) / 4 < once < MOST * len(shape(4_000))
    assert twice < GROWTH * once


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", REPLIES.values(), ids=REPLIES)
def test_twice_as_many_entries_are_at_most_twice_the_work(
    counter: Counter, shape: Callable[[int], bytes], size: int
) -> None:
    """What patterns look through is not counted, but how often they are asked is."""
    once, twice = (
        work(counter, parser, parser.next_reply, shape(n), size)
        for n, parser in ((8_000, XreadParser({b"s": "s"})), (16_000, XreadParser({b"s": "s"})))
    )
    assert once < MOST * len(shape(8_000))
    assert twice < GROWTH * once


# What entries of the same size and number of fields may hold, so as to make a reader slow.
ENTRY = 200
RANDOM = Random(1)


def _cut(text: bytes, size: int) -> bytes:
    """Repeat a text to a size."""
    return (text * (size // max(1, len(text)) + 1))[:size]


def _like_an_entry(at: int) -> bytes:
    """A value after which the next entry seems to begin, and to end where the true one does."""
    return b"1\r\n*2\r\n$7\r\n%d-0\r\n*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n" % (10_000 + at)


CONTENTS: dict[str, Callable[[int], tuple[bytes, bytes]]] = {
    "uniform": lambda at: (b"a", b"x"),
    "a few lengths": lambda at: (b"a", b"x" * (at % 9)),
    "any length": lambda at: (b"a", b"x" * RANDOM.randrange(120)),
    "names that do not repeat": lambda at: (b"name-%d" % at, b"x"),
    "names of any length": lambda at: (b"n" * RANDOM.randrange(1, 60) + b"%d" % at, b"x"),
    "forty schemas": lambda at: (b"name-%d" % (at * 7 % 40), b"x"),
    "two schemas by turns": lambda at: (b"ab"[at % 2 : at % 2 + 1], b"x"),
    "line ends": lambda at: (b"a", _cut(b"ab\r\n", RANDOM.randrange(120))),
    "CR": lambda at: (b"a", _cut(b"\r", RANDOM.randrange(120))),
    "line ends alone": lambda at: (b"a", _cut(b"\r\n", 100)),
    "headers": lambda at: (b"a", _cut(b"\r\n$1\r\n", RANDOM.randrange(100))),
    "line ends by turns": lambda at: (b"a", b"\r\nx" * (at % 2)),
    "what looks like an entry": lambda at: (b"a", _like_an_entry(at)),
    "the same after others": lambda at: (b"a", b"x" if at < 2000 else _like_an_entry(at)),
    "the same by turns": lambda at: (b"a", _like_an_entry(at) if at % 3 else b"x"),
    "another length now and then": lambda at: (b"a", b"xyz" if at % 7 else b"x"),
}


def _entry(at: int, content: Callable[[int], tuple[bytes, bytes]]) -> list[Any]:
    """Make an entry of two fields and of a certain size; the last value fills it up."""
    name, value = content(at)
    filling = ENTRY - len(name) - len(value)
    return [b"%d-0" % (10_000 + at), [name, value, b"b", b"y" * filling]]


@pytest.mark.parametrize("content", CONTENTS)
def test_no_content_costs_more_than_three_times_the_cheapest(
    monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """Count calls of any function, and the bytes that a pattern or a split is given."""
    assert _cost(monkeypatch, content) <= 3 * _cost(monkeypatch, "uniform")


# How many bytes are looked through in the time of a call.
CALL = 30


def _cost(monkeypatch: pytest.MonkeyPatch, content: str) -> int:
    read, steps = Pattern.read, 0

    def counting_read(
        self: Pattern, name: object, data: bytes, start: int, end: int, most: int
    ) -> Any:
        nonlocal steps
        steps += end - start
        return read(self, name, data, start, end, most)

    def profile(_: FrameType, event: str, function: Any) -> None:
        nonlocal steps
        steps += CALL * (event in ("call", "c_call"))
        if event == "c_call" and function.__name__ == "split":
            steps += len(function.__self__)

    entries = [_entry(at, CONTENTS[content]) for at in range(6000)]
    replies = [encode([[b"s", entries[at : at + 100]]]) for at in range(0, 6000, 100)]
    parser = XreadParser({b"s": "s"})
    before = sys.getprofile()
    with monkeypatch.context() as patch:
        patch.setattr(Pattern, "read", counting_read)
        sys.setprofile(profile)
        try:
            for reply in replies:
                parser.feed(reply)
                assert parser.next_reply() is not NEED_DATA
        finally:
            sys.setprofile(before)
    return steps


@settings(deadline=None, max_examples=200)
@given(
    data=st.lists(
        st.sampled_from([shape(400) for shape in SHAPES.values()]) | st.binary(max_size=300),
        max_size=12,
    ).map(b"".join),
    size=st.integers(1, 500),
)
def test_no_bytes_in_no_pieces_are_more_work_than_that(data: bytes, size: int) -> None:
    counter = Counter()
    CountedBuffer.counter = counter
    parser = Parser(CountedBuffer())
    assert work(counter, parser, parser.next_value, data, size) <= MOST * (1 + len(data))
