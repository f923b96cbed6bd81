"""Contract 5.6: a redirection never leaves a unix socket, nor TLS for plain TCP.

Else any server that says MOVED could have a reader log in wherever it likes, in the clear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import Redis, RedisError, Streams
from tests.certificates import Authority
from tests.live import LiveServer, next_live
from tests.peer import Conversation, Peer
from tests.proxy import Proxy
from tests.resp import Error, Simple
from tests.scripted import at, serve

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t-of-this-test"
SLOT = 15495  # of the stream "a"


def failure_of(**options: Any) -> RedisError:
    """The first failure of a reader that follows "a"."""
    try:
        with Streams(**options, block=50) as streams:
            return refusal_of(streams)
    except RedisError as error:
        return error


def refusal_of(streams: Streams) -> RedisError:
    """The first failure in twenty waits."""
    for _ in range(20):
        try:
            next(streams, None)
        except RedisError as error:
            return error
    raise AssertionError("there was no failure")


def redirecting(to: Peer | Proxy, word: str = "MOVED") -> Any:
    """A server that lets everybody log in, and says for each read that it is to be done there."""

    def script(conversation: Conversation) -> None:
        while True:
            command = conversation.expect()
            if command[0] == b"XREAD":
                conversation.reply(Error(f"{word} {SLOT} {to.host}:{to.port}"))
            else:
                conversation.reply({"proto": 3} if command[0] == b"HELLO" else Simple("OK"))

    return script


@pytest.mark.parametrize("start", [0, None])
@pytest.mark.parametrize(
    "login",
    [{}, {"password": SECRET}, {"username": "u", "password": SECRET, "protocol": 3}],
    ids=str,
)
def test_a_redirection_from_a_unix_socket_is_refused(
    tmp_path: Path, login: dict[str, Any], start: int | None
) -> None:
    """Contract 5.6: nothing is sent there, and the text says why."""
    path = str(tmp_path / "socket")
    with (
        Peer(LiveServer(a=["1-0"])) as elsewhere,
        Peer(redirecting(elsewhere), unix_socket=path),
    ):
        text = str(failure_of(unix_socket_path=path, a=start, **login))
        assert elsewhere.connections == 0
    assert elsewhere.commands == []
    assert path in text
    assert "unix socket" in text
    assert f"redirects to {elsewhere.host}:{elsewhere.port}" in text


def test_a_stream_that_moves_later_does_not_leave_its_unix_socket(tmp_path: Path) -> None:
    """Contract 5.6: as little as one that is redirected at first."""
    path, server = str(tmp_path / "socket"), LiveServer(a=["1-0"])
    with Peer(LiveServer(a=[])) as elsewhere, Peer(server, unix_socket=path):
        with Streams(unix_socket_path=path, password=SECRET, block=50, a=0) as streams:
            assert next_live(streams)[0][1] == b"1-0"
            server.moved["a"] = (elsewhere.host, elsewhere.port)
            assert "redirects to" in str(refusal_of(streams))
        assert elsewhere.connections == 0


def test_another_source_may_be_a_cluster_beside_a_unix_socket(tmp_path: Path) -> None:
    """Contract 5.6: the rule is of each source by itself."""
    path = str(tmp_path / "socket")
    with (
        Peer(LiveServer(a=["1-0"])) as node,
        Peer(redirecting(node)) as seed,
        Peer(LiveServer(a=["1-1"]), unix_socket=path),
    ):
        sources = {"cluster": Redis(**at(seed)), "local": Redis(unix_socket_path=path)}
        with Streams.from_sources(sources, a=0, block=50) as streams:
            found = {next_live(streams)[0][:2] for _ in range(2)}
    assert found == {(("cluster", "a"), b"1-0"), (("local", "a"), b"1-1")}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_a_redirection_from_tls_leads_to_tls(authority: Authority) -> None:
    """Contract 5.6: a node that has TLS as well is read there, and logged in to."""
    context = authority.sign("node", "IP:127.0.0.1").server_context()
    with (
        Peer(LiveServer(a=["1-0"])) as node,
        Proxy(node.host, node.port, ssl_context=context) as secured,
        Peer(redirecting(secured)) as seed,
        Proxy(seed.host, seed.port, ssl_context=context) as seed_secured,
    ):
        options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": authority.certfile}
        with Streams(**at(seed_secured), **options, password=SECRET, a=0) as streams:
            assert next_live(streams)[0][1] == b"1-0"
        assert [b"AUTH", SECRET.encode()] in node.commands


def test_a_redirection_from_tls_to_plain_tcp_sends_no_secret(authority: Authority) -> None:
    """Contract 5.6: what comes there is a TLS handshake, and no more."""
    context = authority.sign("node", "IP:127.0.0.1").server_context()
    received: list[bytes] = []

    def listen(conversation: Conversation) -> None:
        conversation.wait_for_bytes()
        received.append(b"")
        conversation.close()

    with (
        Peer(listen) as plain,
        Peer(redirecting(plain)) as seed,
        Proxy(seed.host, seed.port, ssl_context=context) as secured,
    ):
        options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": authority.certfile}
        text = str(failure_of(**at(secured), **options, password=SECRET, a=0))
    assert plain.commands == []
    assert SECRET not in text


def test_the_certificate_of_a_node_is_checked_for_its_own_name(authority: Authority) -> None:
    """Contract 5.6: a redirection is no way around it."""
    good = authority.sign("seed", "IP:127.0.0.1").server_context()
    bad = authority.sign("other", "DNS:other.example").server_context()
    with (
        Peer(LiveServer(a=["1-0"])) as node,
        Proxy(node.host, node.port, ssl_context=bad) as impostor,
        Peer(redirecting(impostor)) as seed,
        Proxy(seed.host, seed.port, ssl_context=good) as secured,
    ):
        options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": authority.certfile}
        text = str(failure_of(**at(secured), **options, password=SECRET, a=0))
        assert "certificate" in text
        assert node.commands == []


def test_plain_tcp_is_redirected_as_ever() -> None:
    """Contract 5.6: to where the cluster says, with the login that was given."""
    with (
        Peer(LiveServer(a=["1-0"])) as node,
        Peer(redirecting(node)) as seed,
        Streams(**at(seed), password=SECRET, a=0) as streams,
    ):
        assert next_live(streams)[0][1] == b"1-0"
        assert [b"AUTH", SECRET.encode()] in node.commands


@pytest.mark.parametrize("word", ["CROSSSLOT", "TRYAGAIN", "ASK"])
def test_a_unix_socket_to_a_cluster_is_of_use_for_its_own_slots(tmp_path: Path, word: str) -> None:
    """Contract 5.6: what only says that streams are read by slots leads nowhere else."""
    path = str(tmp_path / "socket")
    refused: list[list[bytes]] = []

    def node(conversation: Conversation) -> None:
        if not refused:
            refused.append(conversation.expect("XREAD"))
            text = f"ASK {SLOT} 127.0.0.1:1" if word == "ASK" else f"{word} for now"
            conversation.reply(Error(text))
        serve(conversation, {"a": ["1-0"], "{a}2": ["2-0"]})

    options: dict[str, Any] = {"raise_connection_exceptions": False, "block": 10}
    with (
        Peer(node, unix_socket=path),
        Streams(unix_socket_path=path, **options, streams={"a": 0, "{a}2": 0}) as streams,
    ):
        assert {next_live(streams)[0][1] for _ in range(2)} == {b"1-0", b"2-0"}
