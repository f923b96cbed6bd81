"""What tests of exchanges share: servers that answer them, and replies that were made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis.exceptions import RedisError
from pystreamredis.protocol import Parser
from pystreamredis.protocol import ProtocolError as WireError
from tests.simulation import Peer, Server, commands_in

if TYPE_CHECKING:
    from pystreamredis.core.exchanges import Exchange


class Rounds:
    """Drives a exchange: what it yields is sent, all at once, and answered by a server."""

    def __init__(self, server: Server, *, resp: int = 2) -> None:
        self.sent: list[list[list[bytes]]] = []
        self._peer = Peer(server)
        self._peer.resp = resp

    def run(self, exchange: Exchange[Any]) -> Any:
        parser = Parser()
        replies: list[Any] | None = None
        while True:
            try:
                commands = next(exchange) if replies is None else exchange.send(replies)
            except StopIteration as stop:
                return stop.value
            self.sent.append(commands_in(b"".join(commands)))
            assert len(self.sent[-1]) == len(commands)
            self._peer.receive(b"".join(commands), 0.0)
            parser.feed(self._peer.sent)
            self._peer.sent = b""
            replies = [parser.next_value() for _ in commands]


def run_with(exchange: Exchange[Any], *replies: list[Any]) -> Any:
    """Drive a exchange with replies that were made up."""
    next(exchange)
    for reply in replies[:-1]:
        exchange.send(reply)
    with pytest.raises(StopIteration) as stop:
        exchange.send(replies[-1])
    return stop.value.value


def raised_by(exchange: Exchange[Any], *replies: list[Any]) -> BaseException:
    """Drive a exchange to the error that it ends in."""
    next(exchange)
    try:
        for reply in replies:
            exchange.send(reply)
    except (RedisError, WireError) as error:
        return error
    raise AssertionError("nothing was raised")


def serving(content: dict[bytes, set[int]], **kind: bool) -> Server:
    """Make a server that has these entries."""
    server = Server(**kind)
    for key, ids in content.items():
        for entry in sorted(ids):
            server.add(key, entry)
    return server
