"""The encoder: what a client sends, which is arrays of bulk strings and nothing else.

Specification: https://redis.io/docs/latest/develop/reference/protocol-spec/#sending-commands-to-a-redis-server
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# The end of the string before, and the opening of one with so many bytes: an ID has 41 at most.
_OPENINGS = [b"\r\n$%d\r\n" % size for size in range(42)]


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


def encode_ids(ids: Iterable[bytes]) -> bytes:
    """Encode IDs, of which a request may have hundreds, as bulk strings."""
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
