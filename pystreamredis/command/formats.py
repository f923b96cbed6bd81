"""Messages as lines: readable text, JSON, CSV.

A format is called with messages, ``(stream, id, [(field, value), ...])``, all text as
"surrogateescape" decodes it, and returns a line for each, its end included. Encoded
the same way, bytes that are not UTF-8 come out as they were.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import lru_cache
from json.encoder import encode_basestring as quote

from ..escaping import HIDDEN, SURROGATES, escape, is_safe
from .clock import local_time, ms_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    Pairs: TypeAlias = Sequence[tuple[str, str]]
    Message: TypeAlias = tuple[str, str, Pairs]
    Format: TypeAlias = Callable[[Iterable[Message]], list[str]]

_COLOURS = (36, 33, 32, 35, 34, 31)
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


# Readable text.

# Blanks beside " " and the controls.
_BLANKS = "\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_needs_quotes = re.compile(rf'[ "\\{_BLANKS}]').search
_needs_care = re.compile(rf'["\\{_BLANKS}]').search
# A name of more characters is not kept: peers choose names, and how many and how long they are.
_CACHED_LENGTH = 64
_CACHED_NAMES = 1024


class Text:
    """``2018-06-19 14:08:15.111 Stream0 1529416095111-4 index=21``: time, stream, ID, fields.

    Streams have a column as wide as the longest of their names. Text with blanks, or with
    characters that would not be seen, is quoted.
    """

    def __init__(self, names: Sequence[str], *, colour: bool) -> None:
        dim, plain = (_DIM, _PLAIN) if colour else ("", "")
        self._before, self._after = dim, plain
        self._streams = {}
        width = max(map(len, map(_word, names)), default=0)
        for at, name in enumerate(names):
            start = f"\x1b[{_COLOURS[at % len(_COLOURS)]}m" if colour else ""
            self._streams[name] = f"{plain} {start}{_word(name):{width}}{plain} {dim}"

    def __call__(self, messages: Iterable[Message]) -> list[str]:
        """Make a line of each message."""
        streams, before, after = self._streams, self._before, self._after
        return [
            f"{before}{local_time(ms_of(entry_id))}{streams[name]}{entry_id}{after} "
            f"{fields_text(pairs, before, after)}\n"
            for name, entry_id, pairs in messages
        ]


def fields_text(pairs: Pairs, before: str = "", after: str = "") -> str:
    """Format fields as ``index=21 name="a b"``, with marks around each name."""
    values = " ".join([value for _, value in pairs])
    if _needs_care(values) or values.count(" ") != len(pairs) - 1 or not is_safe(values):
        pairs = [(field, _word(value)) for field, value in pairs]
    return " ".join([f"{before}{_name(field)}={after}{value}" for field, value in pairs])


def _name(field: str) -> str:
    return _cached_name(field) if len(field) <= _CACHED_LENGTH else _word(field, also="=")


@lru_cache(maxsize=_CACHED_NAMES)
def _cached_name(field: str) -> str:
    return _word(field, also="=")


def _word(text: str, also: str = '"') -> str:
    """Quote text that does not look like one word."""
    if also not in text and not _needs_quotes(text) and is_safe(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escape(escaped)}"'


# JSON.

_hidden = re.compile(f"[{HIDDEN}]")
_is_binary = re.compile(f"[{SURROGATES}]").search
# Beginning of the name of a field that is encoded.
_BASE64 = "base64:"


def json_lines(messages: Iterable[Message]) -> list[str]:
    """``{"stream": "Stream0", "id": "1529416095111-4", "data": {"index": "21"}}``.

    Bytes that are not UTF-8 become ``{"base64": "..."}``, or ``"base64:..."`` as the name of a
    field. A name that begins with ``base64:`` itself is encoded likewise, so every name that
    begins so is base64. A field that comes more than once has a list of its values.
    """
    lines = []
    for message in messages:
        name, entry_id, pairs = message
        data = ", ".join([f"{quote(field)}: {quote(value)}" for field, value in pairs])
        line = f'{{"stream": {quote(name)}, "id": "{entry_id}", "data": {{{data}}}}}'
        if not is_safe(line) or len(dict(pairs)) != len(pairs) or f'"{_BASE64}' in line:
            line = _careful_line(message)
        lines.append(f"{line}\n")
    return lines


def _careful_line(message: Message) -> str:
    name, entry_id, pairs = message
    found: dict[str, list[str]] = {}
    for field, value in pairs:
        found.setdefault(_json_key(field), []).append(_json_value(value))
    data = ", ".join([f"{key}: {_one_or_list(values)}" for key, values in found.items()])
    line = f'{{"stream": {_json_value(name)}, "id": "{entry_id}", "data": {{{data}}}}}'
    # These are within strings, where JSON has an escape for each.
    return _hidden.sub(lambda found: json.dumps(found[0])[1:-1], line)


def _json_value(text: str) -> str:
    return f'{{"base64": "{_base64(text)}"}}' if _is_binary(text) else quote(text)


def _json_key(text: str) -> str:
    is_encoded = _is_binary(text) or text.startswith(_BASE64)
    return f'"{_BASE64}{_base64(text)}"' if is_encoded else quote(text)


def _one_or_list(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"[{', '.join(values)}]"


def _base64(text: str) -> str:
    return b64encode(text.encode("utf-8", "surrogateescape")).decode("ascii")


# CSV.

_needs_cell_quotes = re.compile('[,"\r\n]').search
# Beginnings of cells that spreadsheets run as formulas, the full-width forms included.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_is_number = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)?(?:[eE][-+]?[0-9]+)?").fullmatch


class Csv:
    """The stream, the ID, and the chosen fields, a column each; empty where a message lacks one.

    Args:
        fields: Names of the fields.
        for_terminal: True to escape characters that a terminal would obey.
        for_spreadsheet: True to keep spreadsheets from running cells as formulas.
    """

    def __init__(
        self, fields: Sequence[str], *, for_terminal: bool, for_spreadsheet: bool = False
    ) -> None:
        self._columns = fields
        self._clean = escape if for_terminal else str
        self._cell = _spreadsheet_cell if for_spreadsheet else _cell

    @property
    def header(self) -> str:
        """The first line: the names of the columns."""
        return self._row(["stream", "id", *self._columns])

    def __call__(self, messages: Iterable[Message]) -> list[str]:
        """Make a line of each message."""
        row, columns = self._row, self._columns
        return [
            row([name, entry_id, *[values_of(pairs, field) for field in columns]])
            for name, entry_id, pairs in messages
        ]

    def _row(self, cells: Sequence[str]) -> str:
        return self._clean(",".join(map(self._cell, cells))) + "\n"


def _cell(text: str) -> str:
    if not _needs_cell_quotes(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _spreadsheet_cell(text: str) -> str:
    # A number is no formula, and measured values are negative at times.
    if text.startswith(_FORMULAS) and not _is_number(text):
        text = f"'{text}"
    return _cell(text)


def values_of(pairs: Pairs, field: str) -> str:
    """Return a field's value: all of them, with commas between; nothing if it is not there."""
    return ",".join([value for name, value in pairs if name == field])
