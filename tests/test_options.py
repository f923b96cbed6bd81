"""`pystreamredis.options`: every option is checked before anything is sent."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import shutil
import ssl
import subprocess
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pystreamredis
import pystreamredis.asyncio
from pystreamredis.options import (
    CONNECTION,
    OPTIONS,
    READ,
    ConnectionOptions,
    ReadOptions,
    is_async,
)
from tests.certificates import Authority
from tests.simulation import reading
from tools import option_tables

SECRET = "open sesame"
HOST = "but must be a str or a callable"


def connection(**given: Any) -> ConnectionOptions:
    """Make options whose names are not written out."""
    return ConnectionOptions(**given)


def test_read_options_are_kept_as_they_were_given() -> None:
    """Contract 1.2: the seed's options."""
    sign = object()
    options = reading(count=7, block=None, timeout_response=sign, fields=list)
    assert (options.count, options.block, options.fields) == (7, None, list)
    assert options.timeout_response is sign
    assert (options.stop_on_timeout, options.raise_connection_exceptions) == (False, True)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("count", 1),
        ("count", 2**63 - 1),
        ("block", 0),
        ("block", 1),
        ("block", 2**63 - 1),
        ("hold", 0),
    ],
)
def test_counts_and_times_may_be_as_large_as_the_server_reads_them(option: str, value: int) -> None:
    assert getattr(reading(**{option: value}), option) == value


@pytest.mark.parametrize(
    ("option", "value"),
    [("count", 0), ("count", -1), ("count", 2**63), ("block", -1), ("block", 2**63)],
)
def test_counts_and_times_out_of_range_are_refused(option: str, value: int) -> None:
    """Contract 7: `count` below 1, `block` below 0: the option and the value are named."""
    with pytest.raises(
        ValueError, match=rf"^{option} is {value}, but must be (at least [01]|below 2\*\*63)$"
    ):
        reading(**{option: value})


@pytest.mark.parametrize("option", ["count", "block", "hold"])
@pytest.mark.parametrize("value", [True, False, 1.0, "1", b"1", []])
def test_counts_and_times_that_are_no_int_are_refused(option: str, value: Any) -> None:
    """Contract 7: or not an `int`."""
    with pytest.raises(TypeError) as caught:
        reading(**{option: value})
    assert str(caught.value).startswith(f"{option} is {value!r}, but must be an int")


def test_no_count_at_all_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^count is None, but must be an int$"):
        reading(count=None)


@pytest.mark.parametrize("value", [None, 0, 250, 0.5, 2**31 - 1, lambda: iter([1])])
def test_a_retry_delay_is_a_time_or_a_callable(value: Any) -> None:
    """Contract 5.3."""
    assert reading(retry_delay=value).retry_delay is value


@pytest.mark.parametrize("value", [-1, 2**31, float("inf"), float("nan")])
def test_a_retry_delay_out_of_range_is_refused(value: float) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match=r"^retry_delay is .*, but must be from 0 to 2\*\*31 ms$"):
        reading(retry_delay=value)


@pytest.mark.parametrize("value", ["1", True, [100, 200]])
def test_a_retry_delay_of_another_type_is_refused(value: Any) -> None:
    """Contract 7."""
    with pytest.raises(TypeError) as caught:
        reading(retry_delay=value)
    expected = f"retry_delay is {value!r}, but must be a number of ms, a callable or None"
    assert str(caught.value) == expected


@pytest.mark.parametrize("value", ["", "Restart", None, True])
def test_what_to_do_about_a_rewind_is_one_of_two(value: Any) -> None:
    """Contract 7: the option and the value are named."""
    assert reading(on_rewind="restart").on_rewind == "restart"
    with pytest.raises(ValueError, match="must be 'keep' or 'restart'") as caught:
        reading(on_rewind=value)
    assert str(caught.value).startswith(f"on_rewind is {value!r}, ")


@pytest.mark.parametrize("fields", [None, "dict", 1])
def test_fields_has_to_be_something_to_call(fields: Any) -> None:
    """Contract 1.3: any callable that takes an iterable of pairs."""
    with pytest.raises(TypeError, match=r"^fields is .*, but must be a callable that takes pairs$"):
        reading(fields=fields)


def test_the_defaults_of_a_connection_are_those_of_the_contract() -> None:
    """Contract 1.2: `db=0`, `protocol=2`, ...; 5.5: `socket_timeout` is 5 s."""
    options = ConnectionOptions()
    assert options.credentials()[1] is None
    assert {name: value for name, value in vars(options).items() if not name.startswith("_")} == {
        "address_remap": None,
        "client_name": None,
        "connect_timeout": 5.0,
        "credentials_max_age": None,
        "db": 0,
        "decode_responses": False,
        "encoding": "utf-8",
        "encoding_errors": "surrogateescape",
        "host": "localhost",
        "port": 6379,
        "protocol": 2,
        "socket_keepalive": True,
        "socket_timeout": 5.0,
        "unix_socket_path": None,
        "username": None,
    }


@pytest.mark.parametrize(
    ("option", "low", "high"), [("port", 1, 65535), ("db", 0, 2**31 - 1), ("protocol", 2, 3)]
)
def test_a_number_of_a_connection_has_to_be_in_range(option: str, low: int, high: int) -> None:
    """Contract 7: `port` outside 1-65535."""
    for value in (low, high):
        assert getattr(connection(**{option: value}), option) == value
    for value in (low - 1, high + 1):
        with pytest.raises(
            ValueError, match=rf"^{option} is {value}, but must be from {low} to {high}$"
        ):
            connection(**{option: value})
    others: list[Any] = ["6379", 6379.0, True, None]
    for other in others:
        with pytest.raises(TypeError) as caught:
            connection(**{option: other})
        assert str(caught.value) == f"{option} is {other!r}, but must be an int"


@pytest.mark.parametrize("option", ["socket_timeout", "socket_connect_timeout"])
def test_a_timeout_is_a_number_of_seconds_above_zero(option: str) -> None:
    kept = option.replace("socket_connect", "connect")
    for value in (0.001, 1, 2.5, 2**31 - 1):
        assert getattr(connection(**{option: value}), kept) == value
    for value in (0, -1, 0.0, 2**31, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"^{option} is {value!r}, but must be more than 0"):
            connection(**{option: value})
    others: list[Any] = ["1", True, []]
    for other in others:
        with pytest.raises(TypeError) as caught:
            connection(**{option: other})
        assert (
            str(caught.value) == f"{option} is {other!r}, but must be a number of seconds, or None"
        )


def test_the_time_to_connect_is_that_of_a_reply_unless_it_is_given() -> None:
    assert ConnectionOptions(socket_timeout=2).connect_timeout == 2
    assert ConnectionOptions(socket_timeout=None).connect_timeout is None
    assert ConnectionOptions(socket_timeout=2, socket_connect_timeout=3).connect_timeout == 3
    assert ConnectionOptions(socket_timeout=None, socket_connect_timeout=3).connect_timeout == 3


@pytest.mark.parametrize("option", ["username", "client_name", "unix_socket_path"])
def test_texts_of_a_connection_are_text_bytes_or_none(option: str) -> None:
    for value in ("text", b"bytes", None):
        assert getattr(connection(**{option: value}), option) == value
    with pytest.raises(TypeError, match=rf"^{option} is 5, but must be a str, bytes or None$"):
        connection(**{option: 5})


@pytest.mark.parametrize(
    ("host", "error", "text"),
    [
        (None, TypeError, f"host is of type NoneType, {HOST}"),
        (b"localhost", TypeError, f"host is of type bytes, {HOST}"),
        ({"s": 0}, TypeError, f"host is of type dict, {HOST}; streams go into streams="),
        (["s"], TypeError, f"host is of type list, {HOST}; streams go into streams="),
        ("", ValueError, "host is empty, but must be a name or an address"),
    ],
)
def test_a_host_is_a_name(host: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        ConnectionOptions(host)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "localhost:6379"),
        ({"host": "::1", "port": 7}, "[::1]:7"),
        ({"host": "10.0.0.1"}, "10.0.0.1:6379"),
        ({"unix_socket_path": "/run/redis.sock"}, "unix:/run/redis.sock"),
        ({"host": "evil\u202e\x1b"}, "evil\\u202e\\x1b:6379"),
        ({"unix_socket_path": "/run/\udcff"}, "unix:/run/\\xff"),
        ({"unix_socket_path": b"/run/\xff"}, "unix:/run/\\xff"),
    ],
)
def test_the_address_is_written_for_people(given: Any, address: str) -> None:
    """Contract 5.1: the text of a failure names the address."""
    assert ConnectionOptions(**given).address == address


def test_options_for_another_address_are_the_same_otherwise() -> None:
    options = ConnectionOptions("one", 1, username="me", password=SECRET, db=3, socket_timeout=7)
    other = options.at("two", 2)
    assert (other.address, options.address) == ("two:2", "one:1")
    assert (other.username, other.credentials()[1], other.db) == ("me", SECRET, 3)
    assert other.socket_timeout == 7
    with pytest.raises(ValueError, match="port is 0"):
        options.at("two", 0)


def test_a_callable_host_is_asked_each_time() -> None:
    addresses = iter([("one", 1), ("::1", 2)])
    options = ConnectionOptions(lambda: next(addresses), password=SECRET)
    assert options.address == "wherever host() says"
    first = options.located()
    assert (first.address, first.located().address) == ("one:1", "[::1]:2")
    assert first.credentials()[1] == SECRET
    named = ConnectionOptions("three", 3)
    assert named.located() is named


def test_a_password_may_be_text_bytes_or_none() -> None:
    """Contract 1.2: a string or a callable returning one."""
    assert ConnectionOptions(password=SECRET).credentials()[1] == SECRET
    assert ConnectionOptions(password=b"bytes").credentials()[1] == b"bytes"
    assert ConnectionOptions().credentials()[1] is None


def test_a_callable_password_is_asked_each_time() -> None:
    """Contract 1.2: asked at every connect."""
    passwords: Iterator[str | bytes] = iter(["first", b"second"])
    options = ConnectionOptions(password=lambda: next(passwords))
    assert [options.credentials()[1], options.credentials()[1]] == ["first", b"second"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("you", "pw"), ("you", "pw")),
        ((b"you", b"pw"), (b"you", b"pw")),
        (("", "pw"), ("me", "pw")),
        ((None, "pw"), ("me", "pw")),
        (("you", ""), ("you", None)),
        (("you", None), ("you", None)),
        ("pw", ("me", "pw")),
        (None, ("me", None)),
    ],
)
def test_a_callable_may_return_the_user_name_as_well(found: Any, expected: Any) -> None:
    """Contract 1.2, 6.7: an empty one is none, which is that of the options."""
    assert ConnectionOptions(username="me", password=lambda: found).credentials() == expected


@pytest.mark.parametrize("found", [("a", "b", "c"), (1, "pw"), ("me", 2), ("me", "\ud800"), ()])
def test_a_tuple_that_is_no_user_and_password_is_an_os_error(found: Any) -> None:
    """Contract 5.1."""
    with pytest.raises(OSError, match=r"^password\(\) returned (a value of type tuple|text that)"):
        ConnectionOptions(password=lambda: found).credentials()


class AsyncCallable:
    """An object that is called as an async function."""

    async def __call__(self) -> str:
        return "pw"


async def fetch() -> str:
    """Fetch a token."""
    return "pw"


@pytest.mark.parametrize(
    ("function", "expected"),
    [(fetch, True), (partial(fetch), True), (AsyncCallable(), True), (str, False), (len, False)],
)
def test_async_functions_are_told_from_others(function: Any, expected: bool) -> None:
    assert is_async(function) is expected


def test_a_password_that_can_be_had_at_once_is_not_asked_for() -> None:
    assert ConnectionOptions(password="pw").ask_credentials is None
    assert ConnectionOptions().ask_credentials is None
    assert ConnectionOptions(password=fetch).ask_credentials is fetch


@pytest.mark.parametrize("password", [5, ["open sesame"], {"p": SECRET}])
def test_a_password_of_another_type_is_refused_without_being_shown(password: Any) -> None:
    """Contract 7: passwords are in no error text."""
    with pytest.raises(TypeError) as caught:
        ConnectionOptions(password=password)
    kind = type(password).__name__
    assert (
        str(caught.value) == f"password is of type {kind}, but must be a str, bytes or a callable"
    )


@pytest.mark.parametrize("empty", ["", b"", lambda: "", lambda: b"", lambda: None, None])
def test_an_empty_password_is_none(empty: Any) -> None:
    """Contract 6.7."""
    assert ConnectionOptions(password=empty).credentials()[1] is None


@pytest.mark.parametrize("option", ["username", "client_name"])
@pytest.mark.parametrize("empty", ["", b""])
def test_empty_text_is_none(option: str, empty: Any) -> None:
    """Contract 6.7."""
    assert getattr(connection(**{option: empty}), option) is None


def test_an_empty_path_of_a_unix_socket_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^unix_socket_path is empty, but must be a path$"):
        ConnectionOptions(unix_socket_path="")


def test_a_unix_socket_is_refused_where_the_system_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Contract 7: as in Windows' Python."""
    monkeypatch.delattr("socket.AF_UNIX")
    with pytest.raises(ValueError, match=r"^unix_socket_path is given, but Python has no unix so"):
        ConnectionOptions(unix_socket_path="/run/redis.sock")
    assert ConnectionOptions().unix_socket_path is None


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (FileNotFoundError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
        (OSError("the vault is away"), "OSError: the vault is away"),
        # Texts of others may quote what they could not read.
        (ValueError(f"bad token {SECRET}"), "ValueError"),
        (KeyError(SECRET), "KeyError"),
        (StopIteration(), "StopIteration"),
    ],
)
def test_what_a_callable_password_raises_is_an_os_error(cause: Exception, text: str) -> None:
    """Contract 5.1: so that it becomes a `ConnectionError`, with its cause."""

    def password() -> str:
        raise cause

    with pytest.raises(OSError, match=r"^password\(\) raised ") as caught:
        ConnectionOptions(password=password).credentials()[1]
    assert str(caught.value) == f"password() raised {text}"
    assert caught.value.__cause__ is cause


def test_an_interruption_of_a_callable_password_stays_one() -> None:
    def password() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ConnectionOptions(password=password).credentials()[1]


def test_a_callable_that_returns_something_else_is_an_os_error_without_showing_what() -> None:
    """Contract 7: passwords are in no error text; 5.1: it is a failed connection."""
    secret = "-".join(["hunter", "2"])
    options = ConnectionOptions(password=lambda: [secret])
    expected = (
        "password() returned a value of type list, but must return a str or bytes, "
        "or a tuple of user name and password"
    )
    with pytest.raises(OSError, match=r"^password\(\) returned") as caught:
        options.credentials()[1]
    assert str(caught.value) == expected
    # The first frame is that of this test.
    assert caught.value.__traceback__ is not None
    assert secret not in shown(caught.value.with_traceback(caught.value.__traceback__.tb_next))


@pytest.mark.parametrize("cause", [OSError("away"), LookupError("no master")])
def test_what_a_callable_host_raises_is_an_os_error(cause: Exception) -> None:
    """Contract 5.1."""

    def host() -> tuple[str, int]:
        raise cause

    with pytest.raises(OSError, match=rf"^host\(\) raised \w+: {cause}$") as caught:
        ConnectionOptions(host).located()
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("found", ["host", ("host",), ("host", 0), (5, 1), ("", 1), None])
def test_a_callable_host_that_returns_something_else_is_an_os_error(found: Any) -> None:
    """Contract 5.1."""
    with pytest.raises(OSError, match=r"^host\(\) returned ") as caught:
        ConnectionOptions(lambda: found).located()
    assert repr(found) in str(caught.value)


@pytest.mark.parametrize("remap", ["localhost:7000", ("localhost", 7000), {}])
def test_an_address_remap_is_a_callable(remap: Any) -> None:
    """Contract 7."""
    with pytest.raises(TypeError) as caught:
        ConnectionOptions(address_remap=remap)
    expected = f"address_remap is {remap!r}, but must be a callable that takes an address"
    assert str(caught.value) == expected


class TestRedirected:
    """Addresses that nodes of a cluster name, and where they are reached."""

    def test_without_a_callable_the_address_is_taken_as_it_is(self) -> None:
        assert ConnectionOptions("one", 1).redirected("two", 2).address == "two:2"

    def test_a_callable_is_given_a_tuple_as_that_of_redis_py(self) -> None:
        given: list[tuple[str, int]] = []

        def remap(address: tuple[str, int]) -> tuple[str, int]:
            given.append(address)
            return "outside", 7000 + address[1]

        options = ConnectionOptions(lambda: ("one", 1), password=SECRET, address_remap=remap)
        other = options.redirected("10.0.0.1", 5)
        assert (other.address, other.credentials()[1]) == ("outside:7005", SECRET)
        # It is remapped wherever it redirects to, too.
        assert other.redirected("::1", 6).address == "outside:7006"
        assert given == [("10.0.0.1", 5), ("::1", 6)]

    @pytest.mark.parametrize("found", ["host", ("host", 0), (5, 1), None, ["host", 1]])
    def test_anything_but_an_address_is_a_connection_error(self, found: Any) -> None:
        """Contract 5.1."""
        options = ConnectionOptions("one", 1, address_remap=lambda _: found)
        with pytest.raises(pystreamredis.ConnectionError) as caught:
            options.redirected("two", 2)
        assert str(caught.value).startswith(f"address_remap(('two', 2)) returned {found!r}")

    def test_what_it_raises_is_a_connection_error(self) -> None:
        """Contract 5.1."""
        options = ConnectionOptions("one", 1, address_remap={}.__getitem__)
        with pytest.raises(
            pystreamredis.ConnectionError, match=r"raised KeyError: \('two', 2\)$"
        ) as caught:
            options.redirected("two", 2)
        assert isinstance(caught.value.__cause__, KeyError)

    def test_it_does_not_lead_away_from_a_unix_socket(self) -> None:
        options = ConnectionOptions(
            unix_socket_path="/run/redis.sock", address_remap=lambda _: ("evil.example", 1)
        )
        with pytest.raises(pystreamredis.ConnectionError, match="redirection is not followed"):
            options.redirected("two", 2)


class TestElsewhere:
    """Redirections: where credentials may go because a server says so."""

    def test_another_node_is_reached_in_the_same_way(self) -> None:
        options = ConnectionOptions("one", 1, password=SECRET, db=2)
        other = options.redirected("two", 2)
        assert (other.address, other.credentials()[1], other.db) == ("two:2", SECRET, 2)

    def test_it_is_there_whatever_a_callable_host_says(self) -> None:
        other = ConnectionOptions(lambda: ("one", 1)).redirected("two", 2)
        assert other.located() is other

    def test_it_never_leaves_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        other = ConnectionOptions("one", 1, ssl=context).redirected("two", 2)
        assert other.is_tls
        assert other.make_ssl_context() is context

    def test_it_never_leaves_a_unix_socket(self) -> None:
        options = ConnectionOptions(unix_socket_path="/run/redis.sock", password=SECRET)
        with pytest.raises(pystreamredis.ConnectionError, match="redirection") as caught:
            options.redirected("evil.example", 7000)
        assert "unix:/run/redis.sock" in str(caught.value)
        assert "evil.example:7000" in str(caught.value)
        assert options.redirected(options.host, options.port) is options


def shown(error: BaseException) -> str:
    """All that a report with local variables shows of an error."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(report.format())


@pytest.mark.parametrize("password", [SECRET, SECRET.encode(), lambda: SECRET])
def test_no_password_is_in_what_is_printed_of_the_options(password: Any) -> None:
    """Contract 7: passwords are in no `repr`."""
    options = ConnectionOptions(username="me", password=password, db=3)
    assert repr(options) == "ConnectionOptions('localhost:6379', db=3)"
    assert SECRET not in f"{options} {options!r}"


def test_names_of_streams_are_encoded_as_the_options_say() -> None:
    """Contract 1.2: `encoding`, and `encoding_errors="surrogateescape"` as the default."""
    assert ConnectionOptions().encode("ä") == b"\xc3\xa4"
    assert ConnectionOptions().encode("\udcff") == b"\xff"
    assert ConnectionOptions(encoding="latin-1").encode("ä") == b"\xe4"
    assert ConnectionOptions(encoding="ascii", encoding_errors="replace").encode("ä") == b"?"
    assert ConnectionOptions(encoding="latin-1").encode(b"\xc3\xa4") == b"\xc3\xa4"


@settings(deadline=None)
@given(st.binary())
def test_bytes_that_are_no_text_survive(data: bytes) -> None:
    """Contract 1.2: bytes that are no text survive."""
    options = ConnectionOptions()
    assert options.encode(str(data, options.encoding, options.encoding_errors)) == data


@pytest.mark.parametrize(
    ("option", "value"),
    [("encoding", "utf-9"), ("encoding", "hex"), ("encoding", "\0"), ("encoding_errors", "ignroe")],
)
def test_an_unknown_encoding_is_refused_at_once(option: str, value: str) -> None:
    """Contract 7: the option and the value are named."""
    with pytest.raises(ValueError, match=rf"^{option} is .*, which cannot be used: ") as caught:
        connection(**{option: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("option", ["encoding", "encoding_errors"])
def test_an_encoding_is_text(option: str) -> None:
    with pytest.raises(TypeError, match=rf"^{option} is None, but must be a str$"):
        connection(**{option: None})


@pytest.mark.parametrize(
    "name", [name for name in OPTIONS if isinstance(OPTIONS[name].default, bool) and name != "ssl"]
)
@pytest.mark.parametrize("value", ["no", "", None, 2, 0.0])
def test_a_truth_value_is_nothing_else(name: str, value: Any) -> None:
    """Contract 7: `stop_on_timeout="no"` would be true."""
    kind: Any = ReadOptions if name in READ else ConnectionOptions
    with pytest.raises(TypeError) as caught:
        kind(**{name: value})
    assert str(caught.value) == f"{name} is {value!r}, but must be True or False"


@pytest.mark.parametrize("value", [1024, 2**63 - 1])
def test_the_bound_of_memory_is_kept(value: int) -> None:
    """Contract 3.4."""
    assert reading(max_bytes=value).max_bytes == value
    assert reading().max_bytes == 64 * 1024 * 1024


@pytest.mark.parametrize("value", [0, 1023, -1, 2**63])
def test_a_bound_of_memory_that_no_reply_fits_into_is_refused(value: int) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match=rf"^max_bytes is {value}, but must be "):
        reading(max_bytes=value)


class TestTls:
    """The `ssl` options, of which a context is made at each connect."""

    def test_there_is_none_unless_it_is_asked_for(self) -> None:
        options = ConnectionOptions(ssl=False)
        assert options.make_ssl_context() is None
        assert not options.is_tls

    def test_true_makes_a_context_that_trusts_nobody_blindly(self) -> None:
        """Contract 1.2: `ssl=True`, `ssl_check_hostname=True`."""
        options = ConnectionOptions(ssl=True)
        context = options.make_ssl_context()
        assert options.is_tls
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    def test_the_name_of_the_host_need_not_be_checked(self) -> None:
        """Contract 1.2: `ssl_check_hostname`; the certificate itself still is."""
        context = ConnectionOptions(ssl=True, ssl_check_hostname=False).make_ssl_context()
        assert context is not None
        assert not context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    def test_a_context_is_used_as_it_is(self) -> None:
        """Contract 1.2: or an `ssl.SSLContext`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        options = ConnectionOptions(ssl=context)
        assert options.is_tls
        assert options.make_ssl_context() is options.make_ssl_context() is context

    @pytest.mark.parametrize("value", [None, 0, 1, "yes"])
    def test_it_is_nothing_else(self, value: Any) -> None:
        with pytest.raises(TypeError) as caught:
            ConnectionOptions(ssl=value)
        assert str(caught.value) == f"ssl is {value!r}, but must be a bool or an ssl.SSLContext"

    @pytest.mark.parametrize("value", [True, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)])
    def test_a_unix_socket_has_none(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"^ssl and unix_socket_path are given"):
            ConnectionOptions(ssl=value, unix_socket_path="/run/redis.sock")

    @pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
    @pytest.mark.parametrize("value", [False, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)])
    def test_files_without_it_are_not_silently_ignored(self, option: str, value: Any) -> None:
        with pytest.raises(ValueError, match=rf"^{option} is given, but ssl is .*give ssl=True"):
            connection(ssl=value, **{option: "file.pem"})

    def test_a_key_needs_its_certificate(self) -> None:
        with pytest.raises(ValueError, match=r"^ssl_keyfile is given without ssl_certfile"):
            ConnectionOptions(ssl=True, ssl_keyfile="key.pem")

    @pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
    def test_a_file_that_is_missing_or_broken_is_reported_at_once(
        self, option: str, tmp_path: Path
    ) -> None:
        """Contract 7: the option and the value are named, and the cause is kept."""
        broken = tmp_path / "broken.pem"
        broken.write_text("no certificate")
        for path in (str(broken), str(tmp_path / "none.pem")):
            with pytest.raises(ValueError, match=f"^{option} is ") as caught:
                connection(ssl=True, **{option: path})
            assert repr(path) in str(caught.value)
            assert isinstance(caught.value.__cause__, OSError)

    @pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
    def test_the_name_of_a_file_is_text_or_a_path(self, option: str, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=rf"^{option} is 5, but must be the name of a file"):
            connection(ssl=True, **{option: 5})
        with pytest.raises(ValueError, match="cannot be read"):
            connection(ssl=True, **{option: tmp_path / "none.pem"})


class TestRenewal:
    """Certificates in files are those of the moment at each connect (contract 5.4)."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The files of an authority and of a client, and a second pair of them."""
        for part in ("1", "2"):
            (tmp_path / part).mkdir()
            Authority(tmp_path / part).sign("client", "DNS:localhost")
        for name in ("authority.pem", "client.pem", "client.key"):
            (tmp_path / name).write_bytes((tmp_path / "1" / name).read_bytes())
        return tmp_path

    @pytest.fixture
    def options(self, folder: Path) -> ConnectionOptions:
        return ConnectionOptions(
            ssl=True,
            ssl_ca_certs=str(folder / "authority.pem"),
            ssl_certfile=str(folder / "client.pem"),
            ssl_keyfile=folder / "client.key",
        )

    def test_the_context_is_reused_while_no_file_has_changed(
        self, options: ConnectionOptions
    ) -> None:
        context = options.make_ssl_context()
        assert context is not None
        assert options.make_ssl_context() is context
        assert options.at("elsewhere", 1).make_ssl_context() is context

    def test_an_authority_that_was_renewed_is_trusted(
        self, folder: Path, options: ConnectionOptions
    ) -> None:
        before = options.make_ssl_context()
        renew(folder, "authority.pem")
        after = options.make_ssl_context()
        assert before is not None
        assert after is not None
        assert before.get_ca_certs() != after.get_ca_certs()
        assert after.check_hostname

    @pytest.mark.parametrize("names", [("client.pem", "client.key"), ("client.key", "client.pem")])
    def test_a_renewal_of_two_files_may_be_half_done(
        self, folder: Path, options: ConnectionOptions, names: tuple[str, str]
    ) -> None:
        """Contract 5.4: a certificate and a key that do not fit fail this one connect."""
        before = options.make_ssl_context()
        renew(folder, names[0])
        with pytest.raises(OSError, match=r"^ssl_certfile is .* and ssl_keyfile .*, but it cannot"):
            options.make_ssl_context()
        renew(folder, names[1])
        assert options.make_ssl_context() is not before

    def test_a_file_that_is_gone_fails_until_it_is_back(
        self, folder: Path, options: ConnectionOptions
    ) -> None:
        """Contract 5.4: never with what was read before."""
        path = folder / "authority.pem"
        text = path.read_bytes()
        path.unlink()
        for _ in range(2):
            with pytest.raises(OSError, match=r"^ssl_ca_certs is .*No such file") as caught:
                options.make_ssl_context()
            assert repr(str(path)) in str(caught.value)
        path.write_bytes(text)
        assert options.make_ssl_context() is not None

    def test_an_encrypted_key_is_refused_and_nobody_is_asked(self, folder: Path) -> None:
        """OpenSSL would ask on the terminal, at each connect."""
        program = shutil.which("openssl")
        assert program is not None  # or there would be no certificates
        words = ("ec", "-aes128", "-passout", "pass:x", "-in", "client.key", "-out", "locked.key")
        subprocess.run((program, *words), cwd=folder, check=True, capture_output=True)
        with pytest.raises(ValueError, match=r"the key is encrypted; give ssl= an ssl.SSLContext"):
            ConnectionOptions(
                ssl=True,
                ssl_certfile=str(folder / "client.pem"),
                ssl_keyfile=str(folder / "locked.key"),
            )


def renew(folder: Path, name: str) -> None:
    """Put a new file in place of an old one, as renewals do."""
    new = folder / f"new-{name}"
    new.write_bytes((folder / "2" / name).read_bytes())
    new.replace(folder / name)


async def later() -> str:
    """Return a password that somebody has to await."""
    return SECRET


class Later:
    """A callable of that kind."""

    async def __call__(self) -> str:
        return SECRET


@pytest.mark.parametrize("password", [later, Later()])
def test_an_async_password_needs_somebody_who_awaits_it(password: Any) -> None:
    """At once, not at each connect."""
    r = pystreamredis.Redis(password=password)
    with pytest.raises(TypeError, match=r"^password is an async function, which only pystream"):
        r.streams(s=0)
    assert pystreamredis.asyncio.Streams(password=password, s=0) is not None


class TestPickle:
    """Contract 8.3: `Redis` where its options can, `Streams` not."""

    @pytest.mark.parametrize("duplicate", [lambda r: pickle.loads(pickle.dumps(r)), copy.deepcopy])
    @pytest.mark.parametrize("module", [pystreamredis, pystreamredis.asyncio])
    def test_a_redis_survives(self, module: Any, duplicate: Callable[[Any], Any]) -> None:
        given: dict[str, Any] = {"username": "me", "password": SECRET, "db": 3, "ssl": True}
        r = module.Redis("host", 7, socket_connect_timeout=2, **given)
        copied = duplicate(r)
        assert type(copied) is type(r)
        assert repr(copied) == repr(r) == "<Redis at host:7, db 3>"

    def test_options_survive(self) -> None:
        options = ConnectionOptions(lambda: ("two", 2), username="me").located()
        with pytest.raises((AttributeError, pickle.PicklingError)):
            pickle.dumps(options)
        options = ConnectionOptions(ask, username="me", password=b"x", decode_responses=True)
        copied = pickle.loads(pickle.dumps(options))
        assert (copied.located().address, copied.credentials()[1]) == ("asked:5", b"x")
        assert (copied.username, copied.decode_responses) == ("me", True)
        other = pickle.loads(pickle.dumps(ConnectionOptions("one", 1).at("two", 2)))
        assert other.address == "two:2"

    def test_a_password_that_is_a_callable_is_never_pickled(self) -> None:
        r = pystreamredis.Redis(password=ask)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="whose password is a callable cannot be pickled"):
            pickle.dumps(r)
        assert repr(copy.copy(r)) == repr(copy.deepcopy(r)) == repr(r)

    def test_a_context_is_never_pickled(self) -> None:
        r = pystreamredis.Redis(ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        with pytest.raises(TypeError, match=r"whose ssl is a context cannot .* as ssl_ca_certs, "):
            pickle.dumps(r)
        assert repr(copy.copy(r)) == repr(copy.deepcopy(r)) == repr(r)

    @pytest.mark.parametrize("module", [pystreamredis, pystreamredis.asyncio])
    @pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_streams_say_that_they_do_not(
        self, module: Any, duplicate: Callable[[Any], Any]
    ) -> None:
        streams = module.Streams.__new__(module.Streams)
        with pytest.raises(TypeError, match=r"^Streams cannot be pickled or copied.*positions"):
            duplicate(streams)


def ask() -> tuple[str, int]:
    """Find a host."""
    return "asked", 5


def test_options_have_no_room_for_a_misspelt_one() -> None:
    for kind in (ReadOptions, ConnectionOptions):
        with pytest.raises(TypeError, match="'no_option' is not an option"):
            kind(no_option=1)


def test_options_that_are_not_complete_have_a_repr() -> None:
    """A report with local variables shows them while their constructor runs."""
    incomplete = ConnectionOptions.__new__(ConnectionOptions)
    assert repr(incomplete) == "ConnectionOptions(not complete)"


class TestTable:
    """One table for each kind: what else names the options follows it."""

    @pytest.mark.parametrize("module", [pystreamredis, pystreamredis.asyncio])
    def test_signatures_have_its_options_and_defaults_in_its_order(self, module: Any) -> None:
        """Contract 1.2: `Redis(...).streams(...)` is another way to say `Streams(...)`."""
        read = {name: option.default for name, option in READ.items()}
        connection = {name: option.default for name, option in CONNECTION.items()}
        assert defaults(module.Redis) == list(connection.items())
        assert defaults(module.Redis.streams) == [("streams", None), *read.items()]
        address = [(name, connection.pop(name)) for name in ("host", "port")]
        expected = [*address, ("streams", None), *read.items(), *connection.items()]
        assert defaults(module.Streams) == expected

    def test_the_docstring_explains_each(self) -> None:
        text = inspect.getdoc(pystreamredis.Streams) or ""
        named = re.findall(r"^    (\w+): ", text.partition("Raises:")[0], flags=re.MULTILINE)
        assert named == [*inspect.signature(pystreamredis.Streams).parameters]

    def test_the_reference_page_is_made_of_it(self) -> None:
        page = option_tables.PAGE.read_text("utf-8")
        assert option_tables.fill(page) == page
        for name in OPTIONS:
            assert f"* - ``{name}``" in page

    def test_the_defaults_pass_the_checks(self) -> None:
        for name, option in OPTIONS.items():
            assert option.check(name, option.default) == option.default

    @pytest.mark.parametrize("option", OPTIONS)
    def test_each_option_is_checked_and_named_when_it_is_bad(self, option: str) -> None:
        """Contract 7."""
        if option == "timeout_response":
            pytest.skip("may be anything")
        kind: Any = ReadOptions if option in READ else ConnectionOptions
        with pytest.raises((TypeError, ValueError), match=f"^{option} is "):
            kind(**{option: [object()]})

    @pytest.mark.parametrize("option", OPTIONS)
    def test_urls_have_those_that_it_says(self, option: str) -> None:
        """Contract 1.1: connection options as query parameters, but for addresses."""
        others = {"host", "port", "address_remap"}
        is_parameter = option in CONNECTION and option not in others
        assert (OPTIONS[option].parse is not None) == is_parameter


def defaults(function: Any) -> list[tuple[str, object]]:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in parameters if p.default is not p.empty]


@pytest.mark.parametrize("module", [pystreamredis, pystreamredis.asyncio])
def test_errors_of_pythons_own_name_the_public_classes(module: Any) -> None:
    """Contract 7: not the bases that both shells have in common."""
    with pytest.raises(TypeError, match=r"^Redis\.streams\(\) takes "):
        module.Redis().streams("s", 0)
    with pytest.raises(TypeError, match=r"^Streams\.__init__\(\) takes "):
        module.Streams("localhost", 6379, "s", 0)
