"""`pystreamredis.options`: every option is checked before anything is sent."""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pystreamredis
import pystreamredis.asyncio
from pystreamredis.construction import RedisBase, StreamsBase
from pystreamredis.options import ConnectionOptions, ReadOptions
from tests.simulation import reading

SECRET = "open sesame"


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
    with pytest.raises(ValueError, match=rf"^{option} is {value}, expected [01] to \d+$"):
        reading(**{option: value})


@pytest.mark.parametrize("option", ["count", "block", "hold"])
@pytest.mark.parametrize("value", [True, False, 1.0, "1", b"1", []])
def test_counts_and_times_that_are_no_int_are_refused(option: str, value: Any) -> None:
    """Contract 7: or not an `int`."""
    with pytest.raises(TypeError) as caught:
        reading(**{option: value})
    assert str(caught.value) == f"{option} is {value!r}, expected an int"


def test_no_count_at_all_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^count is None, expected an int$"):
        reading(count=None)


@pytest.mark.parametrize("value", ["", "Restart", None, True])
def test_what_to_do_about_a_rewind_is_one_of_two(value: Any) -> None:
    """Contract 7: the option and the value are named."""
    assert reading(on_rewind="restart").on_rewind == "restart"
    with pytest.raises(ValueError, match="expected 'keep' or 'restart'") as caught:
        reading(on_rewind=value)
    assert str(caught.value).startswith(f"on_rewind is {value!r}, ")


@pytest.mark.parametrize("fields", [None, "dict", 1])
def test_fields_has_to_be_something_to_call(fields: Any) -> None:
    """Contract 1.3: any callable that takes an iterable of pairs."""
    with pytest.raises(TypeError, match=r"^fields is .*, expected a callable that takes pairs$"):
        reading(fields=fields)


def test_the_defaults_of_a_connection_are_those_of_the_contract() -> None:
    """Contract 1.2: `db=0`, `protocol=2`, ...; 5.5: `socket_timeout` is 5 s."""
    options = ConnectionOptions()
    assert options.password() is None
    public = [name for name in ConnectionOptions.__slots__ if not name.startswith("_")]
    assert {name: getattr(options, name) for name in public} == {
        "client_name": None,
        "connect_timeout": 5.0,
        "db": 0,
        "decode_responses": False,
        "encoding": "utf-8",
        "encoding_errors": "surrogateescape",
        "host": "localhost",
        "port": 6379,
        "protocol": 2,
        "socket_keepalive": True,
        "socket_timeout": 5.0,
        "ssl_context": None,
        "unix_socket_path": None,
        "username": None,
    }


@pytest.mark.parametrize(
    ("option", "low", "high"), [("port", 1, 65535), ("db", 0, 2**31 - 1), ("protocol", 2, 3)]
)
def test_a_number_of_a_connection_has_to_be_in_range(option: str, low: int, high: int) -> None:
    """Contract 7: `port` outside 1-65535."""
    for value in (low, high):
        assert getattr(ConnectionOptions(**{option: value}), option) == value  # type: ignore[arg-type]
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"^{option} is {value}, expected {low} to {high}$"):
            ConnectionOptions(**{option: value})  # type: ignore[arg-type]
    others: list[Any] = ["6379", 6379.0, True, None]
    for other in others:
        with pytest.raises(TypeError) as caught:
            ConnectionOptions(**{option: other})
        assert str(caught.value) == f"{option} is {other!r}, expected an int"


@pytest.mark.parametrize("option", ["socket_timeout", "socket_connect_timeout"])
def test_a_timeout_is_a_number_of_seconds_above_zero(option: str) -> None:
    kept = option.replace("socket_connect", "connect")
    for value in (0.001, 1, 2.5, 2**31 - 1):
        assert getattr(ConnectionOptions(**{option: value}), kept) == value  # type: ignore[arg-type]
    for value in (0, -1, 0.0, 2**31, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"^{option} is {value!r}, expected more than 0 sec"):
            ConnectionOptions(**{option: value})  # type: ignore[arg-type]
    others: list[Any] = ["1", True, []]
    for other in others:
        with pytest.raises(TypeError) as caught:
            ConnectionOptions(**{option: other})
        assert str(caught.value) == f"{option} is {other!r}, expected a number of seconds, or None"


def test_the_time_to_connect_is_that_of_a_reply_unless_it_is_given() -> None:
    assert ConnectionOptions(socket_timeout=2).connect_timeout == 2
    assert ConnectionOptions(socket_timeout=None).connect_timeout is None
    assert ConnectionOptions(socket_timeout=2, socket_connect_timeout=3).connect_timeout == 3
    assert ConnectionOptions(socket_timeout=None, socket_connect_timeout=3).connect_timeout == 3


@pytest.mark.parametrize("option", ["username", "client_name", "unix_socket_path"])
def test_texts_of_a_connection_are_text_bytes_or_none(option: str) -> None:
    for value in ("text", b"bytes", "", None):
        assert getattr(ConnectionOptions(**{option: value}), option) == value  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"^{option} is 5, expected str, bytes or None$"):
        ConnectionOptions(**{option: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "error", "text"),
    [
        (None, TypeError, "host is NoneType, expected a str or a callable"),
        (b"localhost", TypeError, "host is bytes, expected a str or a callable"),
        ({"s": 0}, TypeError, "host is dict, expected a str or a callable: streams go to streams="),
        (["s"], TypeError, "host is list, expected a str or a callable: streams go to streams="),
        ("", ValueError, "host is empty, expected a name or an address"),
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
        ({"unix_socket_path": b"/run/\xff"}, "unix:/run/\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_the_address_is_written_for_people(given: Any, address: str) -> None:
    """Contract 5.1: the text of a failure names the address."""
    assert ConnectionOptions(**given).address == address


def test_options_for_another_address_are_the_same_otherwise() -> None:
    options = ConnectionOptions("one", 1, username="me", password=SECRET, db=3, socket_timeout=7)
    other = options.at("two", 2)
    assert (other.address, options.address) == ("two:2", "one:1")
    assert (other.username, other.password(), other.db) == ("me", SECRET, 3)
    assert other.socket_timeout == 7
    with pytest.raises(ValueError, match="port is 0"):
        options.at("two", 0)


def test_a_callable_host_is_asked_each_time() -> None:
    addresses = iter([("one", 1), ("::1", 2)])
    options = ConnectionOptions(lambda: next(addresses), password=SECRET)
    assert options.address == "wherever host() says"
    first = options.located()
    assert (first.address, first.located().address) == ("one:1", "[::1]:2")
    assert first.password() == SECRET
    named = ConnectionOptions("three", 3)
    assert named.located() is named


def test_a_password_may_be_text_bytes_or_none() -> None:
    """Contract 1.2: a string or a callable returning one."""
    assert ConnectionOptions(password=SECRET).password() == SECRET
    assert ConnectionOptions(password=b"bytes").password() == b"bytes"
    assert ConnectionOptions().password() is None


def test_a_callable_password_is_asked_each_time() -> None:
    """Contract 1.2: asked at every connect."""
    passwords: Iterator[str | bytes] = iter(["first", b"second"])
    options = ConnectionOptions(password=lambda: next(passwords))
    assert [options.password(), options.password()] == ["first", b"second"]


@pytest.mark.parametrize("password", [5, ["open sesame"], {"p": SECRET}])
def test_a_password_of_another_type_is_refused_without_being_shown(password: Any) -> None:
    """Contract 7: passwords are in no error text."""
    with pytest.raises(TypeError) as caught:
        ConnectionOptions(password=password)
    kind = type(password).__name__
    assert str(caught.value) == f"password is {kind}, expected str, bytes or a callable"


def test_a_callable_that_returns_no_password_is_refused_without_showing_what() -> None:
    """Contract 7: passwords are in no error text."""
    options = ConnectionOptions(password=lambda: [SECRET])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^password\(\) returned list, expected str or bytes$"):
        options.password()


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


@pytest.mark.parametrize(("encoding", "errors"), [("utf-9", "strict"), ("utf-8", "ignroe")])
def test_an_encoding_that_there_is_not_is_told_at_once(encoding: str, errors: str) -> None:
    """Contract 7: the option and the value are named."""
    with pytest.raises(ValueError, match=r"^encoding is '.*' and encoding_errors '.*': unknown"):
        ConnectionOptions(encoding=encoding, encoding_errors=errors)


class TestTls:
    """The `ssl` options, which become one context."""

    def test_there_is_none_unless_it_is_asked_for(self) -> None:
        assert ConnectionOptions(ssl=False).ssl_context is None

    def test_true_makes_a_context_that_trusts_nobody_blindly(self) -> None:
        """Contract 1.2: `ssl=True`, `ssl_check_hostname=True`."""
        context = ConnectionOptions(ssl=True).ssl_context
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    def test_the_name_of_the_host_need_not_be_checked(self) -> None:
        """Contract 1.2: `ssl_check_hostname`; the certificate itself still is."""
        context = ConnectionOptions(ssl=True, ssl_check_hostname=False).ssl_context
        assert context is not None
        assert not context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED

    def test_a_context_is_used_as_it_is(self) -> None:
        """Contract 1.2: or an `ssl.SSLContext`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        assert ConnectionOptions(ssl=context).ssl_context is context

    @pytest.mark.parametrize("value", [None, 0, 1, "yes"])
    def test_it_is_nothing_else(self, value: Any) -> None:
        with pytest.raises(TypeError) as caught:
            ConnectionOptions(ssl=value)
        assert str(caught.value) == f"ssl is {value!r}, expected a bool or an ssl.SSLContext"

    @pytest.mark.parametrize("value", [True, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)])
    def test_a_unix_socket_has_none(self, value: Any) -> None:
        with pytest.raises(ValueError, match=r"^ssl and unix_socket_path are given"):
            ConnectionOptions(ssl=value, unix_socket_path="/run/redis.sock")

    @pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
    @pytest.mark.parametrize("value", [False, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)])
    def test_files_without_it_are_no_silent_plain_text(self, option: str, value: Any) -> None:
        with pytest.raises(ValueError, match=r"but ssl is .*, expected ssl=True$"):
            ConnectionOptions(ssl=value, **{option: "file.pem"})  # type: ignore[arg-type]

    def test_a_key_needs_its_certificate(self) -> None:
        with pytest.raises(ValueError, match=r"^ssl_keyfile is given without ssl_certfile"):
            ConnectionOptions(ssl=True, ssl_keyfile="key.pem")

    @pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
    def test_a_file_that_is_not_there_or_no_certificate_is_told_at_once(
        self, option: str, tmp_path: Path
    ) -> None:
        """Contract 7: the option and the value are named, and the cause is kept."""
        broken = tmp_path / "broken.pem"
        broken.write_text("no certificate")
        for path in (str(broken), str(tmp_path / "none.pem")):
            with pytest.raises(ValueError, match=f"{option} ") as caught:
                ConnectionOptions(ssl=True, **{option: path})  # type: ignore[arg-type]
            assert repr(path) in str(caught.value)
            assert isinstance(caught.value.__cause__, OSError)

    def test_a_certificate_of_the_client_comes_with_its_key(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Contract 1.2: `ssl_certfile`, `ssl_keyfile`."""
        loaded: list[tuple[str, str | None]] = []

        def load(context: ssl.SSLContext, certfile: str, keyfile: str | None = None) -> None:
            loaded.append((certfile, keyfile))

        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load)
        ConnectionOptions(ssl=True, ssl_certfile="cert.pem", ssl_keyfile="key.pem")
        ConnectionOptions(ssl=True, ssl_certfile="both.pem")
        assert loaded == [("cert.pem", "key.pem"), ("both.pem", None)]


def test_options_have_no_room_for_a_misspelt_one() -> None:
    """Both classes have slots: an attribute that is set by mistake is an error."""
    for options in (reading(), ConnectionOptions()):
        with pytest.raises(AttributeError):
            options.no_option = 1  # type: ignore[union-attr]
    assert ReadOptions.__slots__


def test_options_are_the_same_wherever_they_are_spelt_out() -> None:
    """Contract 1.2: `Redis(...).streams(...)` is another way to say `Streams(...)`."""
    holder: dict[str, Any] = RedisBase.__init__.__kwdefaults__ or {}
    reading: dict[str, Any] = RedisBase.streams.__kwdefaults__ or {}
    assert ConnectionOptions.__init__.__kwdefaults__ == holder
    assert StreamsBase.__init__.__kwdefaults__ == holder | reading
    assert set(inspect.signature(ReadOptions).parameters) == set(reading)
    for kind in (RedisBase, StreamsBase, ConnectionOptions):
        assert (kind.__init__.__defaults__ or ())[:2] == ("localhost", 6379)


@pytest.mark.parametrize("module", [pystreamredis, pystreamredis.asyncio])
def test_errors_of_pythons_own_name_what_callers_know(module: Any) -> None:
    """Not the bases that both shells have in common."""
    with pytest.raises(TypeError, match=r"^Redis\.__init__\(\) got an unexpected .* 'retry'$"):
        module.Redis(retry=1)
    with pytest.raises(TypeError, match=r"^Redis\.streams\(\) takes "):
        module.Redis().streams("s", 0)
    with pytest.raises(TypeError, match=r"^Streams\.__init__\(\) takes "):
        module.Streams("localhost", 6379, "s", 0)
