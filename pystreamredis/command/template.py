"""``--format``: a line made from a template.

It looks like Python's `str.format`, but only the names below are known, and a template cannot
reach any attribute.
"""

from __future__ import annotations

import re
from string import Formatter

from ..escaping import escape
from .clock import format_time, iso_time, ms_of
from .formats import fields_text, values_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from .formats import Message

    Part: TypeAlias = Callable[[Message], str]

_EXPECTED = "expected {stream}, {id}, {ms}, {time}, {fields} or {field[name]}"
_SAMPLE: Message = ("stream", "1529416095111-4", [])
_escape = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.?))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}
_is_field = re.compile(r"field\[(.+)\]", re.DOTALL).fullmatch


class Template:
    r"""A format, like those in `formats`, made from the text of a line without its end.

    ``\n``, ``\t``, ``\xHH`` mean the same as in C; a brace is written twice. For a terminal,
    characters in values that it would obey are escaped.

    Raises:
        ValueError: The template has an unknown name, or a format that does not fit.
    """

    def __init__(self, text: str, *, for_terminal: bool) -> None:
        clean = escape if for_terminal else str
        self._parts = [part for piece in _parse(text) for part in _parts_of(*piece, clean)]
        self([_SAMPLE])  # raises if a width or an alignment is not valid

    def __call__(self, messages: Iterable[Message]) -> list[str]:
        """Make a line of each message."""
        parts = self._parts
        return ["".join([part(message) for part in parts]) + "\n" for message in messages]


def _parse(text: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{text!r}: {error} (write {{{{ and }}}} for braces)") from None


def _parts_of(
    literal: str,
    name: str | None,
    spec: str | None,
    conversion: str | None,
    clean: Callable[[str], str],
) -> Iterable[Part]:
    if literal:
        text = _unescape(literal)
        yield lambda _: text
    if name is None:
        return
    spec = spec or ""
    if conversion or "{" in spec:
        raise ValueError(
            f"{{{name}}}: conversions and nested braces are not supported, {_EXPECTED}"
        )
    if name == "time":
        yield _time_reader(spec)
        return
    read = _reader(name)
    _check_spec(name, spec)
    if spec:
        yield lambda message: format(clean(read(message)), spec)
    else:
        yield lambda message: clean(read(message))


def _time_reader(spec: str) -> Part:
    if not spec:
        return lambda message: iso_time(ms_of(message[1]))
    return lambda message: format_time(ms_of(message[1]), spec)


def _check_spec(name: str, spec: str) -> None:
    try:
        format("", spec)
    except (ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f"{{{name}:{spec}}}: {error}, expected a width as in {{id:20}}") from None


def _reader(name: str) -> Part:
    """Return a function that takes the named value out of a message."""
    found = _is_field(name)
    if found is not None:
        field = found[1]
        return lambda message: values_of(message[2], field)
    if name == "fields":
        return lambda message: fields_text(message[2])
    if name == "ms":
        return lambda message: message[1].partition("-")[0]
    if name in ("stream", "id"):
        at = ("stream", "id").index(name)
        return lambda message: str(message[at])
    raise ValueError(f"unknown name {{{name}}}, {_EXPECTED}")


def _unescape(text: str) -> str:
    return _escape.sub(_unescaped, text)


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        code = int(found[1], 16)
        return chr(code) if code < 128 else chr(0xDC00 + code)  # that byte, when encoded
    if found[2] not in _ESCAPES:
        raise ValueError(f"{found[0]!r}, expected one of \\n \\t \\r \\0 \\\\ \\xHH")
    return _ESCAPES[found[2]]
