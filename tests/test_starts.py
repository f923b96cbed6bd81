"""`pystreamredis.starts`: which streams, and from where, in every form that callers use."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.protocol.ids import before, number_of
from pystreamredis.starts import Last, find_doubtful_starts, parse_start, parse_streams


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (None, []),
        ({"a": 0, b"b": "$"}, [("a", 0), (b"b", "$")]),
        (OrderedDict(z=1, a=2), [("z", 1), ("a", 2)]),
        (MappingProxyType({"a": None}), [("a", None)]),
        (["b", "a"], [("b", None), ("a", None)]),
        (("b", b"a"), [("b", None), (b"a", None)]),
        ({"a"}, [("a", None)]),
        (frozenset({b"a"}), [(b"a", None)]),
        ("stream", [("stream", None)]),
        (b"stream", [(b"stream", None)]),
        ({"a": 0}.keys(), [("a", None)]),
        ((name for name in "ab"), [("a", None), ("b", None)]),
        ("", [("", None)]),
        ({}, []),
        ([], []),
    ],
)
def test_streams_come_as_a_mapping_as_names_or_as_one_name(streams: Any, expected: Any) -> None:
    """Contract 2.1: `streams=`; every stream without a value starts now."""
    assert parse_streams(streams, {}) == expected


def test_keywords_come_after_what_streams_gives() -> None:
    """Contract 2.1: or both; 3.2: the order in which they were given counts."""
    assert parse_streams({"b": 1}, {"self": 2, "a": 3}) == [("b", 1), ("self", 2), ("a", 3)]
    assert parse_streams(None, {"streams": 0}) == [("streams", 0)]


def test_a_name_stays_the_very_object_that_was_given() -> None:
    """Contract 1.3: `stream_name` is the very object the caller gave."""
    name = "".join(["str", "eam"])
    assert parse_streams([name], {})[0][0] is name
    assert parse_streams({name: 0}, {})[0][0] is name


@pytest.mark.parametrize("streams", [1, 1.5, True, object()])
def test_what_holds_no_names_is_refused(streams: Any) -> None:
    """Contract 7: the text names the option and the value."""
    with pytest.raises(TypeError, match=r"^streams is .*, but must be a dict, list, tuple or set"):
        parse_streams(streams, {})


@pytest.mark.parametrize("streams", [[1], {2: 0}, [None], [["a"]], bytearray(b"a")])
def test_a_name_that_is_no_text_is_refused(streams: Any) -> None:
    """Contract 7: the text names the stream."""
    with pytest.raises(TypeError, match=r"^stream name .* is of type \w+, but must be a str "):
        parse_streams(streams, {})


@pytest.mark.parametrize("start", [None, "$", b"$"])
def test_now_is_not_known_before_the_server_was_asked(start: Any) -> None:
    """Contract 2.2: `None`, `"$"`, `b"$"`."""
    assert parse_start("s", start) == 0


@pytest.mark.parametrize(("start", "number"), [("+", 1), (b"+", 1), (Last(1), 1), (Last(77), 77)])
def test_a_start_may_be_counted_from_the_end(start: Any, number: int) -> None:
    """Contract 2.2: the last message, or the n-th from the end."""
    assert parse_start("s", start) == number


@pytest.mark.parametrize("n", [0, -1, 2**31])
def test_a_number_of_last_messages_out_of_range_is_refused(n: int) -> None:
    """Contract 7: it names the value, before anything is sent."""
    with pytest.raises(ValueError, match=rf"^Last\({n}\): n must be from 1 to 2147483647$"):
        Last(n)


@pytest.mark.parametrize("n", [True, 1.0, "1", None])
def test_a_number_of_last_messages_is_an_int(n: Any) -> None:
    """Contract 7."""
    with pytest.raises(TypeError, match=r"^Last\(.*\): n must be an int$"):
        Last(n)


def test_the_last_messages_are_shown_as_they_are_written() -> None:
    assert repr(Last(5)) == "Last(5)"
    assert pickle.loads(pickle.dumps(Last(5))).n == 5


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (0, b"0-0"),
        (1, b"0-18446744073709551615"),
        (1530403200000, b"1530403199999-18446744073709551615"),
        ("1530403200000", b"1530403199999-18446744073709551615"),
        (b"1530403200000", b"1530403199999-18446744073709551615"),
        ("0", b"0-0"),
        ("0-0", b"0-0"),
        ("1529416095111-4", b"1529416095111-4"),
        (b"1529416095111-4", b"1529416095111-4"),
        (2**64 - 1, b"18446744073709551614-18446744073709551615"),
        (datetime(2018, 7, 1, tzinfo=UTC), b"1530403199999-18446744073709551615"),
        (datetime(1970, 1, 1, tzinfo=UTC), b"0-0"),
        (
            datetime(2018, 7, 1, 2, tzinfo=timezone(timedelta(hours=2))),
            b"1530403199999-18446744073709551615",
        ),
    ],
)
def test_a_start_is_the_id_to_read_after(start: Any, expected: bytes) -> None:
    """Contract 2.2, row by row."""
    assert parse_start("s", start) == expected


@settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 2), timezones=st.just(UTC)))
def test_a_datetime_is_included(moment: datetime) -> None:
    """Contract 2.2: at that time, included; to the ms, without a rounding error."""
    start = parse_start("s", moment)
    assert start is not None
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert start == before(microseconds // 1000)
    assert number_of(start) < number_of(b"%d-0" % (microseconds // 1000))


@pytest.mark.parametrize(
    "start",
    [
        -1,
        2**64,
        "abc",
        "1-2-3",
        "",
        b"",
        "-1",
        b"\xff",
        b"\xb2",
        "$$",
        "++",
        "+1",
        f"{2**64}",
        f"1-{2**64}",
        datetime(2018, 7, 1),
        datetime(1969, 12, 31, tzinfo=UTC),
    ],
)
def test_a_start_of_the_right_type_may_still_be_none(start: Any) -> None:
    """Contract 7: a `ValueError` that names the stream and the value."""
    with pytest.raises(ValueError, match=r"^stream 'some stream': start ") as caught:
        parse_start("some stream", start)
    text = str(caught.value)
    assert text.startswith(f"stream 'some stream': start {start!r}: ")
    assert "; a start must be None or '$' (now), an int" in text


def test_a_naive_datetime_is_refused_for_what_it_is() -> None:
    """Contract 7: a naive `datetime`."""
    with pytest.raises(ValueError, match="naive datetime"):
        parse_start("s", datetime(2018, 7, 1))


class Imposter:
    """Has a method of a datetime, and is none."""

    def utcoffset(self) -> None: ...


@pytest.mark.parametrize("start", [True, False, 1.5, [], {}, object(), Imposter(), timedelta(1)])
def test_a_start_of_another_type_is_refused(start: Any) -> None:
    """Contract 7: `True`, `1.5` are a `TypeError` that names the stream and the value."""
    with pytest.raises(TypeError, match=r"^stream b'raw': start ") as caught:
        parse_start(b"raw", start)
    assert repr(start) in str(caught.value)
    assert "a start must be None" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "option"),
    [("cuont", "count"), ("blok", "block"), ("decode_response", "decode_responses")],
)
def test_a_slip_of_the_pen_is_told_the_option_that_may_have_been_meant(
    name: str, option: str
) -> None:
    """Contract 7: the text of a bad start says which option may have been meant."""
    with pytest.raises(TypeError, match=rf"\(was the option '{option}' meant\?\)$"):
        parse_start(name, True)


@pytest.mark.parametrize("name", ["temperature", b"cuont", "Stream0", "stream12"])
def test_no_option_is_meant_by_what_is_near_to_none(name: str | bytes) -> None:
    """Keywords are text: bytes were never meant for one."""
    with pytest.raises(TypeError) as caught:
        parse_start(name, True)
    assert "meant" not in str(caught.value)


@pytest.mark.parametrize("slip", ["password", "pasword", "passwort", "Password"])
def test_a_password_under_a_misspelt_keyword_is_not_shown(slip: str) -> None:
    """Contract 7: passwords are in no error text."""
    with pytest.raises(ValueError, match="was the option 'password' meant") as caught:
        parse_start(slip, "open sesame")
    assert "sesame" not in str(caught.value)


def test_a_password_under_a_misspelt_keyword_with_a_number_is_not_shown() -> None:
    with pytest.raises(ValueError, match="start \\(not shown\\)") as caught:
        parse_start("passwort2", "open sesame")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("start", [True, 1.5, "1e9", "1-0", "²", "1" * 5000, None, object()])
def test_what_is_not_an_early_time_is_not_doubtful(start: Any) -> None:
    """Contract 2.2: bad starts are errors already, and IDs are not times."""
    assert find_doubtful_starts({"s": start}, {"t": start}) == []
    assert find_doubtful_starts(["s"], {}) == find_doubtful_starts(None, {}) == []
