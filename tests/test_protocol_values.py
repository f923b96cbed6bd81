"""`pystreamredis.protocol.values`: values that tell their types, whatever they hold."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from pystreamredis.protocol import NEED_DATA, Map, NeedData, Push, ServerError, Set, VerbatimString
from pystreamredis.protocol.values import pairs_of

AGGREGATES: list[type[list[Any]]] = [Map, Set, Push]


def test_need_data_is_told_by_its_name_and_by_its_type() -> None:
    assert repr(NEED_DATA) == "NEED_DATA"
    assert isinstance(NEED_DATA, NeedData)


def test_need_data_equals_nothing_that_a_server_can_send() -> None:
    """Unlike `False`, which hiredis takes for it and RESP3 has as a value."""
    values: list[Any] = [False, None, b"", 0, [], Map(), Set(), Push(), ServerError("")]
    for value in values:
        assert value != NEED_DATA


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "WRONGTYPE"),
        ("ERR", "ERR"),
        ("", ""),
        (" leading", ""),
        ("MOVED 3999 127.0.0.1:6381", "MOVED"),
    ],
)
def test_the_code_of_an_error_is_its_first_word(text: str, code: str) -> None:
    """Contract 1: `ResponseError` has `.code`; it comes from here."""
    error = ServerError(text)
    assert error.code == code
    assert error.text == text


def test_errors_are_values_that_compare_by_their_text() -> None:
    assert ServerError("ERR a") == ServerError("ERR a")
    assert ServerError("ERR a") != ServerError("ERR b")
    assert ServerError("ERR a") != "ERR a"
    assert len({ServerError("ERR a"), ServerError("ERR a"), ServerError("ERR b")}) == 2
    assert repr(ServerError("ERR a")) == "ServerError('ERR a')"


def test_an_error_is_a_value_and_no_exception() -> None:
    assert not isinstance(ServerError("ERR"), BaseException)


def test_a_verbatim_string_is_its_text_and_keeps_its_format() -> None:
    string = VerbatimString(b"Some string", "mkd")
    assert string == b"Some string"
    assert string.format == "mkd"
    assert VerbatimString(b"").format == "txt"
    assert repr(string) == "VerbatimString(b'Some string', 'mkd')"


@pytest.mark.parametrize("kind", AGGREGATES)
def test_an_aggregate_is_a_list_that_only_its_own_type_equals(kind: type[list[Any]]) -> None:
    items = [(1, 2)]
    value = kind(items)
    assert isinstance(value, list)
    assert value == kind(items)
    assert (value != kind(items)) is False  # `!=` has a method of its own
    assert value != kind([(1, 3)])
    assert value != items
    assert items != value
    for other in AGGREGATES:
        assert (value == other(items)) is (other is kind)
    assert repr(value) == f"{kind.__name__}([(1, 2)])"


@pytest.mark.parametrize("value", [Map([(1, [2])]), Set([[1]]), Push([b"invalidate"])])
def test_an_aggregate_survives_copies(value: list[Any]) -> None:
    for twin in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert twin == value
        assert type(twin) is type(value)


def test_members_need_not_be_hashable() -> None:
    assert Map.of_items([[1], {}, Map(), Set([[]])]) == Map([([1], {}), (Map(), Set([[]]))])


def test_a_map_keeps_order_and_keys_that_come_twice() -> None:
    assert list(Map.of_items([b"b", 1, b"a", 2, b"b", 3])) == [(b"b", 1), (b"a", 2), (b"b", 3)]
    assert Map.of_items([]) == Map()


def test_a_key_without_a_value_makes_no_map() -> None:
    with pytest.raises(ValueError, match="zip"):
        Map.of_items([b"a", 1, b"b"])


def test_pairs_of_pairs_up_in_wire_order() -> None:
    assert list(pairs_of([b"f", b"v", b"f", b"w"])) == [(b"f", b"v"), (b"f", b"w")]
    assert list(pairs_of([])) == []


def test_a_field_without_a_value_makes_no_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        list(pairs_of([b"f", b"v", b"g"]))
