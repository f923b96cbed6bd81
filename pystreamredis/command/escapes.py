"""Characters that are no text to look at: controls, and bytes that are not UTF-8.

A terminal obeys the former: it would let a message clear the screen, or pretend to be
another one. The latter are lone surrogates here, as "surrogateescape" decodes them.
"""

from __future__ import annotations

import re

# C0, DEL, C1, what ends lines in some places, and what turns the direction of text.
CONTROLS = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
BYTES = "\udc80-\udcff"

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_hidden = re.compile(f"[{CONTROLS}{BYTES}]")


def visible(text: str) -> str:
    r"""Replace what is no text by escapes: ``\n``, ``\x1b``, ``\xff``, ``\u202e``."""
    return _hidden.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if "\udc80" <= character <= "\udcff":
        code -= 0xDC00  # the byte that it was
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
