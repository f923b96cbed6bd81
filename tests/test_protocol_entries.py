"""`pystreamredis.protocol.entries` and `patterns`: runs of entries are read fast, and read right.

A pattern is made of the entries that came before, so each test here first lets a
parser see many of a stream, and then replies that set out to deceive it: values
that imitate structure, lengths that lie, entries that are like the others but for one
byte. What has to come out is what the parser of values and `stream_replies_of` make of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol import NEED_DATA, MessageFactory, Parser, XreadParser
from pystreamredis.protocol.entries import slice_strings
from pystreamredis.protocol.ids import number_of
from pystreamredis.protocol.patterns import Pattern

from .wire import (
    Entry,
    Outcome,
    Stream,
    array,
    bulk,
    by_whole_values,
    by_xread_parser,
    bytewise,
    drain,
    encode_entry,
    encode_reply,
    random_pieces,
    typed,
)

NAMES: dict[bytes, Any] = {b"s": "s", b"t": "t", b"": "", b"1\r\n$5": "odd", b"\xff": "\udcff"}
KEYS = sorted(NAMES)

MAKERS: dict[str, MessageFactory] = {
    "dict": MessageFactory(),
    "list": MessageFactory(list),
    "callable": MessageFactory(tuple),
    "text": MessageFactory(dict, "utf-8", "surrogateescape"),
    "list of text": MessageFactory(list, "utf-8", "surrogateescape"),
    "callable of text": MessageFactory(tuple, "ascii", "replace"),
    "latin": MessageFactory(list, "latin-1"),
    # Where lengths in letters are not those in bytes, or letters depend on those before.
    "letters left out": MessageFactory(list, "ascii", "ignore"),
    "letters added": MessageFactory(list, "ascii", "backslashreplace"),
    "two bytes a letter": MessageFactory(list, "utf-16", "replace"),
    "with a mark before": MessageFactory(list, "utf-8-sig", "replace"),
    "shifted letters": MessageFactory(list, "iso2022_jp", "replace"),
    "seven bits": MessageFactory(list, "utf-7", "replace"),
}

# How a column of values looks. Patterns treat short and long, even and uneven, text and
# other bytes each in their own way, and so do these.
Column = Callable[[Random], bytes]
COLUMNS: dict[str, Column] = {
    "constant": lambda random: b"%05d" % random.randrange(100_000),
    "numbers": lambda random: b"%d" % random.randrange(10 ** random.randint(1, 9)),
    "words": lambda random: random.choice((b"", b"on", b"off", b"on\n", b"\xc3\xa4", b"$", b"\t")),
    "uneven": lambda random: b"v" * random.randrange(200),
    "long": lambda random: random.randbytes(300),
    "long text": lambda random: b"x" * 300,
    "line ends": lambda random: random.choice((b"\r\n", b"a\r\nb", b"\r", b"\n\r\n", b"ab")),
    "bytes": lambda random: random.randbytes(random.randrange(12)),
    "high": lambda random: bytes(random.choices((0xC3, 0xA4, 0xFF, 0x80, 0x2B), k=3)),
}
FIELDS = [b"a", b"b", b"index", b"", b"a.b", b"(", b"\xff", b"a\r\n", b"1\r\n$5\r\nindex", b"$1"]

Schema = list[tuple[bytes, Column]]


class Forger:
    """Makes replies that look alike, and others that only seem to."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.schemas = [self._schema() for _ in range(self.random.choice((1, 1, 1, 2, 3, 12)))]
        # Mostly as servers number them, else of any number of digits.
        self.digits = self.random.choice(((13, 1), (13, 1), (20, 20), (0, 0)))
        self.scraps = [b""]

    def _schema(self) -> Schema:
        size = self.random.choice((0, 1, 1, 2, 3, 3, 6))
        names = self.random.choices(FIELDS, k=size)
        columns = self.random.choices(list(COLUMNS.values()), k=size)
        return list(zip(names, columns, strict=True))

    def entry_id(self) -> bytes:
        digits = [length or self.random.randint(1, 19) for length in self.digits]
        numbers = [self.random.randrange(10 ** min(length, 19)) for length in digits]
        return b"%d-%d" % tuple(numbers)

    def entry(self, schema: Schema, *, deceit: float) -> Entry:
        items: list[bytes] = []
        for name, column in schema:
            items += name, self._value(column, deceit)
        return self.entry_id(), items

    def _value(self, column: Column, deceit: float) -> bytes:
        if self.random.random() >= deceit:
            return column(self.random)
        forge = self.random.choice((self._scrap, self._continued, self._renamed, self._changed))
        return forge(column)

    def _scrap(self, _: Column) -> bytes:
        """A piece of a reply, between two line ends or anywhere."""
        scrap = self.random.choice(self.scraps)
        ends = [match.end() for match in re.finditer(b"\r\n", scrap)] or [0]
        if self.random.random() < 0.3:
            ends = list(range(len(scrap) + 1))
        start, end = sorted(self.random.choices(ends, k=2))
        return scrap[start:end].removesuffix(b"\r\n")

    def _continued(self, column: Column) -> bytes:
        """A value, and behind it the rest of an entry and whole ones: all but their last CRLF."""
        schema = self.random.choice(self.schemas)
        entries = [self.entry(schema, deceit=0) for _ in range(self.random.randint(1, 3))]
        forged = b"".join(map(encode_entry, entries))
        return column(self.random) + b"\r\n" + forged[:-2]

    def _renamed(self, column: Column) -> bytes:
        """A value, and behind it the header of another stream with entries of its own."""
        schema = self.random.choice(self.schemas)
        entries = [self.entry(schema, deceit=0) for _ in range(self.random.randint(0, 3))]
        streams = encode_reply([(self.random.choice(KEYS), entries)])
        forged = streams[4 * self.random.randint(0, 1) :]
        return column(self.random) + b"\r\n" + forged[:-2]

    def _changed(self, column: Column) -> bytes:
        """A value of its column but for a byte more, less or other than usual."""
        value = column(self.random)
        at = self.random.randint(0, len(value))
        more = self.random.choice((b"", b"x", b"\r", b"\n", b"\r\n", b"\xff", b"xx"))
        return value[:at] + more + value[at + self.random.randint(0, 1) :]

    def streams(self, *, least: int, most: int, deceit: float) -> list[Stream]:
        """Streams of some entries each; a run of one schema ends now and then."""
        streams = []
        for key in self.random.sample(KEYS, self.random.randint(1, 3)):
            schema = self.random.choice(self.schemas)
            entries = []
            for _ in range(self.random.randint(least, most)):
                if self.random.random() < 0.05:
                    schema = self.random.choice(self.schemas)
                if self.random.random() < deceit / 10:
                    schema = self._schema()
                entries.append(self.entry(schema, deceit=deceit))
            streams.append((key, self._in_order(entries)))
        return streams

    def _in_order(self, entries: list[Entry]) -> list[Entry]:
        ids: set[bytes] = set()
        while len(ids) < len(entries):
            ids.add(self.entry_id())
        return [
            (entry_id, items)
            for entry_id, (_, items) in zip(sorted(ids, key=number_of), entries, strict=True)
        ]

    def reply(self, *, least: int = 0, most: int = 30, deceit: float = 0.0) -> bytes:
        streams = self.streams(least=least, most=most, deceit=deceit)
        data = encode_reply(streams, resp3=self.random.random() < 0.5)
        self.scraps.append(data)
        return data

    def lessons(self) -> list[bytes]:
        """Replies to learn from: more than enough for patterns of most of the streams."""
        return [self.reply(least=90, most=110) for _ in range(4)]


def _after(
    lessons: list[bytes], pieces: list[bytes], maker: MessageFactory
) -> tuple[list[Any], Outcome]:
    """What is made of `lessons`, and then of `pieces` by a parser that has read them."""
    parser = XreadParser(NAMES, maker)
    parser.feed(b"".join(lessons))
    learned = [parser.next_reply() for _ in lessons]
    assert parser.next_reply() is NEED_DATA
    return learned, drain(parser.feed, parser.next_reply, pieces)


def _check(forger: Forger, data: bytes, maker: MessageFactory) -> None:
    """Both ways agree on well-formed replies, in all kinds of pieces."""
    lessons = forger.lessons()
    expected = by_whole_values(b"".join(lessons) + data, NAMES, maker)
    assert expected.error is None
    for pieces in ([data], random_pieces(data, forger.random)):
        learned, outcome = _after(lessons, pieces, maker)
        assert typed(learned + outcome.values) == typed(expected.values)
        assert outcome.error is None


SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, maker=st.sampled_from(sorted(MAKERS)))
def test_replies_like_those_before_are_read_the_same(seed: int, maker: str) -> None:
    forger = Forger(seed)
    _check(forger, b"".join(forger.reply() for _ in range(5)), MAKERS[maker])


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS, maker=st.sampled_from(sorted(MAKERS)), deceit=st.sampled_from([0.02, 0.1, 0.5]))
def test_values_that_imitate_structure_deceive_nobody(seed: int, maker: str, deceit: float) -> None:
    """Cut out of real replies, forged headers and entries behind them, lengths not yet seen."""
    forger = Forger(seed)
    _check(forger, b"".join(forger.reply(deceit=deceit) for _ in range(5)), MAKERS[maker])


def test_lessons_that_deceive_teach_nothing_wrong() -> None:
    """Patterns are made of hostile entries too."""
    for seed in range(12):
        forger = Forger(seed)
        data = b"".join(forger.reply(least=60, most=150, deceit=0.3) for _ in range(3))
        expected = by_whole_values(data, NAMES, MAKERS["list"])
        assert typed(_after([], [data], MAKERS["list"])[1]) == typed(expected)


def test_entries_may_come_in_any_two_pieces() -> None:
    """A reply cut at each of its bytes, by a parser that has patterns for it."""
    forger = Forger(7)
    forger.schemas = [[(b"a", COLUMNS["numbers"]), (b"b", COLUMNS["line ends"])]]
    lessons = forger.lessons()
    data = forger.reply(least=3, most=6, deceit=0.2)
    expected = by_whole_values(data, NAMES, MAKERS["dict"])
    for cut in range(1, len(data)):
        _, outcome = _after(lessons[:1], [data[:cut], data[cut:]], MAKERS["dict"])
        assert typed(outcome) == typed(expected)


def test_entries_may_come_byte_by_byte() -> None:
    for seed in range(10):
        forger = Forger(seed)
        lessons = forger.lessons()
        data = forger.reply(deceit=0.1)
        expected = by_whole_values(data, NAMES, MAKERS["text"])
        _, outcome = _after(lessons, bytewise(data), MAKERS["text"])
        assert typed(outcome) == typed(expected)


# The cases that the argument for soundness turns on, each by itself.

ROW: Schema = [(b"a", COLUMNS["constant"]), (b"b", COLUMNS["numbers"])]
LEARNED: list[Entry] = [
    (b"1529416095%03d-%d" % (n, n % 11), [b"a", b"%05d" % n, b"b", b"%d" % n]) for n in range(150)
]
LESSONS = [encode_reply([(b"s", LEARNED), (b"t", LEARNED)])]


def _row(at: int, first: bytes = b"00000", last: bytes = b"1") -> bytes:
    return encode_entry((b"1529416096%03d-0" % at, [b"a", first, b"b", last]))


def _both(data: bytes, maker: MessageFactory) -> tuple[Outcome, Outcome]:
    """What both ways make of `data`, after lessons."""
    return by_whole_values(data, NAMES, maker), _after(LESSONS, [data], maker)[1]


@pytest.mark.parametrize("maker", ["dict", "list", "text"])
@pytest.mark.parametrize("rows", [1, 2, 3, 30])
def test_the_last_value_of_a_stream_may_hold_a_forged_stream(maker: str, rows: int) -> None:
    """Nothing but the length tells it from the real one that comes in its place."""
    forged = encode_reply([(b"t", [(b"1529416096000-0", [b"a", b"66666", b"b", b"6"])])])[4:]
    hostile = b"1\r\n" + forged[:-2]
    entries = b"".join(_row(at) for at in range(rows - 1)) + _row(rows, last=hostile)
    data = b"*2\r\n" + array(bulk(b"s"), b"*%d\r\n%b" % (rows, entries))
    data += array(bulk(b"t"), array(_row(0, last=b"77")))
    expected, outcome = _both(data, MAKERS[maker])
    assert expected.error is None
    assert typed(outcome) == typed(expected)
    assert len(outcome.values[0][0][1]) == rows


@pytest.mark.parametrize("maker", ["dict", "text"])
@pytest.mark.parametrize("swallowed", [1, 2, 5])
def test_a_value_may_hold_entries_of_its_own_stream(maker: str, swallowed: int) -> None:
    """The number of entries tells no more than the lengths do."""
    for column in (0, 1):
        inner = b"".join(_row(at, first=b"66666") for at in range(swallowed))
        values = [b"00000", b"1"]
        values[column] = values[column] + b"\r\n" + inner[:-2]
        rows = [_row(0), _row(1, *values), *[_row(at) for at in range(2, 8)]]
        data = array(array(bulk(b"s"), array(*rows)))
        expected, outcome = _both(data, MAKERS[maker])
        assert expected.error is None
        assert typed(outcome) == typed(expected)
        assert len(outcome.values[0][0][1]) == 8


@pytest.mark.parametrize("maker", ["dict", "text"])
@pytest.mark.parametrize(
    "stated", [b"0", b"4", b"6", b"05", b"+5", b"-5", b" 5", b"5 ", b"\xd9\xa5", b"", b"50", b"5\r"]
)
def test_a_length_that_lies_is_found_out(maker: str, stated: bytes) -> None:
    """In the first, a middle and the last entry, also by digits that are not of ASCII."""
    for lie in (0, 4, 9):
        rows = [_row(at) for at in range(10)]
        rows[lie] = rows[lie].replace(b"$5\r\n", b"$" + stated + b"\r\n")
        data = array(array(bulk(b"s"), array(*rows)))
        expected, outcome = _both(data + b"+x\r\n" * 50, MAKERS[maker])
        assert expected.error is not None
        assert outcome.error is not None
        assert not outcome.values


@pytest.mark.parametrize("stated", [b"0", b"99", b"101", b"0100", b"+100", b"\xd9\xa1", b"1000"])
@pytest.mark.parametrize(
    "values",
    [
        [b"v" * (n % 200) for n in range(150)],  # any length
        [b"\r\n" * (n % 60) for n in range(150)],  # known lengths, and anything in them
        [b"v" * 100] * 150,
    ],
)
def test_a_length_that_lies_is_found_out_in_every_kind_of_column(
    values: list[bytes], stated: bytes
) -> None:
    entries = [(b"%d-0" % n, [b"a", value]) for n, value in enumerate(values)]
    lessons = [encode_reply([(b"s", entries)])]
    lie = encode_entry((b"10-0", [b"a", b"v" * 100])).replace(b"$100\r\n", b"$%b\r\n" % stated)
    rows = [encode_entry(entry) for entry in entries[:21]]
    rows[10] = lie
    data = array(array(bulk(b"s"), array(*rows))) + b"+x\r\n" * 400
    assert by_whole_values(data, NAMES, MAKERS["dict"]).error is not None
    _, outcome = _after(lessons, [data], MAKERS["dict"])
    assert outcome.error is not None
    assert not outcome.values


ID = b"1529416096000-0"


@pytest.mark.parametrize(
    "other",
    [
        array(bulk(ID), array(bulk(b"a"), bulk(b"00000"))),  # a field less
        array(bulk(ID), array(*map(bulk, [b"a", b"0", b"b", b"1", b"c", b"2"]))),
        array(bulk(ID), array(*map(bulk, [b"b", b"1", b"a", b"00000"]))),  # other order
        array(bulk(ID), array(*map(bulk, [b"A", b"00000", b"b", b"1"]))),  # other name
        array(bulk(ID), array(*map(bulk, [b"a", b"00000", b"bb", b"1"]))),
        array(bulk(ID), b"*0\r\n"),
        array(b"+%b\r\n" % ID, array(*map(bulk, [b"a", b"00000", b"b", b"1"]))),  # simple strings
        array(bulk(ID), array(b"+a\r\n", b"+00000\r\n", b"+b\r\n", b"+1\r\n")),
        array(bulk(ID), b"*?\r\n+a\r\n+0\r\n.\r\n"),
        array(bulk(ID), array(bulk(b"a"), b"$?\r\n;5\r\n00000\r\n;0\r\n")),
        b"|1\r\n+x\r\n+y\r\n" + array(bulk(ID), array(bulk(b"a"), bulk(b"00000"))),
    ],
)
def test_an_entry_unlike_the_others_is_read_and_the_others_too(other: bytes) -> None:
    """Wherever it stands in a run, the run goes on behind it."""
    for place in (0, 1, 10, 19):
        rows = [_row(at) for at in range(20)]
        rows[place] = other.replace(ID, b"1529416096%03d-0" % place)
        expected, outcome = _both(array(array(bulk(b"s"), array(*rows))), MAKERS["list"])
        assert expected.error is None
        assert typed(outcome) == typed(expected)


@pytest.mark.parametrize(
    "other",
    [
        b"*-1\r\n",
        b"_\r\n",
        b"-ERR a\r\n",
        b">0\r\n",
        array(bulk(ID)),
        array(bulk(b"1"), b"*0\r\n"),
        array(bulk(b"1-\xd9\xa5"), b"*0\r\n"),
        array(bulk(b"1" * 21 + b"-0"), b"*0\r\n"),
        array(bulk(b"1529416096000-"), array(*map(bulk, [b"a", b"00000", b"b", b"1"]))),
        array(bulk(b"15294160960000"), array(*map(bulk, [b"a", b"00000", b"b", b"1"]))),
        array(bulk(ID), array(*map(bulk, [b"a", b"00000", b"b"]))),
        array(bulk(ID), array(bulk(b"a"), b"$-1\r\n")),
        array(bulk(ID), array(bulk(b"a"), b":1\r\n")),
        array(bulk(ID), array(bulk(b"a"), b"=5\r\ntxt:0\r\n")),
        array(bulk(ID), b"*-1\r\n"),
        array(bulk(ID), b"%0\r\n"),
    ],
)
def test_what_is_no_entry_is_refused_within_a_run(other: bytes) -> None:
    for place in (0, 1, 10, 19):
        rows = [_row(at) for at in range(20)]
        rows[place] = other.replace(ID, b"1529416096%03d-0" % place)
        expected, outcome = _both(array(array(bulk(b"s"), array(*rows))), MAKERS["list"])
        assert expected.error is not None
        assert outcome.error is not None
        assert not outcome.values


def test_the_largest_id_of_all_may_come_last() -> None:
    largest = b"%d-%d" % (2**64 - 1, 2**64 - 1)
    rows = [*map(_row, range(20)), encode_entry((largest, [b"a", b"00000", b"b", b"1"]))]
    expected, outcome = _both(array(array(bulk(b"s"), array(*rows))), MAKERS["list"])
    assert expected.error is None
    assert typed(outcome) == typed(expected)


@pytest.mark.parametrize("maker", ["dict", "text", "two bytes a letter"])
@pytest.mark.parametrize(("at", "as_at"), [(1, 0), (1, 1), (19, 18), (19, 3), (10, 9), (10, 11)])
def test_entries_that_are_not_in_order_are_refused_within_a_run(
    at: int, as_at: int, maker: str
) -> None:
    """Where an ID comes twice, or a smaller one after a larger one."""
    rows = [_row(number) for number in range(20)]
    rows[at : at + 1] = [rows[as_at]] if as_at != at else [rows[at]] * 2
    expected, outcome = _both(array(array(bulk(b"s"), array(*rows))), MAKERS[maker])
    assert "expected the larger ID later" in str(expected.error)
    assert outcome.error == expected.error
    assert not outcome.values


@pytest.mark.parametrize("at", range(120, 170))
def test_entries_are_in_order_also_where_one_match_ends_and_the_next_begins(at: int) -> None:
    """A pattern is given some hundred of them at once; where that ends is not to be seen."""
    rows = [_row(number) for number in range(300)]
    rows[at] = rows[at - 1]
    _, outcome = _after(LESSONS, [array(array(bulk(b"s"), array(*rows)))], MAKERS["dict"])
    assert "expected the larger ID later" in str(outcome.error)


@pytest.mark.parametrize("stated", [0, 1, 9, 11, 1000])
def test_the_number_of_entries_is_what_the_header_says(stated: int) -> None:
    """More of them may follow, which are then no reply, and fewer are not enough."""
    rows = b"".join(_row(at) for at in range(10))
    data = b"*1\r\n*2\r\n$1\r\ns\r\n*%d\r\n%b" % (stated, rows)
    expected, outcome = _both(data, MAKERS["dict"])
    assert typed(outcome.values) == typed(expected.values)
    assert (outcome.error is None) is (expected.error is None)
    assert [len(reply[0][1]) for reply in outcome.values] == ([stated] if stated < 10 else [])


def test_streams_that_begin_alike_may_go_on_differently() -> None:
    """What was learned of one stream is not believed of another."""
    alike = [(b"%d-0" % n, [b"a", b"00000", b"b", b"1"]) for n in range(150)]
    other = [(b"%d-1" % n, [b"a", b"x" * (n % 70), b"c", b"\r\n"]) for n in range(150)]
    streams = [(b"s", alike), (b"t", alike[:1] + other), (b"", other[:1] + alike[1:])]
    for resp3 in (False, True):
        expected, outcome = _both(encode_reply(streams, resp3=resp3) * 2, MAKERS["list"])
        assert typed(outcome) == typed(expected)


def test_shapes_that_share_their_beginnings_are_told_apart() -> None:
    """Alternatives that match in part, and then do not, leave nothing behind."""
    random = Random(3)
    shapes = [[b"a"], [b"a", b"b"], [b"a", b"c"], [b"a", b"b", b"c"], [b"a", b"b", b"d"], []]
    entries: list[Entry] = []
    for n in range(1000):
        items = [item for name in random.choice(shapes) for item in (name, b"%d" % (n % 120))]
        entries.append((b"%d-0" % n, items))
    for maker in ("dict", "text"):
        expected, outcome = _both(encode_reply([(b"s", entries)]) * 2, MAKERS[maker])
        assert typed(outcome) == typed(expected)


SHAPES: list[tuple[tuple[bytes, ...], Callable[[int], tuple[bytes, ...]]]] = [
    # Names, and a value of each: at one place some are plain, and others hold line ends.
    ((b"a", b"b", b"c"), lambda n: (b"%d" % n, b"x" * (n % 40), b"00000")),
    ((b"a", b"d"), lambda n: (b"\r\n" * (n % 7), b"%d" % (n % 120))),
    ((b"e", b"b", b"c", b"f"), lambda n: (b"%d" % n, b"\r" * 3, b"\n", b"\r" * (n % 4))),
    ((b"g", b"h", b"c"), lambda n: (b"", b"00", b"")),
    ((), lambda n: ()),
]


def _items(names: tuple[bytes, ...], values: tuple[bytes, ...]) -> list[bytes]:
    return [item for pair in zip(names, values, strict=True) for item in pair]


@pytest.mark.parametrize("maker", ["dict", "list", "text"])
@pytest.mark.parametrize("wrong", ["", "names", "length", "number"])
def test_shapes_share_what_is_captured_but_nothing_else(maker: str, wrong: str) -> None:
    """Each has its own names, lengths and number of columns, whatever those of others are."""
    random = Random(7)
    lessons, entries = [], []
    for n in range(1200):
        names, values_of = random.choice(SHAPES)
        values = values_of(n)
        lessons.append((b"%d-0" % n, _items(names, values)))
        others, _ = random.choice(SHAPES)
        if wrong == "names" and n % 5 == 0 and len(others) >= len(names):
            # Those of another from some place on.
            names = names[: n % 3] + others[n % 3 : len(names)]
        if wrong == "number" and n % 5 == 0:
            names, values = (*names, b"c"), (*values, b"00000")
        entry = array(bulk(b"%d-0" % n), array(*map(bulk, _items(names, values))))
        if wrong == "length" and n % 100 == 99:
            entry = entry.replace(b"$5\r\n00000", b"$6\r\n00000").replace(b"$2\r\n00", b"$1\r\n00")
        entries.append(entry)
    data = array(array(bulk(b"s"), array(*entries)))
    expected = by_whole_values(data, NAMES, MAKERS[maker])
    _, outcome = _after([encode_reply([(b"s", lessons)])] * 2, [data], MAKERS[maker])
    assert typed(outcome.values) == typed(expected.values)
    assert (outcome.error is None) is (expected.error is None)
    assert (outcome.error is not None) is (wrong == "length")


@pytest.mark.parametrize("size", [0, 1, 60, 130, 300])
def test_entries_may_have_many_fields(size: int) -> None:
    names = [b"field%d" % at for at in range(size)]
    entries = [
        (b"%d-0" % n, [item for name in names for item in (name, b"%d" % n)]) for n in range(200)
    ]
    expected, outcome = _both(encode_reply([(b"s", entries)]) * 2, MAKERS["dict"])
    assert typed(outcome) == typed(expected)


def test_every_entry_may_have_other_fields() -> None:
    """No end of shapes: what is learned of them is bounded, and right."""
    entries = [(b"%d-0" % n, [b"f%d" % (n % 90), b"%d" % n, b"g%d" % n, b""]) for n in range(600)]
    expected, outcome = _both(encode_reply([(b"s", entries)]) * 3, MAKERS["list"])
    assert typed(outcome) == typed(expected)


def test_there_is_an_end_to_learning() -> None:
    """Entries of ever other IDs, fields and numbers of fields are read, but taught no more."""
    entries: list[Entry] = [
        (
            b"%d-%d" % (n, 10 ** (n % 20)),
            [b"%d" % (n * 7919 % 1009 + at) for at in range(2 * (n % 13))],
        )
        for n in range(9000)
    ]
    expected, outcome = _both(encode_reply([(b"s", entries)]), MAKERS["list"])
    assert outcome == expected


@pytest.mark.parametrize("maker", ["dict", "text", "two bytes a letter"])
@pytest.mark.parametrize(
    "entry_id",
    [
        b"17000000000x0-7",
        b"1700000000000-x",
        b"170-000000000-7",
        b"1700000000000--",
        b"\xff" * 13 + b"-7",
    ],
)
@pytest.mark.parametrize("at", [100, 150, 199])
def test_ids_of_the_usual_length_that_are_none(entry_id: bytes, at: int, maker: str) -> None:
    entries = [(b"17%011d-%d" % (n, n % 10), [b"a", b"b"]) for n in range(200)]
    entries[at] = (entry_id, [b"a", b"b"])
    expected, outcome = _both(encode_reply([(b"s", entries)]), MAKERS[maker])
    assert "expected an entry's ID" in str(outcome)
    assert outcome == expected


def test_names_of_fields_are_taken_literally() -> None:
    """They stand in a regular expression, and are nothing of one."""
    names = [b".*", b"(?:a)", b"[^\r]*", b"\\d+", b"a|b", b"{0}", b"%d", b"\x00", b"#", b"\r\n"]
    entries = [
        (b"%d-0" % n, [item for name in names for item in (name, b"%d" % n)]) for n in range(200)
    ]
    spoilt = [(entry_id, [items[0].replace(b".", b"x"), *items[1:]]) for entry_id, items in entries]
    for maker in ("dict", "text"):
        data = encode_reply([(b"s", entries)]) + encode_reply([(b"s", spoilt)])
        expected, outcome = _both(data, MAKERS[maker])
        assert typed(outcome) == typed(expected)


# Mutations: valid replies with one thing changed. The two ways agree on what comes of it.

STRUCTURE = b"\r\n$*%~|>+-:_;.?0123456789ab\xff\x00"
HEADER = re.compile(rb"[$*%][0-9]+\r\n")
BULK = re.compile(rb"\$([0-9]{1,3})\r\n")


def _flip(data: bytes, random: Random) -> bytes:
    headers = [found.start() for found in HEADER.finditer(data)]
    at = random.choice(headers) if random.random() < 0.5 else random.randrange(len(data))
    other = (
        data[at] ^ 1 << random.randrange(8) if random.random() < 0.3 else random.choice(STRUCTURE)
    )
    return data[:at] + bytes([other]) + data[at + 1 :]


def _insert(data: bytes, random: Random) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + bytes([random.choice(STRUCTURE)]) + data[at:]


def _remove(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + 1 :]


def _restate(data: bytes, random: Random) -> bytes:
    """Another number in a header."""
    found = random.choice(list(HEADER.finditer(data)))
    stated = int(data[found.start() + 1 : found.end() - 2])
    others: list[bytes] = [
        b"%d" % (stated + random.choice((-2, -1, 1, 2, 10))),
        b"%d" % (stated + random.randrange(400)),
        b"0%d" % stated,
        b"+%d" % stated,
        b" %d" % stated,
        b"%d " % stated,
        b"-1",
        b"",
        "".join(chr(0x660 + int(digit)) for digit in str(stated)).encode(),
        b"%d" % 10 ** random.randint(5, 30),
    ]
    return data[: found.start() + 1] + random.choice(others) + data[found.end() - 2 :]


def _swallow(data: bytes, random: Random) -> bytes:
    """The length of a string stated so that it ends at a later line's end."""
    found = random.choice(list(BULK.finditer(data)))
    ends = [end.start() for end in re.finditer(b"\r\n", data[found.end() :])][:30]
    return data[: found.start()] + b"$%d\r\n" % random.choice(ends or [0]) + data[found.end() :]


def _replace(data: bytes, random: Random) -> bytes:
    """Something else instead of a string."""
    found = random.choice(list(BULK.finditer(data)))
    size = int(found[1])
    string = data[found.end() : found.end() + size]
    others = [
        b":1\r\n",
        b"_\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"+%b\r\n" % string,
        b"=" + bulk(b"txt:" + string)[1:],
        b"!" + bulk(string)[1:],
        b">" + bulk(string)[1:],
        b"|1\r\n+a\r\n:1\r\n" + bulk(string),
        b"$?\r\n" + (b";" + bulk(string)[1:] if string else b"") + b";0\r\n",
        bulk(string + b"\r\n"),
        bulk(string) * 2,
        b"",
    ]
    return data[: found.start()] + random.choice(others) + data[found.end() + size + 2 :]


def _end_line(data: bytes, random: Random) -> bytes:
    found = random.choice(list(re.finditer(b"\r\n", data)))
    other = random.choice(
        (b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n\r\n", b"", b"  ", b"\r\x0a\x00")
    )
    return data[: found.start()] + other + data[found.end() :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


MUTATIONS = [_flip, _insert, _remove, _restate, _swallow, _replace, _end_line, _cut]


def _check_mutation(seed: int, mutate: Callable[[bytes, Random], bytes], maker: str) -> None:
    forger = Forger(seed)
    random = forger.random
    lessons = forger.lessons()
    before, spoilt = forger.reply(deceit=0.05), forger.reply(least=1, most=12, deceit=0.05)
    # What a length that lies would take in, or leave over.
    after = random.choice((b"", b":1\r\n" * 100, spoilt, forger.reply()))
    data = before + mutate(spoilt, random) + after
    expected = by_whole_values(data, NAMES, MAKERS[maker])
    for pieces in ([data], random_pieces(data, random)):
        _, outcome = _after(lessons, pieces, MAKERS[maker])
        assert typed(outcome.values) == typed(expected.values)
        if expected.error is not None:
            assert outcome.error is not None
        elif outcome.error is not None:
            # The parser of values has no whole value yet; what has come of it is
            # enough to see that it will be no reply.
            assert _is_incomplete(data)


def _is_incomplete(data: bytes) -> bool:
    parser = Parser()
    parser.feed(data)
    while parser.next_value() is not NEED_DATA:
        pass
    return parser.expecting() is not None


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__[1:])
@settings(deadline=None, max_examples=60)
@given(seed=SEEDS, maker=st.sampled_from(["dict", "list", "text", "latin"]))
def test_both_ways_agree_on_spoilt_replies(
    mutate: Callable[[bytes, Random], bytes], seed: int, maker: str
) -> None:
    """One byte flipped, inserted or removed, a header changed, a string replaced: the same
    messages come out before it, and where one way sees an error, the other does too."""
    _check_mutation(seed, mutate, maker)


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count the windows that a pattern is tried on, and the entries that it reads."""
    counts = {"windows": 0, "entries": 0, "patterns": 0}
    read, make = Pattern.read, Pattern.__init__

    def counting_read(self: Pattern, *arguments: Any) -> Any:
        messages, pos = read(self, *arguments)
        counts["windows"] += 1
        counts["entries"] += len(messages)
        return messages, pos

    def counting_init(self: Pattern, *arguments: Any, **options: Any) -> None:
        counts["patterns"] += 1
        make(self, *arguments, **options)

    monkeypatch.setattr(Pattern, "read", counting_read)
    monkeypatch.setattr(Pattern, "__init__", counting_init)
    return counts


def _read_all(replies: list[bytes], names: Any = NAMES) -> None:
    parser = XreadParser(names)
    for reply in replies:
        parser.feed(reply)
        assert parser.next_reply() is not NEED_DATA


def _replies(
    items_of: Callable[[int], list[bytes]], number: int, key: bytes = b"s", first: int = 0
) -> list[bytes]:
    """Replies of a hundred entries each."""
    entries = [(b"%d-0" % (10_000 + at), items_of(at)) for at in range(first, first + number)]
    return [encode_reply([(key, entries[at : at + 100])]) for at in range(0, len(entries), 100)]


def test_entries_of_known_schemas_are_read_by_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above prove nothing if all entries are read one by one."""
    counts, random = _count_reads(monkeypatch), Random(1)
    _read_all(_replies(lambda at: [b"a", b"%d" % at, b"b", b"x" * (at % 40)], 1000))
    assert counts["entries"] > 650
    assert counts["patterns"] == 1
    counts["entries"] = 0

    def of_shapes(at: int) -> list[bytes]:
        names, values_of = random.choice(SHAPES[:4])
        return _items(names, values_of(at))

    _read_all(_replies(of_shapes, 2000))
    assert counts["entries"] > 1000


def _with_labels(at: int) -> list[bytes]:
    """Fields in one order, of which each entry lacks some."""
    labels = (b"host", b"zone", b"app", b"job")
    there = [name for place, name in enumerate(labels) if at >> place & 1]
    return [b"value", b"%d" % at, *(item for name in there for item in (name, b"x" * (at % 7)))]


def test_entries_that_lack_fields_are_read_by_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _count_reads(monkeypatch)
    _read_all(_replies(_with_labels, 2000))
    assert counts["patterns"] == 1
    assert counts["entries"] > 1600


@pytest.mark.parametrize("fields", [dict, list, tuple])
@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-16"])
def test_fields_that_may_lack_are_told_from_empty_ones(fields: Any, encoding: str | None) -> None:
    data = b"".join(_replies(_with_labels, 500))
    factory = MessageFactory(fields, encoding, "replace")
    assert typed(by_xread_parser([data], NAMES, factory).values) == typed(
        by_whole_values(data, NAMES, factory).values
    )


@pytest.mark.parametrize("stated", [b"*2", b"*4", b"*8", b"*10", b"*5"])
def test_a_number_of_fields_that_lies_is_found_out(stated: bytes) -> None:
    """Only this number says how many fields there are, if some may lack."""
    learnt = b"".join(_replies(_with_labels, 300))
    true = encode_entry((b"90000-0", [b"value", b"1", b"zone", b"x", b"job", b""]))
    assert true.count(b"*6") == 1
    entries = [encode_entry((b"9000%d-0" % at, _with_labels(at))) for at in range(1, 9)]
    head = b"*1\r\n*2\r\n$1\r\ns\r\n*9\r\n"
    data = learnt + head + true.replace(b"*6", stated) + b"".join(entries)
    found, expected = (
        by_xread_parser([data], NAMES),
        by_whole_values(data, NAMES, MessageFactory()),
    )
    assert found.values == expected.values
    assert len(found.values) == 3
    assert found.error is not None


def test_strings_of_many_cr_are_not_read_by_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each CR takes an expression time of its own, slices none."""
    counts = _count_reads(monkeypatch)
    _read_all(_replies(lambda _: [b"a", b"\r\n" * 70], 500))
    assert counts["patterns"] == 0
    _read_all(_replies(lambda at: [b"a", b"x\r\n" * (at % 3 if at < 500 else 70)], 3000))
    assert counts["patterns"] == 1
    assert counts["windows"] < 60


def test_nothing_is_learnt_from_large_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _count_reads(monkeypatch)
    parser = XreadParser(NAMES)
    for reply in _replies(lambda _: [b"a", b"x" * 50_000], 300):
        parser.feed(reply)
        assert parser.predict_last_ids([b"s"], 100) is None
        parser.next_reply()
    assert counts["patterns"] == counts["windows"] == 0


def test_values_with_line_ends_are_read_by_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _count_reads(monkeypatch)
    _read_all(_replies(lambda at: [b"id", b"%d" % at, b"text", b"line\r\n" * (at % 70)], 2000))
    assert counts["entries"] > 1500


def test_streams_of_the_same_schema_share_a_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _count_reads(monkeypatch)
    names = {b"%d" % at: at for at in range(50)}
    replies = [_replies(lambda at: [b"a", b"%d" % at], 200, b"%d" % stream) for stream in range(50)]
    _read_all([reply for of_stream in replies for reply in of_stream], names)
    assert counts["patterns"] == 1
    assert counts["entries"] > 4500


def test_schemas_are_forgotten_and_learning_is_never_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """After very many entries of ever other fields, uniform ones are read by pattern again."""
    counts = _count_reads(monkeypatch)
    parser = XreadParser(NAMES)
    for reply in _replies(lambda at: [b"%d" % at, b"v"] * (1 + at % 40), 12_000):
        parser.feed(reply)
        parser.next_reply()
    assert counts["entries"] < 100
    for reply in _replies(lambda at: [b"a", b"%d" % at], 20_000, first=12_000):
        parser.feed(reply)
        parser.next_reply()
    assert counts["entries"] > 3000


def test_names_that_never_repeat_are_read_by_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    """When names begin to repeat, a pattern of these names takes over."""
    counts = _count_reads(monkeypatch)
    read, literal = Pattern.read, []

    def noting_read(self: Pattern, *arguments: Any) -> Any:
        literal.append(not self.captures_names)
        return read(self, *arguments)

    monkeypatch.setattr(Pattern, "read", noting_read)
    parser = XreadParser(NAMES)
    for reply in _replies(lambda at: [b"name-%d" % at, b"v%d" % at], 3000):
        parser.feed(reply)
        parser.next_reply()
    assert counts["entries"] > 2500
    assert not any(literal)
    literal.clear()
    for reply in _replies(lambda at: [b"a", b"%d" % at], 12_000, first=3000):
        parser.feed(reply)
        parser.next_reply()
    assert all(literal[-30:])
    assert counts["patterns"] <= 4


def test_a_column_of_one_length_may_go_on_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that expects other lengths is made to read these, a few times at most."""
    counts = _count_reads(monkeypatch)
    sizes = [*[3] * 300, *[4] * 300, *[40] * 300, *[400] * 300, *[3, 4, 40, 400] * 1000]
    _read_all(_replies(lambda at: [b"a", b"x" * sizes[at], b"b", b"1"], len(sizes)))
    assert counts["entries"] > 2000
    assert counts["patterns"] <= 4


def test_a_rare_length_leaves_the_pattern_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _count_reads(monkeypatch)
    _read_all(_replies(lambda at: [b"a", b"xxxx" if at % 400 == 399 else b"xxx"], 4000))
    assert counts["patterns"] == 1
    assert counts["entries"] > 3500


def test_patterns_are_made_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer cannot have its readers make one after the other."""
    counts = _count_reads(monkeypatch)
    _read_all(_replies(lambda at: [b"%d" % (at // 50), b"v"], 20_000))
    assert counts["patterns"] <= 16


def test_a_pattern_that_matches_nothing_is_tried_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value looks like one more entry, so that every match is thrown away."""
    counts = _count_reads(monkeypatch)

    def deceive(at: int) -> list[bytes]:
        if at < 200:
            return [b"a", b"1"]
        return [b"a", b"1\r\n*2\r\n$7\r\n%d-0\r\n*2\r\n$1\r\na\r\n$1\r\n1" % (10_000 + at)]

    replies = _replies(deceive, 5000)
    _read_all(replies[:2])
    counts["windows"] = 0
    _read_all(replies)
    assert counts["windows"] < 250


@pytest.mark.parametrize("fields", [33, 200, 3000])
def test_of_many_fields_no_pattern_is_made(fields: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """To compile one takes long enough to be noticed."""
    counts = _count_reads(monkeypatch)
    items = [item for at in range(fields) for item in (b"f%d" % at, b"v")]
    _read_all(_replies(lambda _: items, 300))
    _read_all(_replies(lambda _: [], 300))
    assert counts["patterns"] == 0


# One wrong byte or more of an entry that is split into words, and what stands there instead.
WRONG_WORDS = {
    "no header": (b"*2\r\n$7\r\n10050-0", b"$7\r\n10050-0"),
    "a header of another number": (b"*2\r\n$7\r\n10050-0", b"*3\r\n$7\r\n10050-0"),
    "no header and no ID": (b"*2\r\n$7\r\n10050-0\r\n", b""),
    "no ID": (b"$7\r\n10050-0\r\n*%d", b"*%d"),
    "no number of strings": (b"10050-0\r\n*%d\r\n", b"10050-0\r\n"),
    "more strings": (b"10050-0\r\n*%d", b"10050-0\r\n*%d0"),
    "an odd number of strings": (b"10050-0\r\n*%d\r\n", b"10050-0\r\n*3\r\n"),
    "a number of strings with a zero": (b"10050-0\r\n*%d", b"10050-0\r\n*0%d"),
    "a word that is no string": (b"$5\r\nv-050\r\n", b"$v-050\r\n"),
    "a number alone": (b"$5\r\nv-050\r\n", b"$5\r\n"),
    "nothing": (b"$5\r\nv-050\r\n", b"$\r\n"),
    "a string without its length": (b"$5\r\nv-050\r\n", b"v-050\r\n"),
    "a length with a zero": (b"$5\r\nv-050\r\n", b"$05\r\nv-050\r\n"),
    "a shorter string": (b"v-050", b"v-05"),
    "a longer string": (b"v-050", b"v-0050"),
    "10 bytes of 9": (b"$5\r\nv-050", b"$9\r\n" + b"x" * 10),
    "100 bytes of 99": (b"$5\r\nv-050", b"$99\r\n" + b"x" * 100),
    "1000 bytes of 999": (b"$5\r\nv-050", b"$999\r\n" + b"x" * 1000),
    "10000 bytes of 9999": (b"$5\r\nv-050", b"$9999\r\n" + b"x" * 10000),
    "9999 bytes of 10000": (b"$5\r\nv-050", b"$10000\r\n" + b"x" * 9999),
    "LF alone": (b"$5\r\nv-050\r\n", b"$5\nv-050\r\n"),
    "a name of another length": (b"$2\r\nf0\r\n$5\r\nv-050", b"$3\r\nf0\r\n$5\r\nv-050"),
    "two entries as one": (b"*2\r\n$7\r\n10050-0\r\n*%d\r\n", b""),
    "a length of an ID with a zero": (b"$7\r\n10050-0", b"$07\r\n10050-0"),
    "an ID that is none": (b"10050-0", b"1005000"),
    "an ID that is not larger": (b"10050-0", b"10049-0"),
}


@pytest.mark.parametrize("maker", ["dict", "text"])
@pytest.mark.parametrize("fields", [2, 40])
@pytest.mark.parametrize("wrong", WRONG_WORDS)
def test_words_that_are_wrong_are_found_out(wrong: str, fields: int, maker: str) -> None:
    """Entries that no pattern reads are split into words, each of which has to be right."""
    entries = [
        (b"%d-0" % (10_000 + at), [b"f0", b"v-%03d" % at, *[b"f1", b"v"] * (fields - 1)])
        for at in range(100)
    ]
    data = encode_reply([(b"s", entries)])
    old, new = (text.replace(b"%d", b"%d" % (2 * fields)) for text in WRONG_WORDS[wrong])
    assert data.count(old) == 1
    data = data.replace(old, new)
    found = by_xread_parser([data], NAMES, MAKERS[maker])
    assert found.values == []
    assert found.error is not None


@pytest.mark.parametrize("maker", ["dict", "text", "two bytes a letter"])
@pytest.mark.parametrize("fields", [1, 40])
@pytest.mark.parametrize(
    "value",
    [
        b"a\r\n",
        b"\r",
        b"\n$1",
        b"\r\n$1\r\na",
        b"\r\n*2",
        b"\r\n*2\r\n$3\r\n1-1",
        b"",
        b"\xff",
        b"x" * 1021,
        b"x" * 9999,
    ],
)
def test_words_hold_any_values(value: bytes, fields: int, maker: str) -> None:
    entries = [
        (
            b"%d-0" % (10_000 + at),
            [item for field in range(fields) for item in (b"f%d" % field, value * (at % 3))],
        )
        for at in range(100)
    ]
    data = encode_reply([(b"s", entries)])
    found = by_xread_parser([data, data], NAMES, MAKERS[maker])
    expected = by_whole_values(data * 2, NAMES, MAKERS[maker])
    assert typed(found.values) == typed(expected.values)
    assert found.error is None


# What has to be taken care of, and what not.


@settings(deadline=None, max_examples=100)
@given(
    strings=st.lists(
        st.binary(max_size=12)
        | st.sampled_from([b"\r\n", b"\r\n$1\r\na", b"x" * 5000, b"y" * 9000]),
        max_size=6,
    ),
    before=st.sampled_from([b"", b"\n", b"\r\n", b"xyz\r\n"]),
    cut=st.integers(0, 30),
)
def test_strings_are_sliced_as_their_lengths_say(
    strings: list[bytes], before: bytes, cut: int
) -> None:
    """All that are whole."""
    wire = b"".join(map(bulk, strings))
    data = before + wire[: len(wire) - cut]
    whole: list[bytes] = []
    end = len(before)
    for string in strings:
        if end + len(bulk(string)) > len(data):
            break
        whole.append(string)
        end += len(bulk(string))
    assert slice_strings(data, len(before), len(strings)) == (whole, end)


@pytest.mark.parametrize(
    "wrong",
    [
        b"$01\r\na\r\n",
        b"$1\na\r\n",
        b"$1\r\nab\r\n",
        b"$2\r\na\r\n",
        b"$-1\r\n",
        b":1\r\n",
        b"$1\r\na\n\r",
    ],
)
def test_strings_that_are_wrong_are_left(wrong: bytes) -> None:
    data = bulk(b"first") + wrong + bulk(b"last")
    assert slice_strings(data, 0, 3) == ([b"first"], len(bulk(b"first")))


def test_a_value_cut_out_of_a_reply_stays_a_value() -> None:
    """Whatever is in the values: whole replies, parts of them, of known schemas or not."""
    random = Random(7)
    wire = b"".join(_replies(lambda at: [b"a", b"%d" % at, b"b", b"x\r\ny"], 300))
    for maker in ("dict", "list of text"):
        parser = XreadParser(NAMES, MAKERS[maker])
        for first in range(0, 4000, 100):
            entries: list[Entry] = []
            for at in range(first, first + 100):
                start = random.randrange(len(wire))
                value = wire[start : start + random.randrange(300)]
                entries.append((b"%d-0" % (at + 1), [b"a", b"%d" % at, b"b", value]))
            data = encode_reply([(b"s", entries)])
            parser.feed(data)
            expected = by_whole_values(data, NAMES, MAKERS[maker])
            assert typed(parser.next_reply()) == typed(expected.values[0])
