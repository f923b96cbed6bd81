"""Escapes of what peers say: it can be printed anywhere, on one line, and nothing obeys it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystreamredis.escaping import escape, is_safe


def decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ERR unknown command 'XREAD'",
        r"C:\new",
        "Zürich, 東京, 🙂, e\u0301, ❤\ufe0f, 葛\U000e0100, \xa0",
        "שלום, مرحبا, \u06dd",
    ],
)
def test_printable_text_stays(text: str) -> None:
    assert escape(text) == text
    assert is_safe(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\n\r\t", r"\n\r\t"),
        ("\x1b\x07\0", r"\x1b\x07\x00"),
        ("\x7f\x9b\x85", r"\x7f\x9b\x85"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("\u202a\u202e\u2066\u2069", r"\u202a\u202e\u2066\u2069"),
        ("\u200e\u200f\u061c", r"\u200e\u200f\u061c"),
        ("\u200b\u200c\u200d\u2060\ufeff", r"\u200b\u200c\u200d\u2060\ufeff"),
        ("\xad\u034f\u115f\u180e\u2064\u206f\u3164", r"\xad\u034f\u115f\u180e\u2064\u206f\u3164"),
        ("\U000e0001\U000e0041\U000e007f", r"\U000e0001\U000e0041\U000e007f"),
        (decoded(b"\xff\x80"), r"\xff\x80"),
        ("\ud800\udc00\udfff", r"\ud800\udc00\udfff"),
    ],
)
def test_unsafe_characters_become_escapes(text: str, shown: str) -> None:
    assert escape(text) == shown
    assert escape(f"ä{text}b") == f"ä{shown}b"
    assert not any(is_safe(f"ä{character}") for character in text)


def test_the_limit_cuts_the_text_and_says_so() -> None:
    assert escape("abcde", 5) == "abcde"
    assert escape("abcdef", 5) == "abcde... (1 more characters)"
    assert escape("\n" * 1000, 2) == r"\n\n... (998 more characters)"
    assert escape("abc", 0) == "... (3 more characters)"


def is_drawn(character: str) -> bool:
    """Whether Unicode's tables call it neither a control nor a separator of lines.

    Of the format characters some are drawn (Arabic number signs); those with a direction of
    their own or without any width are what matters.
    """
    category = unicodedata.category(character)
    drawn = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    is_format = category == "Cf" and character not in drawn
    # Egyptian and shorthand format controls join what is drawn.
    is_format = is_format and not "\U00013430" <= character <= "\U0001345f"
    return category not in ("Cc", "Cs", "Zl", "Zp") and not is_format


def test_no_control_and_no_invisible_format_character_is_left() -> None:
    left = [code for code in range(0x110000) if not all(map(is_drawn, escape(chr(code))))]
    assert left == []


def test_every_character_is_either_safe_or_escaped() -> None:
    for code in range(0x110000):
        assert is_safe(chr(code)) is (escape(chr(code)) == chr(code)), hex(code)


@given(st.binary() | st.text(st.characters()).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_come_out_on_one_line_and_can_be_encoded(data: bytes) -> None:
    shown = escape(decoded(data))
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert escape(shown) == shown
