"""The encoder: commands, which are arrays of bulk strings and nothing else, and replies.

Specification: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .values import Map, Push, ServerError, Set, Typed, VerbatimString

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .values import Value

# The end of the string before, and the opening of one with so many bytes: an ID has 41 at most.
_OPENINGS = [b"\r\n$%d\r\n" % size for size in range(42)]

# The type bytes of values, as RESP3 and RESP2 have them; subclasses come first.
_KINDS: list[tuple[Any, bytes, bytes]] = [
    (type(None), b"_", b"$"),
    (bool, b"#", b":"),
    (int, b":", b":"),
    (float, b",", b"$"),
    (VerbatimString, b"=", b"$"),
    ((bytes, str), b"$", b"$"),
    (ServerError, b"-", b"-"),
    ((Map, dict), b"%", b"*"),
    ((Set, set, frozenset), b"~", b"*"),
    (Push, b">", b"*"),
    ((list, tuple), b"*", b"*"),
]


def encode(value: Value, protocol: int = 3) -> bytes:
    r"""Encode a reply: the inverse of `Parser`.

        >>> encode([b"a", None, True, {b"k": 1.5}])
        b'*4\r\n$1\r\na\r\n_\r\n#t\r\n%1\r\n$1\r\nk\r\n,1.5\r\n'
        >>> encode(Typed(b"+", b"OK")), encode(Typed(b"*", None))
        (b'+OK\r\n', b'*-1\r\n')

    Args:
        value: Any value that a parser returns; also text (as UTF-8, with surrogate escapes as
            the bytes that they stand for), `dict`, `tuple`, `set` and `frozenset`. `Typed` is
            encoded as the type that it names, in either protocol. The kind ``b"|"`` is an
            attribute by itself.
        protocol: 3, or 2 for what a server sends in place of the types that RESP2 does not
            have: flat arrays for maps, bulk strings for doubles, 1 for true, and so on.

    Raises:
        TypeError: The value, or one within it, has another type.
        ValueError: A `Typed` whose value has no encoding of that kind.
    """
    if isinstance(value, Typed):
        attributes = value.attributes
        before = b"" if attributes is None else _encode_aggregate(b"|", attributes, protocol)
        return before + _encode_as(value.kind, value.value, protocol)
    if protocol == 2:
        value = _in_resp2(value)
    return _encode_as(_kind_of(value, protocol), value, protocol)


def _in_resp2(value: Value) -> Value:
    """Return what a server sends to a client that has not asked for RESP3."""
    if isinstance(value, (Map, dict)):
        return [item for pair in _pairs(value) for item in pair]
    if isinstance(value, ServerError):
        return ServerError(value.text.replace("\r", " ").replace("\n", " "))
    return bytes(value) if isinstance(value, VerbatimString) else value


def _kind_of(value: Value, protocol: int) -> bytes:
    for types, kind, kind2 in _KINDS:
        if not isinstance(value, types):
            continue
        if kind == b":" and not -(2**63) <= value < 2**63:
            return b"(" if protocol == 3 else b"$"
        if kind == b"-" and ("\r" in value.text or "\n" in value.text):
            return b"!"
        return kind if protocol == 3 else kind2
    raise TypeError(f"{value!r:.60} is {type(value).__name__}, expected a value of RESP")


def _encode_as(kind: bytes, value: Value, protocol: int) -> bytes:
    if value is None:
        if kind not in (b"_", b"$", b"*"):
            raise ValueError(f"no value of the kind {kind!r}, expected one of '_', '$' and '*'")
        return b"_\r\n" if kind == b"_" else kind + b"-1\r\n"
    if kind == b"$?":
        if not all(value):
            raise ValueError("empty part of a streamed string, which would be its end")
        return b"$?\r\n" + b"".join([_encode_string(b";", part) for part in value]) + b";0\r\n"
    if kind in (b"$", b"!", b"="):
        return _encode_string(kind, _text_of(value))
    if kind in (b"+", b"-", b":", b"(", b",", b"#"):
        text = (b"t" if value else b"f") if kind == b"#" else _text_of(value)
        if b"\r" in text or b"\n" in text:
            raise ValueError(
                f"{value!r:.60} has CR or LF, which a line of kind {kind!r} cannot have"
            )
        return kind + text + b"\r\n"
    if kind not in (b"*", b"%", b"~", b">", b"|", b"*?", b"%?", b"~?"):
        raise ValueError(f"kind {kind!r}, expected a type byte of RESP, with '?' if it is streamed")
    return _encode_aggregate(kind, value, protocol)


def _encode_string(kind: bytes, text: bytes) -> bytes:
    return b"%b%d\r\n%b\r\n" % (kind, len(text), text)


def _encode_aggregate(kind: bytes, value: Value, protocol: int) -> bytes:
    items = [item for pair in _pairs(value) for item in pair] if kind[:1] in b"%|" else value
    body = b"".join([encode(item, protocol) for item in items])
    if kind[1:]:
        return kind + b"\r\n" + body + b".\r\n"
    return b"%b%d\r\n%b" % (kind, len(value), body)


def _pairs(value: Value) -> Iterable[tuple[Value, Value]]:
    return value.items() if isinstance(value, dict) else value


def _text_of(value: Value) -> bytes:
    """Return the bytes of a scalar's line or string."""
    if isinstance(value, VerbatimString):
        return value.format.encode("latin-1") + b":" + value
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"%d" % value
    text = value.text if isinstance(value, ServerError) else str(value)
    return text.encode("utf-8", "surrogateescape")


def encode_command(*arguments: bytes | str | int) -> bytes:
    r"""Encode one command.

        >>> encode_command("SELECT", 1)
        b'*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n'

    Args:
        arguments: The command's name and its arguments; text goes as UTF-8, with
            surrogate escapes as the bytes that they stand for.

    Raises:
        TypeError: An argument is of no such type. A `bool` is not taken for 0 or 1.
    """
    return encode_strings([_to_bytes(argument) for argument in arguments])


def encode_strings(strings: Sequence[bytes]) -> bytes:
    """Encode one command whose arguments are bytes already."""
    return b"*%d\r\n" % len(strings) + encode_bulks(strings)


def encode_bulks(strings: Iterable[bytes]) -> bytes:
    """Encode bulk strings, one after the other."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(string), string) for string in strings])


def encode_ids(ids: Sequence[bytes]) -> bytes:
    """Encode IDs, of which a request may have hundreds, as bulk strings."""
    sizes = set(map(len, ids))
    if len(sizes) == 1:  # as mostly where messages come live
        opening = _OPENINGS[sizes.pop()]
        return opening[2:] + opening.join(ids) + b"\r\n"
    return b"".join([_OPENINGS[len(entry_id)] + entry_id for entry_id in ids])[2:] + b"\r\n"


def encode_xread(
    keys: Iterable[bytes],
    ids: Iterable[bytes],
    *,
    count: int | None = None,
    block: int | None = None,
) -> bytes:
    """Encode an XREAD.

    Args:
        keys: The streams to read; one may be named twice.
        ids: For each of them the ID after which to read, in the same order.
        count: How many entries at most of each stream; None for all.
        block: How long the server waits for an entry if there is none, in ms,
            where 0 is for ever; None for not at all.

    Source: https://redis.io/docs/latest/commands/xread/
    """
    return encode_xread_head(list(keys), count=count, block=block) + encode_bulks(ids)


def encode_xread_head(keys: Sequence[bytes], *, count: int | None, block: int | None) -> bytes:
    """Encode an XREAD up to its IDs, which `encode_ids` encodes: one for each key."""
    strings = [b"XREAD"]
    if count is not None:
        strings += b"COUNT", b"%d" % count
    if block is not None:
        strings += b"BLOCK", b"%d" % block
    strings.append(b"STREAMS")
    strings.extend(keys)
    return b"*%d\r\n" % (len(strings) + len(keys)) + encode_bulks(strings)


def _to_bytes(argument: object) -> bytes:
    if isinstance(argument, bytes):
        return argument
    if isinstance(argument, str):
        return argument.encode("utf-8", "surrogateescape")
    if isinstance(argument, int) and not isinstance(argument, bool):
        return b"%d" % argument
    raise TypeError(f"argument {argument!r} is {type(argument).__name__}, expected bytes, str, int")
