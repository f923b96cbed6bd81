"""Escapes for text that comes from peers, before it reaches a log, a terminal or an error.

A newline forges a line of a log, a control character makes a terminal obey, bidirectional
controls and invisible characters make text look like other text, and a byte that is not UTF-8
(a lone surrogate, as "surrogateescape" decodes it) makes `print` raise.
"""

from __future__ import annotations

import re

# C0, DEL and C1 controls, and the separators that end a line in some places.
_CONTROLS = "\x00-\x1f\x7f-\x9f\u2028\u2029"
# Characters that are drawn as nothing (Unicode's Default_Ignorable_Code_Point, without variation
# selectors) or turn the direction of the text around them, and annotation marks.
_INVISIBLE = (
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)

# Sets of characters, for use within the brackets of a regular expression.
HIDDEN = f"{_CONTROLS}{_INVISIBLE}"
SURROGATES = "\ud800-\udfff"

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_unsafe = re.compile(f"[{HIDDEN}{SURROGATES}]")
# Far cheaper than a search for unsafe characters, since almost all text is mostly ASCII.
_is_safe = re.compile(f"(?:[ -~]++|[^ -~{HIDDEN}{SURROGATES}]++)*+").fullmatch


def is_safe(text: str) -> bool:
    """Return whether `escape` would leave a text as it is."""
    return _is_safe(text) is not None


def escape(text: str, limit: int | None = None) -> str:
    r"""Replace what cannot be shown safely by escapes: ``\n``, ``\x1b``, ``\u202e``.

    A byte that is not UTF-8 becomes ``\xff``. All other characters stay, the backslash included.

    Args:
        text: Any text, of any length.
        limit: How many characters of `text` to keep; a remark replaces the rest. None keeps
            all of them.
    """
    rest = 0
    if limit is not None and len(text) > limit:
        rest = len(text) - limit
        text = text[:limit]
    if not _is_safe(text):
        text = _unsafe.sub(_escape_of, text)
    return f"{text}... ({rest} more characters)" if rest else text


def _escape_of(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # the byte that it was
    if code < 0x100:
        return _SHORT.get(character) or f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
