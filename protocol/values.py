"""The Python values that RESP types become where no built-in type fits.

Bulk and simple strings are ``bytes``, numbers and big numbers ``int``, doubles
``float``, booleans ``bool``, nulls ``None``, arrays ``list``. The other types, and `Typed` for
a value that keeps its type on the wire:
"""

from __future__ import annotations

from collections.abc import Iterable

TYPE_CHECKING = False  # as in typing, which costs milliseconds to import
if TYPE_CHECKING:
    from typing import (
        Any,
        ClassVar,
        Final,
        Self,  # known to type checkers, needed by them alone
        TypeAlias,
    )

    Value: TypeAlias = Any
    """One RESP value, as the module's first lines list them."""


class NeedData:
    """The type of `NEED_DATA`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NEED_DATA"


NEED_DATA: Final = NeedData()
"""The answer of a parser when more bytes must come first; compare with ``is``."""


class ServerError:
    """An error reply (``-ERR ...`` or ``!``): a value, since it can nest in others.

    Attributes:
        text: The whole text as it was sent, bytes that are no UTF-8 as surrogates.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text: str = text

    @property
    def code(self) -> str:
        """The first word: ``"WRONGTYPE"``, ``"ERR"``."""
        return self.text.partition(" ")[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ServerError) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"ServerError({self.text!r})"


class VerbatimString(bytes):
    """A verbatim string (``=``): its text, with the three letters of its format.

    Attributes:
        format: ``"txt"``, ``"mkd"``, or another three letters.
    """

    format: str

    def __new__(cls, text: bytes, format: str = "txt") -> Self:  # noqa: A002
        """Keep `format` beside the bytes of `text`."""
        self = super().__new__(cls, text)
        self.format = format
        return self

    def __repr__(self) -> str:
        return f"VerbatimString({bytes(self)!r}, {self.format!r})"


class _Aggregate(list["Value"]):
    """A list that is told from an array, and from the others, by its type."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and list.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list.__repr__(self)})"


class Map(_Aggregate):
    """A map (``%``) as the list of its ``(key, value)`` pairs, in wire order.

    Not a `dict`: on the wire a key may be a list or another map, and may come twice.
    """

    __slots__ = ()

    @classmethod
    def of_items(cls, items: list[Value]) -> Map:
        """Pair up ``[key, value, key, value, ...]``."""
        return cls(zip(items[::2], items[1::2], strict=True))


class Set(_Aggregate):
    """A set (``~``) as the list of its members, which need not be hashable."""

    __slots__ = ()


class Push(_Aggregate):
    """A push (``>``): sent without being asked for, and a reply to nothing."""

    __slots__ = ()


class Typed:
    """A value with its type on the wire: `Parser(types=True)` returns it, `encode` takes it.

    Attributes:
        kind: The type byte, with ``?`` after it for what is streamed: ``b"+"``, ``b"*?"``.
        value: The value as a parser without types returns it, with `Typed` as the items of
            aggregates; for ``b"$?"`` the list of the string's parts.
        attributes: The attributes before the value, as one `Map`; None if there are none.
    """

    __slots__ = ("attributes", "kind", "value")

    def __init__(self, kind: bytes, value: Value, attributes: Map | None = None) -> None:
        self.kind: bytes = kind
        self.value: Value = value
        self.attributes: Map | None = attributes

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Typed)
            and (other.kind, other.attributes) == (self.kind, self.attributes)
            and (type(other.value), other.value) == (type(self.value), self.value)
        )

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # pyright: ignore

    def __repr__(self) -> str:
        attributes = "" if self.attributes is None else f", {self.attributes!r}"
        return f"Typed({self.kind!r}, {self.value!r}{attributes})"


def pairs_of(items: list[Value]) -> Iterable[tuple[Value, Value]]:
    """Pair up ``[field, value, field, value, ...]`` without a copy."""
    half = iter(items)
    return zip(half, half, strict=True)
