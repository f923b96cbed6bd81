"""Contract 1: the names that a user types, and the form of what comes out."""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pystreamredis
from pystreamredis import MessageError, Redis, Streams, StrictRedis, exceptions, protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers import Endpoint

SEED_OPTIONS = {
    "count": 100,
    "block": 1000,
    "stop_on_timeout": False,
    "timeout_response": None,
    "raise_connection_exceptions": True,
}
CONNECTION_OPTIONS = {
    "username": None,
    "password": None,
    "db": 0,
    "protocol": 2,
    "client_name": None,
    "unix_socket_path": None,
    "ssl": False,
    "ssl_ca_certs": None,
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "ssl_check_hostname": True,
    "socket_timeout": 5.0,
    "socket_connect_timeout": None,
    "socket_keepalive": True,
    "decode_responses": False,
    "encoding": "utf-8",
    "encoding_errors": "surrogateescape",
}
ERRORS = [
    "AuthenticationError",
    "ConnectionError",
    "MessageError",
    "ProtocolError",
    "RedisError",
    "ResponseError",
    "TimeoutError",
]
A_READER = ("ACL", "SETUSER", "reader", "reset", "on", "~*", "+xread")


def defaults_of(function: Callable[..., Any]) -> dict[str, object]:
    """The defaults of the parameters that have one."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def named(name: str, value: object) -> dict[str, Any]:
    """One keyword, for type checkers of any type."""
    return {name: value}


def only(streams: Streams) -> Any:
    """The one message that is there."""
    with streams:
        messages = list(streams)
    assert len(messages) == 1
    return messages[0]


def disconnect(embedded: Endpoint, client_name: str) -> None:
    """Have the server close the connections of that name."""
    clients = embedded.command("CLIENT", "LIST").decode().splitlines()
    fields = [dict(item.split("=", 1) for item in client.split()) for client in clients]
    ids = [client["id"] for client in fields if client["name"] == client_name]
    assert ids
    for client_id in ids:
        embedded.command("CLIENT", "KILL", "ID", client_id)


@pytest.fixture
def reader(embedded: Endpoint) -> Iterator[str]:
    """A user that may read streams and nothing else, and has a password yet to be set."""
    embedded.command(*A_READER)
    yield "reader"
    embedded.command("ACL", "DELUSER", "reader")


# The names.


@pytest.mark.blocking
def test_everything_is_found_where_the_contract_says() -> None:
    """Contract 1: the table of names."""
    assert pystreamredis.Streams is Streams
    assert pystreamredis.Redis is Redis
    assert StrictRedis is Redis
    for name in ("encode_command", "encode_xread", "Parser", "XreadParser"):
        assert callable(getattr(protocol, name))
    for name in (*ERRORS, "Redis", "StrictRedis", "Streams"):
        assert name in pystreamredis.__all__


def test_the_wire_format_has_no_sockets_and_no_clocks() -> None:
    """Contract 1: `pystreamredis.protocol` is the wire format alone."""
    forbidden = {"socket", "select", "selectors", "ssl", "asyncio", "threading", "time", "datetime"}
    modules = [name for _, name, _ in pkgutil.iter_modules(protocol.__path__)]
    assert modules
    for name in modules:
        module = importlib.import_module(f"pystreamredis.protocol.{name}")
        assert not forbidden & set(vars(module)), name


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_class_is_exported_twice(name: str) -> None:
    """Contract 1: the classes are in `pystreamredis.exceptions` and in `pystreamredis`."""
    assert getattr(exceptions, name) is getattr(pystreamredis, name)
    assert issubclass(getattr(exceptions, name), exceptions.RedisError)


def test_the_error_classes_form_the_tree_of_the_contract() -> None:
    """Contract 1: which class is below which."""
    assert exceptions.RedisError.__bases__ == (Exception,)
    assert issubclass(exceptions.ConnectionError, builtins.ConnectionError)
    assert issubclass(exceptions.TimeoutError, exceptions.ConnectionError)
    assert issubclass(exceptions.TimeoutError, builtins.TimeoutError)
    assert issubclass(exceptions.ProtocolError, exceptions.ConnectionError)
    assert issubclass(exceptions.AuthenticationError, exceptions.ResponseError)
    assert not issubclass(exceptions.ResponseError, builtins.ConnectionError)


# How to connect.


def test_host_port_and_streams_come_first_and_the_rest_by_keyword(embedded: Endpoint) -> None:
    """Contract 1.1: `Streams(host, port, streams, *, ..., **named_streams)`."""
    embedded.command("XADD", "s", "1-1", "f", "v")
    embedded.command("XADD", "t", "1-2", "f", "v")
    with Streams(embedded.host, embedded.port, {"s": 0}, block=None, t=0) as streams:
        assert list(streams) == [("s", b"1-1", {b"f": b"v"}), ("t", b"1-2", {b"f": b"v"})]
    parameters = list(inspect.signature(Streams).parameters.values())
    assert [p.name for p in parameters[:3]] == ["host", "port", "streams"]
    assert [p.default for p in parameters[:3]] == ["localhost", 6379, None]
    assert {p.kind for p in parameters[3:-1]} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters[-1].kind is inspect.Parameter.VAR_KEYWORD


def test_the_options_have_the_names_and_defaults_of_the_contract() -> None:
    """Contract 1.2: seed options and connection options."""
    expected = SEED_OPTIONS | CONNECTION_OPTIONS
    assert expected.items() <= defaults_of(Streams).items()
    assert CONNECTION_OPTIONS.items() <= defaults_of(Redis).items()
    assert SEED_OPTIONS.items() <= defaults_of(Redis("localhost").streams).items()


@pytest.mark.parametrize("scheme", ["redis", "unix"])
def test_a_url_says_user_password_database_and_options(
    embedded: Endpoint, reader: str, scheme: str
) -> None:
    """Contract 1.1: `from_url` with all of its parts, for `Streams` and for `Redis`."""
    embedded.command("ACL", "SETUSER", reader, ">p/w:@%?", "+select")
    embedded.command("XADD", "s", "1-1", "f", "v")
    embedded.command("MOVE", "s", 3)
    login = f"{reader}:p%2Fw%3A%40%25%3F@"
    url = {
        "redis": f"redis://{login}{embedded.host}:{embedded.port}/3?decode_responses=true",
        "unix": f"unix://{login}{embedded.unix_socket}?db=3&decode_responses=true",
    }[scheme]
    expected = ("s", "1-1", {"f": "v"})
    assert only(Streams.from_url(url, {"s": 0}, block=None)) == expected
    assert only(Streams.from_url(url, s=0, block=None)) == expected
    assert only(Redis.from_url(url).streams(s=0, block=None)) == expected


def test_what_is_given_beside_a_url_takes_precedence(embedded: Endpoint) -> None:
    """Contract 1.1: a URL is completed by options."""
    embedded.command("XADD", "s", "1-1", "f", "v")
    url = f"redis://{embedded.host}:{embedded.port}/5?decode_responses=yes"
    message = only(Streams.from_url(url, s=0, block=None, db=0, decode_responses=False))
    assert message == ("s", b"1-1", {b"f": b"v"})


def test_rediss_speaks_tls_from_the_first_byte(embedded: Endpoint) -> None:
    """Contract 1.1: a server that speaks no TLS cannot be read with `rediss://`."""
    url = f"rediss://{embedded.host}:{embedded.port}?socket_timeout=0.3"
    with pytest.raises(pystreamredis.ConnectionError):
        Streams.from_url(url, s=0)


def test_a_unix_socket_is_given_by_its_path(embedded: Endpoint) -> None:
    """Contract 1.2: `unix_socket_path` instead of host and port."""
    embedded.command("XADD", "s", "1-1", "f", "v")
    path = embedded.unix_socket
    assert only(Streams(unix_socket_path=path, s=0, block=None))[1] == b"1-1"


def test_a_password_that_is_called_is_asked_at_every_connect(
    embedded: Endpoint, reader: str
) -> None:
    """Contract 1.2: so that it may change while the program runs."""
    passwords = iter(["first", "second"])
    asked: list[str] = []

    def password() -> str:
        asked.append(next(passwords))
        embedded.command("ACL", "SETUSER", reader, "resetpass", f">{asked[-1]}")
        return asked[-1]

    r = Redis(
        embedded.host, embedded.port, username=reader, password=password, client_name="caller"
    )
    assert not asked
    with r.streams(s=0, block=50) as streams:
        assert asked == ["first"]
        disconnect(embedded, "caller")
        with pytest.raises(pystreamredis.ConnectionError):
            next(streams)
        assert list(streams) == []
        assert asked == ["first", "second"]


def test_a_handle_connects_to_nothing_by_itself() -> None:
    """Contract 1: `Redis` holds an address and credentials."""
    r = Redis("nowhere.invalid", 1, password="p")  # would fail if it resolved the name
    assert "nowhere.invalid:1" in repr(r)


# Options that belong elsewhere.


ELSEWHERE = {
    "ssl_min_version": "ssl.SSLContext",
    "ssl_cert_reqs": "ssl.SSLContext",
    "health_check_interval": "socket_timeout=",
    "retry": "raise_connection_exceptions=False",
    "retry_on_timeout": "raise_connection_exceptions=False",
    "credential_provider": "password=",
    "max_connections": "connections=",
    "charset": "encoding=",
    "path": "unix_socket_path=",
    "startup_nodes": "cluster",
}


@pytest.mark.parametrize("value", [None, 0, "$"])
@pytest.mark.parametrize(("option", "advice"), ELSEWHERE.items())
def test_an_option_of_redis_py_is_refused_and_not_followed(
    option: str, advice: str, value: Any
) -> None:
    """Contract 2.1: `TypeError`, which says what to use instead, and where a stream goes."""
    ways: list[Callable[..., object]] = [
        lambda **named: Streams("127.0.0.1", 1, "s", **named),
        lambda **named: Streams.from_url("redis://127.0.0.1:1", "s", **named),
        lambda **named: Streams.from_sources({"a": Redis()}, "s", **named),
        lambda **named: Redis("127.0.0.1", 1, **named),
        lambda **named: Redis.from_url("redis://127.0.0.1:1", **named),
        lambda **named: Redis("127.0.0.1", 1).streams("s", **named),
    ]
    for way in ways:
        with pytest.raises(TypeError, match=f"got '{option}', which is an option of redis-py") as e:
            way(**{option: value})
        assert advice in str(e.value)
        assert f"streams={{'{option}': ...}}" in str(e.value)


@pytest.mark.parametrize("option", ["host", "port", *CONNECTION_OPTIONS])
def test_a_connection_option_is_not_followed_as_a_stream(option: str) -> None:
    """Contract 2.1: given to `Redis.streams()`, where it would be ignored."""
    with pytest.raises(TypeError, match=f"got '{option}', which is an option of the connection"):
        Redis("127.0.0.1", 1).streams("s", **named(option, None))


def test_an_option_is_not_added_as_a_stream(embedded: Endpoint) -> None:
    """Contract 2.1, 2.5."""
    with Streams(embedded.host, embedded.port, "s") as streams:
        for option in ("db", "count", "ssl_min_version"):
            with pytest.raises(TypeError, match=f"^add\\(\\) got '{option}', which is an option"):
                streams.add(**named(option, 0))
        assert list(streams.positions) == ["s"]


def test_what_neither_class_knows_is_a_stream_or_refused() -> None:
    """Contract 1.1: `Redis` takes no streams."""
    with pytest.raises(TypeError, match="unknown option 'Stream0'; streams go into"):
        Redis(**named("Stream0", 0))


def test_streams_may_have_the_names_of_options(embedded: Endpoint) -> None:
    """Contract 2.1: by `streams=`."""
    names = ["retry", "db", "count", "ssl_min_version"]
    for name in names:
        embedded.command("XADD", name, "1-1", "f", "v")
    with Redis(embedded.host, embedded.port).streams(dict.fromkeys(names, 0), block=None) as found:
        found.add({"host": None})
        assert [message[0] for message in found] == names


# The seed's own words.


def test_the_seeds_example_does_what_the_seed_says(
    embedded: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    """Contract 1, 1.3: the example of the seed, typed in as it stands there."""
    embedded.command("XADD", "Stream0", "1529416095111-4", "index", "21")
    for stream in ("Stream1", "Stream2"):
        embedded.command("XADD", stream, "1529416095111-5", "index", "old")
    embedded.command("XADD", "Stream3", "1530403199999-0", "index", "too old")
    embedded.command("XADD", "Stream3", "1530403200000-0", "index", "just right")
    r = StrictRedis(embedded.host, embedded.port)
    for this_message in r.streams(Stream0=0, Stream1=None, Stream2="$", Stream3=1530403200000):
        print(this_message)  # noqa: T201
        if this_message[0] == "Stream0":
            embedded.command("XADD", "Stream1", "1540000000000-0", "index", "1")
            embedded.command("XADD", "Stream2", "1540000000000-1", "index", "2")
    assert capsys.readouterr().out.splitlines() == [
        "('Stream0', b'1529416095111-4', {b'index': b'21'})",
        "('Stream3', b'1530403200000-0', {b'index': b'just right'})",
        "('Stream1', b'1540000000000-0', {b'index': b'1'})",
        "('Stream2', b'1540000000000-1', {b'index': b'2'})",
    ]


def test_a_handles_streams_are_streams(embedded: Endpoint) -> None:
    """Contract 1: `r.streams(...)` gives a `Streams`, and may be called again and again."""
    embedded.command("XADD", "s", "1-1", "f", "v")
    r = Redis(embedded.host, embedded.port)
    first, second = r.streams(s=0, block=None), r.streams("s", block=None)
    assert type(first) is type(second) is Streams
    assert len(list(first)) == 1
    assert list(second) == []
    first.close()
    second.close()


# Messages.


def test_a_message_is_a_plain_tuple_of_name_id_and_dict(embedded: Endpoint) -> None:
    """Contract 1.3: bytes, in a `dict` in the order of the wire."""
    embedded.command("XADD", "s", "1-1", "z", "26", "a", "1", "m", "")
    message = only(Streams(embedded.host, embedded.port, s=0, block=None))
    assert type(message) is tuple
    name, index, data = message
    assert (type(name), type(index), type(data)) == (str, bytes, dict)
    assert list(data.items()) == [(b"z", b"26"), (b"a", b"1"), (b"m", b"")]


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize("decode_responses", [False, True])
def test_the_name_is_the_very_object_that_was_given(
    embedded: Endpoint, kind: type, decode_responses: bool
) -> None:
    """Contract 1.3: `str` stays `str` and `bytes` stay `bytes`, whatever is decoded."""
    embedded.command("XADD", "a long name", "1-1", "f", "v")
    name = "".join(["a long", " name"]) if kind is str else b"".join([b"a long", b" name"])
    streams: Any = {name: 0}
    with Streams(
        embedded.host, embedded.port, streams, block=None, decode_responses=decode_responses
    ) as reading:
        (message,) = reading
        (position,) = reading.positions
    assert message[0] is name
    assert position is name


def test_index_and_data_are_text_if_responses_are_decoded(embedded: Endpoint) -> None:
    """Contract 1.3: with `decode_responses=True` both are `str`."""
    embedded.command("XADD", "s", "1-1", "größe", "5 €")
    message = only(Streams(embedded.host, embedded.port, s=0, block=None, decode_responses=True))
    assert message == ("s", "1-1", {"größe": "5 €"})


def test_a_field_name_that_occurs_twice_is_kept_in_a_list(embedded: Endpoint) -> None:
    """Contract 1.3: `fields=list` gives pairs."""
    embedded.command("XADD", "s", "1-1", "f", "1", "g", "2", "f", "3")
    message = only(Streams(embedded.host, embedded.port, s=0, block=None, fields=list))
    assert message == ("s", b"1-1", [(b"f", b"1"), (b"g", b"2"), (b"f", b"3")])


@pytest.mark.parametrize("fields", [dict, list, tuple, OrderedDict, lambda pairs: len([*pairs])])
@pytest.mark.parametrize("size", [1, 2, 40])
def test_any_callable_that_takes_pairs_makes_the_data(
    embedded: Endpoint, fields: Callable[[Any], Any], size: int
) -> None:
    """Contract 1.3: also over many entries of one shape, and with text."""
    pairs = [(f"field{i}", f"value{i}") for i in range(size)]
    for i in range(1, 6):
        embedded.command("XADD", "s", f"{i}-0", *(word for pair in pairs for word in pair))
    r = Redis(embedded.host, embedded.port, decode_responses=True)
    with r.streams(s=0, block=None, fields=fields) as streams:
        assert [data for _, _, data in streams] == [fields(iter(pairs))] * 5


# Text and what is none.


@pytest.mark.parametrize(
    ("encoding", "errors", "value"),
    [
        ("utf-8", "surrogateescape", "caf\udce9 ☕"),
        ("utf-8", "replace", "caf� ☕"),
        ("utf-8", "backslashreplace", "caf\\xe9 ☕"),
        ("latin-1", "strict", "café â\x98\x95"),
    ],
)
def test_encoding_and_its_errors_are_what_the_caller_chose(
    embedded: Endpoint, encoding: str, errors: str, value: str
) -> None:
    """Contract 1.2: `encoding`, `encoding_errors`."""
    embedded.command("XADD", "s", "1-1", "f", b"caf\xe9 \xe2\x98\x95")
    message = only(
        Streams(
            embedded.host,
            embedded.port,
            s=0,
            block=None,
            decode_responses=True,
            encoding=encoding,
            encoding_errors=errors,
        )
    )
    assert message == ("s", "1-1", {"f": value})


def test_bytes_that_are_no_text_neither_stop_a_reader_nor_get_lost(embedded: Endpoint) -> None:
    """Contract 1.2: `surrogateescape` is the default, and brings the same bytes back."""
    everything = bytes(range(256))
    embedded.command("XADD", "s", "1-1", everything, everything[::-1])
    embedded.command("XADD", "s", "1-2", "f", "text")
    with Streams(embedded.host, embedded.port, s=0, block=None, decode_responses=True) as streams:
        first, second = streams
    ((field, value),) = first[2].items()
    assert field.encode("utf-8", "surrogateescape") == everything
    assert value.encode("utf-8", "surrogateescape") == everything[::-1]
    assert second == ("s", "1-2", {"f": "text"})


def test_bytes_that_must_be_text_are_raised_once(embedded: Endpoint) -> None:
    """Contract 3.5: `encoding_errors="strict"` raises, and the iteration goes on after it."""
    embedded.command("XADD", "s", "1-1", "f", b"\xff")
    embedded.command("XADD", "s", "1-2", "f", "text")
    options: dict[str, Any] = {"decode_responses": True, "encoding_errors": "strict"}
    with Streams(embedded.host, embedded.port, s=0, t=0, block=None, **options) as streams:
        with pytest.raises(MessageError) as caught:
            next(streams)
        assert isinstance(caught.value.__cause__, UnicodeDecodeError)
        assert (caught.value.stream, caught.value.id) == ("s", "1-1")
        assert streams.positions == {"s": "1-1", "t": "0-0"}
        assert list(streams) == [("s", "1-2", {"f": "text"})]


@pytest.mark.parametrize("name", ["größe", "\udcff\udcfe", "a b\r\nc", ""])
def test_a_name_may_be_any_text_or_bytes(embedded: Endpoint, name: str) -> None:
    """Contract 1.3: also text that stands for bytes that are none."""
    key = name.encode("utf-8", "surrogateescape")
    embedded.command("XADD", key, "1-1", "f", "v")
    for given_name in (name, key):
        streams: Any = {given_name: 0}
        message = only(Streams(embedded.host, embedded.port, streams, block=None))
        assert message == (given_name, b"1-1", {b"f": b"v"})


blobs = st.binary(max_size=12) | st.sampled_from([b"\r\n", b"$1\r\na", b"*2\r\n", b"-ERR\r\n"])
entries = st.lists(st.tuples(blobs, blobs), min_size=1, max_size=4)


@given(written=st.lists(entries, min_size=1, max_size=6), decode_responses=st.booleans())
@settings(max_examples=60)
def test_any_fields_and_values_come_out_as_they_went_in(
    embedded: Endpoint, written: list[list[tuple[bytes, bytes]]], decode_responses: bool
) -> None:
    """Contract 1.3: binary-safe, twice given fields included."""
    embedded.command("DEL", "s")
    for i, pairs in enumerate(written, 1):
        embedded.command("XADD", "s", f"{i}-0", *(word for pair in pairs for word in pair))
    r = Redis(embedded.host, embedded.port, decode_responses=decode_responses)
    with r.streams(s=0, block=None, fields=list) as streams:
        found: list[Any] = [data for _, _, data in streams]
    if decode_responses:
        found = [
            [tuple(text.encode("utf-8", "surrogateescape") for text in pair) for pair in pairs]
            for pairs in found
        ]
    assert found == written


def test_a_relative_path_of_a_unix_socket_works(
    embedded: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 1.2: `unix_socket_path` is a path like any other."""
    (tmp_path / "door").symlink_to(embedded.unix_socket)
    monkeypatch.chdir(tmp_path)
    embedded.command("XADD", "s", "1-1", "f", "v")
    assert only(Streams(unix_socket_path="door", s=0, block=None))[1] == b"1-1"
    assert only(Streams.from_url("unix://door", s=0, block=None))[1] == b"1-1"
