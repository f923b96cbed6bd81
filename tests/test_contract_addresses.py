"""Contract 5.4: where an address accepts and is of no use, the host's next one has its turn."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pystreamredis import ConnectionError, Redis, Streams
from tests.live import LiveServer, next_failure, next_live
from tests.peer import CLOSE, RESET, SILENT, Expect, Peer
from tests.resp import Error
from tests.scripted import at, next_item
from tests.servers import LONG, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "several.example"
FIRST, SECOND = "127.0.0.1", "127.0.0.2"
# What the first address does with every connection.
USELESS: dict[str, list[Any]] = {
    "closes at once": [CLOSE],
    "closes at the first command": [Expect(), CLOSE],
    "resets": [Expect(), RESET],
    "loads": [Expect(), Error("LOADING Redis is loading the dataset in memory"), SILENT],
    "has no room": [Expect(), Error("ERR max number of clients reached"), CLOSE],
    "does not speak RESP": [Expect(), b"HTTP/1.1 502 Bad Gateway\r\n\r\n", SILENT],
    "is silent": [SILENT],
}
# A busy machine is not taken for a silent peer, but where there is one.
QUICK: dict[str, Any] = {"block": 10, "socket_timeout": LONG}


class Scene(NamedTuple):
    """A name with two addresses: the first accepts and is useless, the second serves."""

    useless: Peer
    useful: Peer
    server: LiveServer
    options: dict[str, Any]


@contextmanager
def two_addresses(
    monkeypatch: pytest.MonkeyPatch, steps: list[Any], addresses: tuple[str, ...] = (FIRST, SECOND)
) -> Iterator[Scene]:
    """Give a name two addresses, of which the first does as these steps say."""
    server = LiveServer(s=["1-0"])
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in (NAME, NAME.encode()):
            return look_up(host, port, *args, **more)
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, int(port)))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    with ExitStack() as stack:
        port = free_port()
        useless = stack.enter_context(Peer(steps, host=FIRST, port=port))
        useful = stack.enter_context(Peer(server, host=SECOND, port=port))
        yield Scene(useless, useful, server, {"host": NAME, "port": port} | QUICK)


@pytest.fixture(params=USELESS)
def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with two_addresses(monkeypatch, USELESS[request.param]) as scene:
        if request.param == "is silent":
            scene.options["socket_timeout"] = 1.5
        yield scene


@pytest.mark.parametrize("start", [0, "1-0"])
def test_the_next_try_is_at_the_next_address(scene: Scene, start: Any) -> None:
    """Contract 5.3, 5.4: one failure for the address that is useless, then messages come."""
    scene.server.streams["s"].append("2-0")
    with Streams(**scene.options, s=start, raise_connection_exceptions=False) as streams:
        message, failures = next_live(streams, tries=4)
        assert message[1] == (b"1-0" if start == 0 else b"2-0")
        assert len(failures) == 1
        assert scene.useless.connections == 1


def test_the_next_try_after_what_was_raised_is_at_the_next_address(scene: Scene) -> None:
    """Contract 5.2, 5.4: where the constructor has to ask, the object is lost with its failure."""
    with Streams(**scene.options, s=0) as streams:
        failure = next_item(streams)
        assert isinstance(failure, ConnectionError)
        assert next_live(streams, tries=3)[0][1] == b"1-0"


def test_the_failure_names_the_address_that_was_tried(scene: Scene) -> None:
    """Contract 5.1: a name alone does not say which of its servers to look at."""
    with Streams(**scene.options, s=0, raise_connection_exceptions=False) as streams:
        text = str(next_failure(streams))
    assert f"{NAME}:{scene.options['port']} ({FIRST})" in text


def test_a_connection_that_breaks_finds_its_way_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract 5.4: past the useless address again, or at once to the one that has answered."""
    with Streams(**scene.options, s=0, raise_connection_exceptions=False) as streams:
        assert next_live(streams, tries=4)[0][1] == b"1-0"
        for number in range(2, 6):
            scene.server.cut()
            scene.server.streams["s"].append(f"{number}-0")
            message, failures = next_live(streams, tries=6)
            assert message[1] == b"%d-0" % number
            assert len(failures) <= 2
        assert scene.useless.connections <= 5


def test_all_addresses_have_their_turn_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.4: the one that was useless may be the one that serves by then."""
    with two_addresses(monkeypatch, [Expect(), CLOSE], (FIRST, SECOND)) as scene:
        scene.server.refusal = "LOADING Redis is loading the dataset in memory"
        with Streams(**scene.options, s=0, raise_connection_exceptions=False) as streams:
            for _ in range(8):
                next_failure(streams)
            assert scene.useless.connections >= 3
            assert scene.useful.connections >= 3
            scene.server.refusal = ""
            assert next_live(streams, tries=4)[0][1] == b"1-0"


def test_an_address_that_refuses_costs_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.4: the next one is tried at once, as ever."""
    with two_addresses(monkeypatch, [CLOSE], ("127.0.0.3", SECOND)) as scene:
        with Streams(**scene.options, s=0) as streams:
            assert next(streams)[1] == b"1-0"
        assert scene.useless.connections == 0


def test_where_all_refuse_the_text_names_the_last_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.1."""
    with (
        two_addresses(monkeypatch, [CLOSE], ("127.0.0.3", "127.0.0.4")) as scene,
        pytest.raises(ConnectionError) as caught,
        Streams(**scene.options, s=0) as streams,
    ):
        next(streams)
    assert f"{NAME}:{scene.options['port']} (127.0.0.4)" in str(caught.value)


def test_an_address_of_digits_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.1: there is nothing to add to it."""
    with Peer([Expect(), CLOSE]) as peer, Streams(**at(peer), s=0) as streams:
        text = str(next_item(streams))
    assert f"{peer.host}:{peer.port}" in text
    assert f"({peer.host})" not in text


def test_addresses_are_a_matter_of_each_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract 5.1, 5.4: the other source goes on over the connection that it has."""
    other = LiveServer(s=["1-1"])
    with two_addresses(monkeypatch, [Expect(), CLOSE]) as scene, Peer(other) as peer:
        where = {name: scene.options[name] for name in ("host", "port")}
        sources = {"a": Redis(**where), "b": Redis(**at(peer))}
        reading: dict[str, Any] = {"block": 10, "raise_connection_exceptions": False}
        with Streams.from_sources(sources, s=0, **reading) as streams:
            found = {next_live(streams, tries=4)[0][:2] for _ in range(2)}
        assert found == {(("a", "s"), b"1-0"), (("b", "s"), b"1-1")}
        assert peer.connections == 1
        assert scene.useless.connections == 1
