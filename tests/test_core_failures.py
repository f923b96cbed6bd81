"""`pystreamredis.core.failures`: which error a failure is for the caller, and its text."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from pystreamredis.core.failures import (
    connection_lost,
    is_temporary,
    login_failed,
    may_be_one_stream,
    no_reply,
    not_connected,
    not_resp,
    refusal,
)
from pystreamredis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ProtocolError,
    ResponseError,
    TimeoutError,
)
from pystreamredis.options import ConnectionOptions
from pystreamredis.protocol import ProtocolError as WireError
from pystreamredis.protocol import ServerError

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
def test_a_temporary_refusal_is_a_failure_of_the_connection(text: str) -> None:
    """Contract 5.1: the server's temporary refusals."""
    assert is_temporary(ServerError(text))
    error = refusal(ServerError(text), ADDRESS, "XREAD")
    assert type(error) is ConnectionError
    assert str(error) == f"localhost:6379 refused XREAD: {text}"


@pytest.mark.parametrize("text", FINAL)
def test_any_other_refusal_is_a_response_error_with_its_code(text: str) -> None:
    """Contract 5.6: `ResponseError` for the rest, with `.code`."""
    assert not is_temporary(ServerError(text))
    error = refusal(ServerError(text), ADDRESS, "XREAD")
    assert type(error) is ResponseError
    assert (error.code, error.stream) == (text.split(" ")[0], None)
    assert str(error) == f"localhost:6379 refused XREAD: {text}"


@pytest.mark.parametrize("asked", ["AUTH", "HELLO", "XREAD", "SELECT 1"])
@pytest.mark.parametrize("text", CREDENTIALS)
def test_refused_credentials_are_an_authentication_error(text: str, asked: str) -> None:
    """Contract 5.6: `AuthenticationError` (WRONGPASS, NOAUTH)."""
    error = refusal(ServerError(text), ADDRESS, asked)
    assert type(error) is AuthenticationError
    assert error.code == text.split(" ")[0]


def test_any_refusal_of_auth_is_an_authentication_error() -> None:
    """Before Redis 6 a wrong password, and one that was not wanted, had the code ERR."""
    error = refusal(ServerError("ERR invalid password"), ADDRESS, "AUTH")
    assert type(error) is AuthenticationError
    assert error.code == "ERR"


def test_a_temporary_refusal_of_auth_is_a_connection_error() -> None:
    """Contract 5.1: a retry may succeed."""
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
def test_only_some_refusals_may_be_about_one_stream(text: str, expected: bool) -> None:
    """Contract 5.6: the stream's name where *one* stream is at fault."""
    assert may_be_one_stream(ServerError(text)) is expected


@pytest.mark.parametrize("stream", ["s", b"s", "a\nb"])
def test_the_failing_stream_is_named(stream: str | bytes) -> None:
    """Contract 5.6: and the stream's name where one stream is at fault."""
    error = refusal(ServerError("WRONGTYPE no"), "unix:/s", "XREAD", stream)
    assert isinstance(error, ResponseError)
    assert error.stream is stream
    assert str(error) == f"unix:/s refused XREAD of stream {stream!r}: WRONGTYPE no"


def test_a_peers_text_cannot_break_out_of_its_line() -> None:
    """Contract 7: nor fill a log, however long it is."""
    error = refusal(ServerError("WRONG\x1b no\nfaked line" + "x" * 5000), ADDRESS, "XREAD")
    assert isinstance(error, ResponseError)
    assert str(error).isprintable()
    assert len(str(error)) < 600
    assert error.code == "WRONG\\x1b"


LONG_TEXT = "no\nway " + "x" * 5000


@pytest.mark.parametrize(
    "error",
    [
        not_connected(ConnectionOptions(), ADDRESS, OSError(LONG_TEXT)),
        connection_lost(
            ConnectionOptions(), ADDRESS, OSError(LONG_TEXT), missing=None, is_understood=True
        ),
        not_resp(ADDRESS, WireError(LONG_TEXT), is_secret_sent=False),
        login_failed(ADDRESS, ValueError(LONG_TEXT)),
    ],
    ids=lambda error: str(error)[:20],
)
def test_the_text_of_a_cause_is_escaped_and_cut(error: Exception) -> None:
    """Contract 5.1, 7: it may repeat what a peer has sent."""
    assert ADDRESS in str(error)
    assert "no\\nway xxx" in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize(
    ("cause", "kind"),
    [(OSError("refused"), ConnectionError), (builtins.TimeoutError("refused"), TimeoutError)],
)
def test_no_connection_in_time_is_a_timeout_and_a_connection_error(
    cause: Exception, kind: type[Exception]
) -> None:
    """Contract 5.1, 5.5."""
    error = not_connected(ConnectionOptions(), ADDRESS, cause)
    assert type(error) is kind
    assert isinstance(error, ConnectionError)
    assert str(error) == "cannot connect to localhost:6379: refused"


def test_a_tls_handshake_without_an_answer_may_be_with_a_server_without_tls() -> None:
    over_tls = ConnectionOptions(ssl=True)
    assert str(not_connected(over_tls, ADDRESS, builtins.TimeoutError("late"))) == (
        "cannot connect to localhost:6379: late (is it a port for TLS?)"
    )
    assert str(not_connected(over_tls, ADDRESS, OSError("no"))) == (
        "cannot connect to localhost:6379: no"
    )


TLS_ADVICE = " (if it is a port for TLS: ssl=True, or rediss://)"
PROXY_ADVICE = " (if it is a proxy: is there a server behind it, and does it pass XREAD on?)"


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, TLS_ADVICE + PROXY_ADVICE),
        ({"ssl": True}, PROXY_ADVICE),
        ({"unix_socket_path": "/s"}, PROXY_ADVICE),
    ],
)
def test_a_peer_that_was_never_understood_may_be_none_that_was_meant(
    options: Any, advice: str
) -> None:
    """The text gives what a new user most likely has to change."""
    options = ConnectionOptions(**options)
    lost = connection_lost(options, ADDRESS, None, missing=None, is_understood=False)
    assert str(lost) == f"localhost:6379 closed the connection{advice}"
    reset = OSError("reset")
    lost = connection_lost(options, ADDRESS, reset, missing=None, is_understood=False)
    assert str(lost) == f"lost the connection to localhost:6379: reset{advice}"


def test_what_a_broken_reply_lacks_is_named() -> None:
    lost = connection_lost(
        ConnectionOptions(), ADDRESS, None, missing="a part of a reply", is_understood=True
    )
    assert type(lost) is ConnectionError
    assert str(lost) == "localhost:6379 closed the connection after a part of a reply"


def test_silence_is_a_timeout_that_names_the_option() -> None:
    """Contract 5.5."""
    error = no_reply(ConnectionOptions(socket_timeout=2.5), ADDRESS, 3.14)
    assert type(error) is TimeoutError
    assert str(error) == (
        "no reply from localhost:6379 for 3.1 s, expected one within 2.5 s (socket_timeout) of "
        "when it was due"
    )


def test_bytes_that_are_not_resp_are_a_protocol_error_with_its_cause() -> None:
    """Contract 5.1."""
    cause = WireError("b'what is this'")
    error = not_resp(ADDRESS, cause, is_secret_sent=False)
    assert type(error) is ProtocolError
    assert error.__cause__ is cause
    assert str(error) == "localhost:6379 sent b'what is this'"


def test_what_a_peer_sends_during_the_login_is_not_shown() -> None:
    """Contract 7: some peers repeat what they were sent."""
    cause = WireError("open sesame")
    error = not_resp(ADDRESS, cause, is_secret_sent=True)
    assert "sesame" not in f"{error} {error.__cause__!r}"
    assert isinstance(error.__cause__, WireError)


def test_a_callable_without_a_password_is_a_connection_error() -> None:
    """Contract 5.1."""
    error = login_failed(ADDRESS, KeyError("vault"))
    assert type(error) is ConnectionError
    assert str(error) == "cannot log in to localhost:6379: 'vault'"
