"""`pystreamredis.exceptions`: one tree of errors, which built-in handlers catch as well."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
from typing import Any

import pytest

from pystreamredis import exceptions
from pystreamredis.exceptions import (
    AuthenticationError,
    ConnectionError,
    MessageError,
    ProtocolError,
    RedisError,
    ResponseError,
    TimeoutError,
)

PARENTS = [
    (RedisError, Exception),
    (ConnectionError, RedisError),
    (ConnectionError, builtins.ConnectionError),
    (TimeoutError, ConnectionError),
    (TimeoutError, builtins.TimeoutError),
    (ProtocolError, ConnectionError),
    (ResponseError, RedisError),
    (AuthenticationError, ResponseError),
    (MessageError, RedisError),
]


@pytest.mark.parametrize(("error", "parent"), PARENTS)
def test_the_tree_of_errors_is_the_one_that_callers_were_told_of(
    error: type[Exception], parent: type[Exception]
) -> None:
    """Contract 1: which class is below which, the built-in ones included."""
    assert issubclass(error, parent)


def test_a_refusal_for_good_is_no_failure_of_the_connection() -> None:
    """Contract 5.6: those who retry on a `ConnectionError` do not retry a refusal."""
    assert not issubclass(ResponseError, builtins.OSError)
    assert not issubclass(ResponseError, ConnectionError)


def test_the_module_has_these_errors_and_no_others() -> None:
    """Contract 1: the error classes."""
    found = {name for name, _ in inspect.getmembers(exceptions, inspect.isclass)}
    assert found == {
        "AuthenticationError",
        "ConnectionError",
        "MessageError",
        "ProtocolError",
        "RedisError",
        "ResponseError",
        "TimeoutError",
    }


@pytest.mark.parametrize("kind", [ConnectionError, TimeoutError, ProtocolError])
def test_an_error_of_the_connection_shows_its_text_and_nothing_else(
    kind: type[ConnectionError],
) -> None:
    """Contract 5.1: one text; `OSError`, which is above, would make more of two arguments."""
    error = kind("localhost:6379 closed the connection")
    assert str(error) == "localhost:6379 closed the connection"
    assert error.errno is None


@pytest.mark.parametrize("kind", [ResponseError, AuthenticationError])
def test_a_refusal_has_the_code_and_the_stream_at_fault(kind: type[ResponseError]) -> None:
    """Contract 1 and 5.6: `.code`, and the stream's name where one stream is at fault."""
    error = kind("localhost:6379 refused XREAD", code="WRONGTYPE", stream=b"s")
    assert (str(error), error.code, error.stream) == (
        "localhost:6379 refused XREAD",
        "WRONGTYPE",
        b"s",
    )


def test_a_refusal_without_a_code_is_a_plain_one_about_no_stream() -> None:
    error = ResponseError("no")
    assert (error.code, error.stream) == ("ERR", None)


def test_a_message_error_has_stream_id_and_raw_pairs() -> None:
    """Contract 3.5."""
    pairs = [(b"f", b"\xff"), (b"f", b"2")]
    error = MessageError("stream 's', entry 1-1", stream="s", id="1-1", pairs=pairs)
    assert (error.stream, error.id, error.pairs) == ("s", "1-1", pairs)
    assert str(error) == "stream 's', entry 1-1"
    assert not issubclass(MessageError, builtins.OSError)


class Demanding(ResponseError):
    """A subclass that cannot be made of its text alone."""

    def __init__(self, text: str, *, extra: int) -> None:
        super().__init__(text, code="EXTRA")
        self.extra = extra


@pytest.mark.parametrize(
    "error",
    [
        RedisError("0"),
        ConnectionError("a"),
        TimeoutError("b"),
        ProtocolError("c"),
        ResponseError("d", code="NOPERM", stream="s"),
        AuthenticationError("e", code="NOAUTH"),
        MessageError("f", stream=("fra", b"s"), id=b"1-1", pairs=[(b"f", b"v")]),
        Demanding("g", extra=5),
    ],
)
@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        *[
            lambda error, p=protocol: pickle.loads(pickle.dumps(error, p))
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
        ],
    ],
)
def test_an_error_survives_pickle_and_copy(error: RedisError, duplicate: Any) -> None:
    """Contract 1: an error that a worker process raises comes back whole."""
    found = duplicate(error)
    assert type(found) is type(error)
    assert found is not error
    assert (str(found), found.args, vars(found)) == (str(error), error.args, vars(error))
