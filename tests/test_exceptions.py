"""`pystreamredis.exceptions`: one tree of errors, which built-in handlers catch as well."""

from __future__ import annotations

import builtins
import inspect
import pickle

import pytest

from pystreamredis import exceptions
from pystreamredis.exceptions import (
    AuthenticationError,
    ConnectionError,
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


@pytest.mark.parametrize(
    "error",
    [ConnectionError("a"), TimeoutError("b"), ResponseError("c", code="NOPERM", stream="s")],
)
def test_an_error_survives_the_way_to_another_process(error: RedisError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))
