"""`--format`: the names that a template may use, and no others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystreamredis.command.clock import iso_time
from pystreamredis.command.template import Template

MESSAGE = ("Stream0", "1529416095111-4", [("temp", "20.5"), ("a b", "x y"), ("temp", "21")])


def line(text: str, *, for_terminal: bool = False) -> str:
    (found,) = Template(text, for_terminal=for_terminal)([MESSAGE])
    return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{stream} {id}", "Stream0 1529416095111-4"),
        ("{ms}", "1529416095111"),
        ("{time}", iso_time(1529416095111)),
        ("{time:%Y}", "2018"),
        ("{field[temp]}", "20.5,21"),
        ("{field[a b]}|", "x y|"),
        ("[{field[none]}]", "[]"),
        ("{fields}", 'temp=20.5 "a b"="x y" temp=21'),
        ("{stream:>10}|{stream:.3}", "   Stream0|Str"),
        ("{{{stream}}}", "{Stream0}"),
        (r"a\tb\n\\n\x41", "a\tb\n\\nA"),
        ("", ""),
        ("no names", "no names"),
    ],
)
def test_templates(text: str, shown: str) -> None:
    assert line(text) == shown + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{stream",
        "{}",
        "{0}",
        "{nothing}",
        "{stream.__class__}",
        "{stream[0]}",
        "{field}",
        "{field[]}",
        "{field[a].upper}",
        "{field[a].__class__}",
        "{field.__init__.__globals__}",
        "{time.year}",
        "{id!r}",
        "{id:{stream}}",
        "{id:d}",
        "{field[temp]:.1f}",
        "{id:99999999999999999999}",
        r"\q",
        "\\",
        r"\x4",
    ],
)
def test_bad_templates_are_reported_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|braces"):
        Template(text, for_terminal=False)


@given(st.text(st.sampled_from("{}[]!:.<>^0123456789\\nxsdtream_field%time")))
def test_any_template_is_good_for_every_message_or_for_none(text: str) -> None:
    try:
        template = Template(text, for_terminal=False)
    except ValueError:
        return
    others = [("s", "0-1", []), ("", f"{2**64 - 1}-0", [("x", "\0")])]
    assert len(template([MESSAGE, *others])) == 3


def test_bytes_of_a_template_come_out_as_they_are() -> None:
    assert line(r"\xff\x00").encode("utf-8", "surrogateescape") == b"\xff\0\n"


def test_values_on_a_terminal_are_not_obeyed() -> None:
    hostile = ("s\x9b", "1-0", [("f", "\x1b[2J\n"), ("\x07", "1")])
    template = Template("\t{stream}|{field[f]}|{fields}", for_terminal=True)
    assert template([hostile]) == ["\ts\\x9b|\\x1b[2J\\n|" + r'f="\x1b[2J\n" "\x07"=1' + "\n"]


def test_values_elsewhere_are_left_as_they_are() -> None:
    hostile = ("s", "1-0", [("f", "\x1b[2J\udcff")])
    assert Template("{field[f]}", for_terminal=False)([hostile]) == ["\x1b[2J\udcff\n"]
