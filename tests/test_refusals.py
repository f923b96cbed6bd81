"""`pystreamredis.refusals`: what an error reply means for whoever asked."""

from __future__ import annotations

import pytest

from pystreamredis.exceptions import AuthenticationError, ConnectionError, ResponseError
from pystreamredis.protocol import ServerError
from pystreamredis.refusals import is_temporary, may_be_one_streams, refusal

TEMPORARY = [
    "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "CLUSTERDOWN The cluster is down",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "BUSY Redis is busy running a script.",
    "UNBLOCKED client unblocked via CLIENT UNBLOCK",
    "ERR max number of clients reached",
    "ERR max number of clients + cluster connections reached",
]
FINAL = [
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOPERM this user has no permissions to access one of the keys used as arguments",
    "ERR unknown command 'XREAD'",
    "ERR Invalid stream ID specified as stream command argument",
    "MOVED 3999 127.0.0.1:6381",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "DENIED Redis is running in protected mode",
    "ERR LOADING is not the first word here",
    "BUSYGROUP Consumer Group name already exists",
    "",
]
CREDENTIALS = [
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOAUTH Authentication required.",
]
ADDRESS = "localhost:6379"


@pytest.mark.parametrize("text", TEMPORARY)
def test_what_passes_is_a_failure_of_the_connection(text: str) -> None:
    """Contract 5.1: the server's temporary refusals."""
    assert is_temporary(ServerError(text))
    error = refusal(ServerError(text), ADDRESS, "XREAD")
    assert type(error) is ConnectionError
    assert str(error) == f"localhost:6379 refused XREAD: {text}"


@pytest.mark.parametrize("text", FINAL)
def test_what_stays_is_a_response_error_with_its_code(text: str) -> None:
    """Contract 5.6: `ResponseError` for the rest, with `.code`."""
    assert not is_temporary(ServerError(text))
    error = refusal(ServerError(text), ADDRESS, "XREAD")
    assert type(error) is ResponseError
    assert (error.code, error.stream) == (text.split(" ")[0], None)
    assert str(error) == f"localhost:6379 refused XREAD: {text}"


@pytest.mark.parametrize("asked", ["AUTH", "HELLO", "XREAD", "SELECT 1"])
@pytest.mark.parametrize("text", CREDENTIALS)
def test_other_credentials_are_wanted(text: str, asked: str) -> None:
    """Contract 5.6: `AuthenticationError` (WRONGPASS, NOAUTH)."""
    error = refusal(ServerError(text), ADDRESS, asked)
    assert type(error) is AuthenticationError
    assert error.code == text.split(" ")[0]


def test_whatever_is_wrong_with_auth_is_about_credentials() -> None:
    """Before Redis 6 a wrong password, and one that was not wanted, had the code ERR."""
    error = refusal(ServerError("ERR invalid password"), ADDRESS, "AUTH")
    assert type(error) is AuthenticationError
    assert error.code == "ERR"


def test_auth_may_be_refused_for_now_as_well() -> None:
    """Contract 5.1: a retry may mend it, so it is no `AuthenticationError`."""
    error = refusal(ServerError("LOADING Redis is loading"), ADDRESS, "AUTH")
    assert type(error) is ConnectionError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", True),
        ("NOPERM No permissions to access a key", True),
        ("NOPERM User reader has no permissions to run the 'xread' command", False),
        ("NOPERM this user has no permissions to run the 'XREAD' command", False),
        ("ERR unknown command 'XREAD', with args beginning with: ", False),
        ("CROSSSLOT Keys in request don't hash to the same slot", False),
    ],
)
def test_only_some_refusals_may_be_the_fault_of_one_stream(text: str, expected: bool) -> None:
    """Contract 5.6: the stream's name where *one* stream is at fault."""
    assert may_be_one_streams(ServerError(text)) is expected


@pytest.mark.parametrize("stream", ["s", b"s", "a\nb"])
def test_the_stream_at_fault_is_named(stream: str | bytes) -> None:
    """Contract 5.6: and the stream's name where one stream is at fault."""
    error = refusal(ServerError("WRONGTYPE no"), "unix:/s", "XREAD", stream)
    assert isinstance(error, ResponseError)
    assert error.stream is stream
    assert str(error) == f"unix:/s refused XREAD of stream {stream!r}: WRONGTYPE no"
