"""`tests.proxy`: each fault is what a client sees, and ends when it is healed."""

from __future__ import annotations

import socket
import ssl
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from tests.certificates import Authority
from tests.peer import CLOSE, Conversation, Expect, Gone, Peer, closed_port
from tests.proxy import Proxy, _Link
from tests.resp import Client, ReplyScanner
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.resp import Argument
    from tests.servers import Server

PONG = b"+PONG\r\n"


@pytest.fixture
def proxy(embedded: Server) -> Iterator[Proxy]:
    with Proxy(embedded.host, embedded.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with connect(proxy) as client:
        yield client


def connect(proxy: Proxy) -> Client:
    return Client(proxy.host, proxy.port)


def rest_of(client: Client) -> bytes:
    """All that still comes until the end."""
    with client.sock.makefile("rb") as file:
        return file.read()


def ask(client: Client, *args: Argument) -> bytes:
    """Send a command; all that comes then until the end."""
    client.send(*args)
    return rest_of(client)


def test_what_is_sent_is_passed_on_and_recorded(proxy: Proxy, client: Client) -> None:
    large = bytes(range(256)) * 4000
    assert client.command("ECHO", large) == large
    with connect(proxy) as other:
        assert other.command("PING") == b"PONG"
    assert proxy.commands == [[b"ECHO", large], [b"PING"]]
    assert proxy.connections == 2


def test_the_end_of_the_server_is_passed_on_after_all_it_said() -> None:
    with (
        Peer([Expect(), 1, CLOSE]) as peer,
        Proxy(peer.host, peer.port) as proxy,
        connect(proxy) as client,
    ):
        assert ask(client, "GO") == b":1\r\n"


def test_the_end_of_the_client_is_passed_on() -> None:
    ended = Event()

    def script(conversation: Conversation) -> None:
        with pytest.raises(Gone):
            conversation.expect()
        ended.set()
        raise Gone

    with Peer(script) as peer, Proxy(peer.host, peer.port) as proxy:
        connect(proxy).close()
        assert ended.wait(LONG)


def test_a_server_that_is_down_closes_connections() -> None:
    with Proxy("127.0.0.1", closed_port()) as proxy, connect(proxy) as client:
        assert rest_of(client) == b""


def test_refusing_spares_open_connections_and_heals(proxy: Proxy, client: Client) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert client.command("PING") == b"PONG"
    proxy.heal()
    with connect(proxy) as other:
        assert other.command("PING") == b"PONG"


def test_nobody_else_gets_the_port_of_one_that_refuses(proxy: Proxy) -> None:
    """Or it could not be healed: its clients would try for ever, or talk to somebody else."""
    proxy.refuse()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((proxy.host, proxy.port))


def test_all_connections_can_be_dropped_and_new_ones_work(proxy: Proxy, client: Client) -> None:
    with connect(proxy) as other:
        proxy.drop_all()
        assert rest_of(other) == b""
    assert rest_of(client) == b""
    with connect(proxy) as other:
        assert other.command("PING") == b"PONG"


def test_dropping_can_reset(proxy: Proxy, client: Client) -> None:
    proxy.drop_all(reset=True)
    with pytest.raises(ConnectionResetError):
        client.receive()


@pytest.mark.parametrize("size", [0, 3, 7, 10])
def test_a_connection_is_closed_after_bytes_of_the_server(
    proxy: Proxy, client: Client, size: int
) -> None:
    assert client.command("PING") == b"PONG"  # which does not count
    proxy.close_after(size, "down")
    for connection in (client, connect(proxy)):  # each has its own count
        with connection:
            connection.send("PING")
            assert ask(connection, "PING") == (PONG * 2)[:size]


@pytest.mark.parametrize(
    ("size", "arrived"), [(0, []), (13, []), (14, [[b"PING"]]), (20, [[b"PING"]])]
)
def test_a_connection_is_closed_after_bytes_of_the_client(
    size: int, arrived: list[list[bytes]]
) -> None:
    with Peer([]) as peer, Proxy(peer.host, peer.port) as proxy:
        proxy.close_after(size, "up")
        with connect(proxy) as client:
            client.send("PING")
            assert ask(client, "PING") == b""
        proxy.drop_all()
        wait_until(lambda: len(peer.commands) == len(arrived))
    assert peer.commands == arrived
    assert proxy.commands[:1] == [[b"PING"]]


def test_a_connection_is_reset_after_a_number_of_bytes(proxy: Proxy, client: Client) -> None:
    proxy.close_after(3, "down", reset=True)
    with pytest.raises(ConnectionResetError):
        ask(client, "PING")


def test_a_cut_can_be_for_once(proxy: Proxy, client: Client) -> None:
    proxy.close_after(3, "down", once=True)
    assert ask(client, "PING") == b"+PO"
    with connect(proxy) as other:
        assert other.command("PING") == b"PONG"


def test_one_byte_of_the_server_is_corrupted(proxy: Proxy, client: Client) -> None:
    proxy.corrupt(len(PONG) + 1, "down", b"u")
    assert [client.command("PING") for _ in range(3)] == [b"PONG", b"uONG", b"PONG"]


def test_one_byte_of_the_client_is_corrupted(proxy: Proxy, client: Client) -> None:
    proxy.corrupt(len("*2..$4..ECHO..$2.."), "up", b"?")
    assert client.command("ECHO", "me") == b"?e"
    assert proxy.commands == [[b"ECHO", b"me"]]


def test_bytes_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many are there when a client looks for them is the machine's affair."""
    data = b"x" * 2000
    sent: list[bytes] = []
    send = _Link._send

    def note(link: _Link, target: socket.socket, data: bytes) -> None:
        sent.append(data)
        send(link, target, data)

    monkeypatch.setattr(_Link, "_send", note)
    with Peer([Expect(), data, CLOSE]) as peer, Proxy(peer.host, peer.port) as proxy:
        proxy.split()
        with connect(proxy) as client:
            assert ask(client, "GO") == data
    assert set(map(len, sent)) == {1}


def test_replies_can_be_late(proxy: Proxy, client: Client) -> None:
    proxy.delay(0.1)
    began = monotonic()
    assert client.command("PING") == b"PONG"
    assert monotonic() - began >= 0.2  # on the way up, and on the way down


def test_a_silent_proxy_swallows_what_comes(proxy: Proxy, client: Client) -> None:
    proxy.silence()
    for connection in (client, connect(proxy)):
        connection.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.command("ECHO", "lost")
    connection.close()
    wait_until(lambda: len(proxy.commands) == 2)
    proxy.heal()
    client.sock.settimeout(LONG)
    assert client.command("ECHO", "heard") == b"heard"
    assert proxy.commands == [[b"ECHO", b"lost"], [b"ECHO", b"lost"], [b"ECHO", b"heard"]]


def test_a_silent_proxy_can_hold_what_comes_until_it_is_healed(
    proxy: Proxy, client: Client
) -> None:
    proxy.silence(hold=True)
    client.sock.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.command("ECHO", "late")
    proxy.heal()
    client.sock.settimeout(LONG)
    assert client.receive() == b"late"


@pytest.mark.parametrize("hold", [False, True])
def test_a_silent_proxy_hides_the_end_of_the_server(hold: bool) -> None:
    with Peer([]) as peer, Proxy(peer.host, peer.port) as proxy, connect(proxy) as client:
        client.send("PING")
        wait_until(lambda: peer.commands)
        proxy.silence(hold=hold)
        peer.close()
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.receive()
        proxy.heal()
        client.sock.settimeout(LONG)
        assert rest_of(client) == b""


def test_what_is_no_resp_is_passed_on_all_the_same(proxy: Proxy, client: Client) -> None:
    client.sock.sendall(b"PING\r\n")
    assert client.receive() == b"PONG"
    assert proxy.commands == []


def test_clients_can_speak_tls(embedded: Server, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    theirs = authority.sign("proxy", "IP:127.0.0.1").server_context()
    ours = ssl.create_default_context(cafile=authority.certfile)
    large = b"x" * 300_000
    with Proxy(embedded.host, embedded.port, ssl_context=theirs) as proxy, connect(proxy) as client:
        client.sock = ours.wrap_socket(client.sock, server_hostname=proxy.host)
        assert client.command("ECHO", large) == large
        assert proxy.commands == [[b"ECHO", large]]
        with connect(proxy) as other:  # which does not
            other.send("PING")
            with pytest.raises(OSError, match=r"closed|reset"):
                other.receive()
            assert proxy.commands == [[b"ECHO", large]]
        assert client.command("PING") == b"PONG"


# Replies.


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_replies_are_found_in_pieces_of_any_size(size: int) -> None:
    replies = [
        b"+OK\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$5\r\n\r\n+\r\n\r\n",
        b"%1\r\n$1\r\ns\r\n*2\r\n*2\r\n:1\r\n_\r\n*0\r\n",
        b"|1\r\n+ttl\r\n:3\r\n*1\r\n|0\r\n$1\r\na\r\n",
        b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
        b"-ERR x\r\n",
        b"=5\r\ntxt:x\r\n",
    ]
    scanner = ReplyScanner()
    data = b"".join(replies)
    found = []
    for at in range(0, len(data), size):
        found += scanner.feed(data[at : at + size])
    assert found == replies
    assert scanner.reply == b""


@pytest.fixture
def reading_proxy(embedded: Server) -> Iterator[Proxy]:
    with Proxy(embedded.host, embedded.port, reads_replies=True) as proxy:
        yield proxy


@pytest.mark.parametrize(("reply", "value"), [(b"*-1\r\n", None), (b"*0\r\n", []), (b"", [b"v"])])
def test_a_reply_is_added_before_each_second_one_that_holds_something(
    reading_proxy: Proxy, embedded: Server, reply: bytes, value: object
) -> None:
    embedded.command("RPUSH", "list", "v")
    with connect(reading_proxy) as client:
        reading_proxy.add_replies(reply, every=2)
        assert client.command("PING") == b"PONG"
        assert client.command("LRANGE", "none", 0, -1) == []
        assert client.command("LRANGE", "list", 0, -1) == [b"v"]
        assert client.command("LRANGE", "list", 0, -1) == value
        assert reading_proxy.added == 1
        reading_proxy.heal()
        assert client.command("PING") == [b"v"]
        assert client.command("PING") == b"PONG"


def test_each_long_reply_is_cut_until_healed(reading_proxy: Proxy, embedded: Server) -> None:
    embedded.command("SET", "long", "v" * 1000)
    reading_proxy.cut_replies(100)
    for _ in range(2):
        with connect(reading_proxy) as client:
            for _ in range(50):
                assert client.command("PING") == b"PONG"
            client.send("GET", "long")
            assert len(rest_of(client)) == 100
    reading_proxy.heal()
    with connect(reading_proxy) as client:
        assert len(client.command("GET", "long")) == 1000
