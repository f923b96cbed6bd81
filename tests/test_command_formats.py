"""Formats: one line a message, whatever is in it."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pystreamredis.command import clock
from pystreamredis.command.formats import Csv, Text, fields_text, json_lines
from pystreamredis.escaping import escape, is_safe
from tests.pythons import tracemalloc

if TYPE_CHECKING:
    from pystreamredis.command.formats import Message

LOCAL = "2018-06-19 13:48:15.111"
ID = "1529416095111-4"


@pytest.fixture(autouse=True, scope="module")
def zone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC0")
        time.tzset()
        clock.forget_zone()
        yield
    time.tzset()
    clock.forget_zone()


def decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def message(*pairs: tuple[str, str], stream: str = "Stream0") -> Message:
    return stream, ID, list(pairs)


items = st.binary(max_size=20).map(decoded) | st.text(st.characters(exclude_categories=["Cs"]))
messages = st.builds(
    lambda stream, pairs: (stream, ID, pairs),
    items.filter(bool),
    st.lists(st.tuples(items, items), min_size=1, max_size=5),
)


# Readable text.


def text_of(*pairs: tuple[str, str], stream: str = "Stream0") -> str:
    (line,) = Text([stream], colour=False)([message(*pairs, stream=stream)])
    return line


def test_text_has_time_stream_id_and_fields() -> None:
    assert text_of(("index", "21"), ("t", "-2.5")) == f"{LOCAL} Stream0 {ID} index=21 t=-2.5\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a b", '"a b"'),
        ("", ""),
        ('say "hi"', r'"say \"hi\""'),
        ("C:\\new", r'"C:\\new"'),
        ("a=b", "a=b"),
        ("two\nlines", r'"two\nlines"'),
        ("\x1b[2J", r'"\x1b[2J"'),
        ("\xa0", '"\xa0"'),
        (decoded(b"\xff"), r'"\xff"'),
        ("Zürich", "Zürich"),
    ],
)
def test_text_quotes_values_that_are_no_single_word(value: str, shown: str) -> None:
    assert text_of(("f", value)) == f"{LOCAL} Stream0 {ID} f={shown}\n"
    assert text_of(("e", "1"), ("f", value), ("g", "")).endswith(f" e=1 f={shown} g=\n")


def test_text_quotes_names_where_they_could_be_misread() -> None:
    assert fields_text([("a b", "1"), ("c=d", "2"), ('"', "3")]) == r'"a b"=1 "c=d"=2 "\""=3'


def test_text_keeps_fields_that_come_twice_in_their_order() -> None:
    assert text_of(("a", "1"), ("b", "2"), ("a", "3")).endswith(" a=1 b=2 a=3\n")


def test_text_makes_a_column_of_the_streams() -> None:
    lines = Text(["s", "a stream"], colour=False)([message(stream=s) for s in ("s", "a stream")])
    assert [line.split(ID)[0] for line in lines] == [
        f"{LOCAL} s          ",
        f'{LOCAL} "a stream" ',
    ]


def test_text_in_colours_is_the_same_text() -> None:
    both = [
        Text(["a", "b"], colour=colour)([message(("f", "1"), stream=s) for s in ("a", "b")])
        for colour in (False, True)
    ]
    assert both[1] != both[0]
    assert [re.sub("\x1b\\[[0-9]*m", "", line) for line in both[1]] == both[0]
    # What comes after a line is not coloured by it, and no two streams look alike.
    assert all(line.rindex("\x1b[0m") > line.rindex("\x1b[2m") for line in both[1])
    assert re.findall("\x1b\\[3[0-9]m", both[1][0]) != re.findall("\x1b\\[3[0-9]m", both[1][1])


@given(messages)
def test_text_is_one_line_and_obeyed_by_no_terminal(each: Message) -> None:
    (line,) = Text([each[0]], colour=False)([each])
    line.encode("utf-8")
    assert is_safe(line[:-1])


# Right-to-left marks, an Arabic letter mark, zero-width characters, a word joiner, a byte order
# mark, tags.
UNSEEN = ["\u200e", "\u200f", "\u061c", "\u200b", "\u200d", "\u2060", "\ufeff", "\U000e0041"]


@pytest.mark.parametrize("unseen", UNSEEN)
def test_text_shows_characters_that_would_not_be_seen(unseen: str) -> None:
    shown = f'"a{escape(unseen)}b"'
    text = f"a{unseen}b"
    assert text_of((text, text), stream=text) == f"{LOCAL} {shown} {ID} {shown}={shown}\n"


def test_text_keeps_no_names_of_fields_that_are_long(tracing: None) -> None:
    """Peers choose the names: how many there are, and how long they are."""
    table = Text(["s"], colour=False)
    for number in range(1024):
        table([message((f"{number} {'n' * 10_000}", "v"), stream="s")])
    assert tracemalloc.get_traced_memory()[0] < 1_000_000


def test_text_keeps_names_of_fields_by_bytes_not_by_number(tracing: None) -> None:
    table = Text(["s"], colour=False)
    for number in range(20_000):
        table([message((f"{number}{'🙂' * 50}", "v"), stream="s")])
    assert tracemalloc.get_traced_memory()[0] < 2_000_000


@pytest.fixture
def tracing() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


# JSON.


def json_of(*pairs: tuple[str, str], stream: str = "Stream0") -> Any:
    (line,) = json_lines([message(*pairs, stream=stream)])
    return json.loads(line)


def test_json_is_as_it_was_asked_for() -> None:
    (line,) = json_lines([message(("index", "21"))])
    assert line == '{"stream": "Stream0", "id": "1529416095111-4", "data": {"index": "21"}}\n'


def test_json_has_what_is_not_utf8_in_base64() -> None:
    binary = b"\xff\x00"
    found = json_of(("a", decoded(binary)), ("b", "text"), stream=decoded(binary))
    assert found["data"] == {"a": {"base64": base64.b64encode(binary).decode()}, "b": "text"}
    assert found["stream"] == {"base64": "/wA="}


def test_json_marks_names_of_fields_that_are_not_utf8() -> None:
    assert json_of((decoded(b"\xff\x00"), "1"))["data"] == {"base64:/wA=": "1"}


def test_json_keeps_apart_names_that_look_as_if_they_were_marked() -> None:
    fields = decoded(b"\xff\x00"), "base64:/wA=", "base64:"
    assert json_of(*((field, field[:1]) for field in fields))["data"] == {
        "base64:/wA=": {"base64": "/w=="},
        "base64:YmFzZTY0Oi93QT0=": "b",
        "base64:YmFzZTY0Og==": "b",
    }
    assert json_of(("a", "base64:/wA="))["data"] == {"a": "base64:/wA="}


def test_json_lists_the_values_of_a_field_that_comes_twice() -> None:
    found = json_of(("a", "1"), ("b", "2"), ("a", decoded(b"\xff")))
    assert found["data"] == {"a": ["1", {"base64": "/w=="}], "b": "2"}


def test_json_keeps_text_readable() -> None:
    (line,) = json_lines([message(("stadt", "Zürich"))])
    assert "Zürich" in line


@pytest.mark.parametrize("unseen", UNSEEN)
def test_json_escapes_characters_that_would_not_be_seen(unseen: str) -> None:
    text = f"a{unseen}b"
    (line,) = json_lines([message((text, text), stream=text)])
    assert line.isascii()
    assert json.loads(line) == {"stream": text, "id": ID, "data": {text: text}}


def test_json_of_no_fields_is_an_empty_object() -> None:
    assert json_of()["data"] == {}


@given(messages)
def test_json_gives_everything_back(each: Message) -> None:
    (line,) = json_lines([each])
    line.encode("utf-8")
    assert is_safe(line[:-1])
    found = json.loads(line)
    expected: dict[str, list[str]] = {}
    for field, value in each[2]:
        expected.setdefault(field, []).append(value)
    assert {
        key_of(field): [text_in(value) for value in as_list(values)]
        for field, values in found["data"].items()
    } == expected
    assert text_in(found["stream"]) == each[0]


def as_list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def text_in(value: Any) -> str:
    return value if isinstance(value, str) else decoded(base64.b64decode(value["base64"]))


def key_of(key: str) -> str:
    marked = key.startswith("base64:")
    return decoded(base64.b64decode(key.removeprefix("base64:"))) if marked else key


# CSV.


def test_csv_has_the_stream_the_id_and_the_chosen_fields() -> None:
    table = Csv(["temp", "note"], for_terminal=False)
    assert table.header == "stream,id,temp,note\n"
    lines = table([message(("note", "a,b"), ("temp", "20")), message(("other", "x"))])
    assert lines == [f'Stream0,{ID},20,"a,b"\n', f"Stream0,{ID},,\n"]


def test_csv_has_all_values_of_a_field_that_comes_twice() -> None:
    (line,) = Csv(["a"], for_terminal=False)([message(("a", "1"), ("a", "2"))])
    assert line == f'Stream0,{ID},"1,2"\n'


@given(messages)
def test_csv_is_read_back_as_it_was(each: Message) -> None:
    fields = list(dict.fromkeys(field for field, _ in each[2]))
    table = Csv(fields, for_terminal=False)
    text = "".join([table.header, *table([each])])
    assume("\0" not in text or sys.version_info >= (3, 11))  # before, csv reads none of these
    header, row = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["stream", "id", *fields]
    values = [",".join(v for f, v in each[2] if f == field) for field in fields]
    assert row == [each[0], ID, *values]


def test_csv_on_a_terminal_is_not_obeyed() -> None:
    (line,) = Csv(["a"], for_terminal=True)([message(("a", "\x1b[2J\n" + decoded(b"\xff")))])
    assert line == f'Stream0,{ID},"\\x1b[2J\\n\\xff"\n'


@pytest.mark.parametrize("unseen", UNSEEN)
def test_csv_on_a_terminal_shows_characters_that_would_not_be_seen(unseen: str) -> None:
    text, shown = f"a{unseen}b", f"a{escape(unseen)}b"
    table = Csv([text], for_terminal=True)
    assert table.header == f"stream,id,{shown}\n"
    assert table([message((text, text), stream=text)]) == [f"{shown},{ID},{shown}\n"]


@pytest.mark.parametrize(
    "formula",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "-a",
        "@SUM(A1)",
        "-",
        "\t=1",
        "\r=1",
        "\n=1",
        "\uff1d1",
        "-1-1",
        "--1",
    ],
)
def test_csv_for_spreadsheets_has_no_formulas(formula: str) -> None:
    table = Csv([formula], for_terminal=False, for_spreadsheet=True)
    text = "".join([table.header, *table([message((formula, formula), stream=formula)])])
    header, row = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert header == ["stream", "id", f"'{formula}"]
    assert row == [f"'{formula}", ID, f"'{formula}"]


@pytest.mark.parametrize(
    "cell", ["-2.5", "+3", "-0", "-1e-5", "-1,5", "a=1", "'", "1-1", "", " =1"]
)
def test_csv_for_spreadsheets_leaves_numbers_and_text(cell: str) -> None:
    plain = Csv(["a"], for_terminal=False)([message(("a", cell))])
    assert Csv(["a"], for_terminal=False, for_spreadsheet=True)([message(("a", cell))]) == plain


def test_csv_leaves_formulas_unless_asked() -> None:
    assert Csv(["a"], for_terminal=False)([message(("a", "=1"))]) == [f"Stream0,{ID},=1\n"]
