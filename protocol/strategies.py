"""Hypothesis strategies for the wire format: values, commands, replies, and slips in them.

For tests of servers, clients and proxies. Nothing of pystreamredis imports this module, which
needs hypothesis (the extra ``test`` installs it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from .encoder import encode, encode_command
from .values import Map, Push, ServerError, Set, Typed, VerbatimString

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

# Parts of RESP, which nearly valid bytes have in the wrong places.
SLIPS = [
    *(b"", b"\r", b"\n", b"\r\n", b"\xff", b"?", b"-1", b"0", b"00", b"+", b"9" * 20, b"txt:"),
    *(b"*1\r\n", b"*?\r\n", b"$?\r\n", b";0\r\n", b".\r\n", b"%1\r\n", b"|1\r\n", b">1\r\n"),
    *(b"*", b"$", b"~", b":", b",", b"(", b"#", b"_", b"!", b"=", b";", b"."),
]

_lines = st.binary(max_size=20).map(lambda text: text.translate(None, b"\r\n"))
_errors = st.binary(max_size=30).map(
    lambda text: ServerError(text.decode("utf-8", "surrogateescape"))
)
_formats = st.text(st.characters(max_codepoint=255), min_size=3, max_size=3)
_verbatim = st.builds(VerbatimString, st.binary(max_size=20), _formats)
_doubles = st.floats(allow_nan=False)
_int64 = st.integers(-(2**63), 2**63 - 1)

scalars: SearchStrategy[Any] = st.one_of(
    *(st.none(), st.booleans(), st.integers(), _doubles),
    *(st.binary(max_size=60), _errors, _verbatim),
)
"""Values of one line or string, as `encode` takes them and `Parser` returns them."""


def _aggregates(items: SearchStrategy[Any]) -> SearchStrategy[Any]:
    lists = st.lists(items, max_size=5)
    pairs = st.lists(st.tuples(items, items), max_size=4)
    return st.one_of(lists, lists.map(Set), pairs.map(Map))


values: SearchStrategy[Any] = st.recursive(scalars, _aggregates, max_leaves=20)
"""Values of any depth: ``Parser`` returns of ``encode(value)`` an equal one."""

pushes: SearchStrategy[Push] = st.lists(values, min_size=1, max_size=4).map(Push)
"""Pushes, which come between values."""


def _typed(kind: bytes, value: SearchStrategy[Any]) -> SearchStrategy[Typed]:
    return st.builds(Typed, st.just(kind), value)


typed_scalars: SearchStrategy[Typed] = st.one_of(
    *(_typed(kind, st.none()) for kind in (b"_", b"$", b"*")),
    *(_typed(b"$", st.binary(max_size=60)), _typed(b"+", _lines)),
    _typed(b"-", _errors.filter(lambda error: not {"\r", "\n"} & set(error.text))),
    *(_typed(b"!", _errors), _typed(b"=", _verbatim)),
    *(_typed(b":", _int64), _typed(b"(", st.integers()), _typed(b",", _doubles)),
    _typed(b"#", st.booleans()),
    _typed(b"$?", st.lists(st.binary(min_size=1, max_size=9), max_size=4)),
)
"""The same as `Typed`, of every type that RESP2 and RESP3 have."""


def _with_attributes(item: Typed, attributes: Map) -> Typed:
    return Typed(item.kind, item.value, attributes)


def _typed_aggregates(items: SearchStrategy[Typed]) -> SearchStrategy[Typed]:
    lists = st.lists(items, max_size=5)
    maps = st.lists(st.tuples(items, items), max_size=4).map(Map)
    return st.one_of(
        *(_typed(kind, lists) for kind in (b"*", b"*?")),
        *(_typed(kind, lists.map(Set)) for kind in (b"~", b"~?")),
        *(_typed(kind, maps) for kind in (b"%", b"%?")),
        st.builds(_with_attributes, items, maps),
    )


typed_values: SearchStrategy[Typed] = st.recursive(typed_scalars, _typed_aggregates, max_leaves=20)
"""Values of any depth, streamed ones and attributes included, as ``Parser(types=True)``
returns them of ``encode(value)``."""

wires: SearchStrategy[bytes] = st.lists(typed_values | pushes, min_size=1, max_size=4).map(
    lambda replies: b"".join(map(encode, replies))
)
"""The bytes of some values and pushes, one after the other."""

_words = st.binary(min_size=1, max_size=20)
commands: SearchStrategy[bytes] = st.lists(_words, min_size=1, max_size=6).map(
    lambda words: encode_command(*words)
)
"""The bytes of a command."""

_halves = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))
ids: SearchStrategy[bytes] = st.tuples(_halves, _halves).map(lambda id_: b"%d-%d" % id_)
"""IDs of entries, many of them close to each other."""


@st.composite
def xread_replies(
    draw: DrawFn, keys: Sequence[bytes] = (b"a", b"b"), count: int = 5, protocol: int = 2
) -> bytes:
    """Make the bytes of replies to XREAD.

    Args:
        draw: Given by hypothesis.
        keys: The streams that were asked for; some of them have entries.
        count: The most entries of each.
        protocol: 2 for arrays, 3 for a map.
    """
    found = []
    for key in keys:
        entries = draw(st.lists(ids.filter(b"0-0".__ne__), max_size=count, unique=True))
        if entries:
            entries.sort(key=lambda entry: [int(number) for number in entry.split(b"-")])
            fields = draw(st.lists(_words, min_size=1, max_size=3))
            items = [[item for field in fields for item in (field, draw(_values))] for _ in entries]
            found.append([key, [list(entry) for entry in zip(entries, items, strict=True)]])
    if not found:
        return encode(Typed(b"*", None), protocol) if protocol == 2 else encode(None)
    return encode(Map(found) if protocol == 3 else found)


_values = st.one_of(st.binary(max_size=12), st.sampled_from(SLIPS))


@st.composite
def nearly_valid(draw: DrawFn, valid: SearchStrategy[bytes] = wires) -> bytes:
    """Make valid bytes with one to three slips: something is missing, doubled, or in the way."""
    data = draw(valid)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        slip = draw(st.sampled_from(SLIPS) | st.binary(max_size=2))
        data = data[:start] + slip + data[start + draw(st.integers(0, 3)) :]
    return data


@st.composite
def pieces(draw: DrawFn, data: bytes) -> list[bytes]:
    """Split bytes into pieces as they may be received, single bytes and empty ones included."""
    if draw(st.booleans()):
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
