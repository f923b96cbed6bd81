"""Messages, ``(name, id, data)``, in the form that the caller wants."""

from __future__ import annotations

import codecs
from itertools import repeat

from .buffer import excerpt
from .errors import ProtocolError
from .ids import is_id, number_of
from .values import Map, ServerError, pairs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, TypeAlias

    from .values import Value

    Message: TypeAlias = tuple[Any, Any, Any]
    """``(name, id, data)``"""
    StreamReply: TypeAlias = tuple[Any, list[Message]]
    """One stream's part of a reply: its name and its messages, in ID order."""

# Encodings in which ASCII is ASCII wherever it stands.
_ASCII_BASED = frozenset({"ascii", "utf-8", "iso8859-1"})


class Unmade:
    """The data of a message that could not be made.

    Attributes:
        pairs: The entry's ``(field, value)`` pairs, as bytes.
        cause: The exception that `fields` or the decoding raised.
    """

    __slots__ = ("cause", "pairs")

    def __init__(self, pairs: list[tuple[bytes, bytes]], cause: Exception) -> None:
        self.pairs: list[tuple[bytes, bytes]] = pairs
        self.cause: Exception = cause

    def __repr__(self) -> str:
        return f"Unmade({len(self.pairs)} pairs, {type(self.cause).__name__})"


class MessageFactory:
    """Makes messages of entries.

    Args:
        fields: The callable that makes the data of an entry's ``(field, value)`` pairs.
        encoding: The encoding of IDs, fields and values; None leaves them bytes.
        errors: The treatment of bytes that cannot be decoded, as in `bytes.decode`.
    """

    def __init__(
        self,
        fields: Callable[[Iterable[tuple[Any, Any]]], Any] = dict,
        encoding: str | None = None,
        errors: str = "strict",
    ) -> None:
        self.fields = fields
        self.encoding = encoding
        self.errors = errors
        self.is_ascii_based: bool = (
            encoding is not None and codecs.lookup(encoding).name in _ASCII_BASED
        )

    def text(self, item: bytes) -> str:
        """Decode a field or a value."""
        return str(item, self.encoding or "ascii", self.errors)

    def item(self, item: bytes) -> bytes | str:
        """Return a field or a value in the form that the caller wants."""
        return item if self.encoding is None else self.text(item)

    def id(self, entry_id: bytes) -> bytes | str:
        """Return an ID in the form that the caller wants."""
        return entry_id if self.encoding is None else entry_id.decode("ascii")

    def make(self, name: object, entry_id: bytes, items: list[bytes]) -> Message:
        """Make the message of an entry's ID and its ``[field, value, ...]``.

        Raises:
            Exception: The one that `fields` or the decoding raises.
        """
        # In few steps, since most replies of a live stream are one entry.
        if self.encoding is None:
            half: Any = iter(items)
            return name, entry_id, self.fields(zip(half, half, strict=True))
        half = iter(list(map(str, items, repeat(self.encoding), repeat(self.errors))))
        return name, entry_id.decode("ascii"), self.fields(zip(half, half, strict=True))

    def make_safely(
        self, name: object, entry_id: bytes, items: list[bytes], unmade: list[Message]
    ) -> Message:
        """Make the message, with `Unmade` as its data if that raises; add it to `unmade` then."""
        try:
            return self.make(name, entry_id, items)
        except Exception as cause:  # noqa: BLE001  # `fields` is the caller's, and may raise any
            message = name, self.id(entry_id), Unmade(list(pairs_of(items)), cause)
            unmade.append(message)
            return message

    def make_each(
        self, name: object, ids: list[bytes], entries: list[list[bytes]], unmade: list[Message]
    ) -> list[Message]:
        """Make the messages of many entries as `make_safely` does, but faster."""
        make, fields = self.make, self.fields
        pairs = zip(ids, entries, strict=True)
        try:
            if self.encoding is not None:
                return [make(name, entry_id, items) for entry_id, items in pairs]
            return [
                (name, entry_id, fields(zip(items[::2], items[1::2])))  # noqa: B905
                for entry_id, items in pairs
            ]
        except Exception:  # noqa: BLE001  # `fields` is the caller's, and may raise any
            pairs = zip(ids, entries, strict=True)
            return [self.make_safely(name, *entry, unmade) for entry in pairs]


def entry_of(value: Value) -> tuple[bytes, list[bytes]]:
    """Take the ID and the ``[field, value, ...]`` out of an entry that was read as one value.

    Raises:
        ProtocolError: The value is not an entry.
    """
    if type(value) is not list or len(value) != 2 or type(value[1]) is not list:
        raise ProtocolError(f"{show(value)} in an XREAD reply, expected an entry")
    entry_id, items = value
    if not isinstance(entry_id, bytes) or not is_id(entry_id):
        raise ProtocolError(f"{show(entry_id)} in an XREAD reply, expected an entry's ID")
    if len(items) % 2 or not set(map(type, items)) <= {bytes}:
        raise ProtocolError(f"{show(items)} in an XREAD reply, expected fields and values")
    return entry_id, items


def stream_replies_of(
    value: Value,
    names: Mapping[bytes, Any],
    factory: MessageFactory,
    unmade: list[Message] | None = None,
) -> list[StreamReply] | None:
    """Make the stream replies of an XREAD reply that was read as one value.

    Messages that could not be made are added to `unmade`.

    Returns:
        The same as `XreadParser` makes of the reply's bytes.

    Raises:
        ProtocolError: The value is not a reply with entries.
    """
    unmade = [] if unmade is None else unmade
    if value is None:
        return None
    if not isinstance(value, list):
        raise ProtocolError(f"{show(value)}, expected an XREAD reply")
    replies: list[StreamReply] = []
    for pair in value:
        if type(pair) not in (list, tuple) or len(pair) != 2 or type(pair[1]) is not list:
            raise ProtocolError(f"{show(pair)}, expected a stream of an XREAD reply")
        name = name_of(pair[0], names)
        messages: list[Message] = []
        for entry in pair[1]:
            message = factory.make_safely(name, *entry_of(entry), unmade)
            if messages:
                check_order(messages, message)
            messages.append(message)
        replies.append((name, messages))
    return replies or None


def check_order(messages: list[Message], later: Message) -> None:
    """Check that a message has a larger ID than the last one.

    Raises:
        ProtocolError: It has not.
    """
    if number_of(messages[-1][1]) >= number_of(later[1]):
        raise ProtocolError(
            f"entry {later[1]!r} of stream {later[0]!r:.60} after {messages[-1][1]!r}, "
            "expected the larger ID later"
        )


def name_of(key: Value, names: Mapping[bytes, Any]) -> Any:
    """Return the name for messages of a stream that was asked for.

    Raises:
        ProtocolError: It was not.
    """
    if isinstance(key, bytes) and key in names:
        return names[key]
    raise ProtocolError(f"reply with {show(key)}, expected one of the streams asked for")


def show(value: object) -> str:
    """Describe a value of any size and depth for the text of an error."""
    if isinstance(value, bytes):
        return excerpt(value)
    if isinstance(value, Map):
        return f"a map of {len(value)} pairs"
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    if isinstance(value, ServerError):
        return f"error {value.text!r:.100}"
    return "nil" if value is None else f"{type(value).__name__} {value!r:.60}"
