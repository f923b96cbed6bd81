"""Escapes: nothing that a terminal would obey comes through, and nothing else is touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystreamredis.command.escapes import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Zürich, 東京, 🙂", "plain, Zürich, 東京, 🙂"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x07\0", r"\x1b[31mred\x07\x00"),
        ("\x7f\x9b2J\x85", r"\x7f\x9b2J\x85"),
        ("\u2028\u202e\u2066", r"\u2028\u202e\u2066"),
        (b"\xff\x80a".decode("utf-8", "surrogateescape"), r"\xff\x80a"),
    ],
)
def test_what_is_no_text_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.binary())
def test_any_bytes_come_out_printable(data: bytes) -> None:
    shown = visible(data.decode("utf-8", "surrogateescape"))
    shown.encode("utf-8")
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in shown)
