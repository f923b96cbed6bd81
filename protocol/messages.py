"""Messages, ``(name, id, data)``, in the form that the caller wants."""

from __future__ import annotations

import codecs

from .buffer import excerpt
from .errors import ProtocolError
from .ids import is_id
from .values import Map, pairs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from .values import Value

    Message: TypeAlias = tuple[Any, Any, Any]
    """``(name, id, data)``"""

# Encodings in which ASCII is ASCII wherever it stands.
_ASCII_BASED = frozenset({"ascii", "utf-8", "iso8859-1"})


class MessageMaker:
    """Makes messages of entries.

    Args:
        fields: What makes the data of an entry's ``(field, value)`` pairs.
        encoding: How IDs, fields and values are decoded; None leaves them bytes.
        errors: What to do with bytes that cannot be decoded, as in `bytes.decode`.
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
        self.is_ascii_based = encoding is not None and codecs.lookup(encoding).name in _ASCII_BASED

    def text(self, item: bytes) -> str:
        """Decode a field or a value."""
        return str(item, self.encoding or "ascii", self.errors)

    def item(self, item: bytes) -> bytes | str:
        """Make of a field or a value what the caller wants of it."""
        return item if self.encoding is None else self.text(item)

    def message(self, name: object, entry: Value) -> Message:
        """Make the message of one entry as the parser read it.

        Raises:
            ProtocolError: The value is no entry.
        """
        if type(entry) is not list or len(entry) != 2 or type(entry[1]) is not list:
            raise ProtocolError(f"{show(entry)} in an XREAD reply, expected an entry")
        entry_id, items = entry
        if not isinstance(entry_id, bytes) or not is_id(entry_id):
            raise ProtocolError(f"{show(entry_id)} in an XREAD reply, expected an entry's ID")
        if len(items) % 2 or not set(map(type, items)) <= {bytes}:
            raise ProtocolError(f"{show(items)} in an XREAD reply, expected fields and values")
        return self.make(name, entry_id, items)

    def make(self, name: object, entry_id: bytes, items: list[bytes]) -> Message:
        """Make the message of an entry's ID and its ``[field, value, ...]``."""
        if self.encoding is None:
            return name, entry_id, self.fields(pairs_of(items))
        return name, entry_id.decode("ascii"), self.fields(pairs_of(list(map(self.text, items))))


def show(value: object) -> str:
    """What to show in an error of a value that may be of any size and depth."""
    if isinstance(value, bytes):
        return excerpt(value)
    if isinstance(value, Map):
        return f"a map of {len(value)} pairs"
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    return f"{type(value).__name__} {value!r:.60}"
