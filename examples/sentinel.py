"""Follow streams on whichever server the Sentinels say is the master.

    python examples/sentinel.py mymaster 10.0.0.1:26379,10.0.0.2:26379 Stream0 Stream1

`Sentinels` is what `host=` takes: it is asked at every connect. When the master is lost, and
a replica takes over, the streams go on there, after the last message delivered.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from typing import Any

from pystreamredis import ConnectionError, Streams
from pystreamredis.protocol import NEED_DATA, Parser, encode_command

Address = tuple[str, int]


class Sentinels:
    """Finds the master by its name: the first Sentinel that knows it is believed.

    Args:
        name: The master's name in their configuration.
        addresses: Where they are.
        timeout: How long one may take to connect, and again to answer, in seconds.
    """

    def __init__(self, name: str, addresses: list[Address], timeout: float = 0.5) -> None:
        self._name = name
        self._addresses = addresses
        self._timeout = timeout

    def __call__(self) -> Address:
        """Ask where the master is now.

        Raises:
            OSError: None of them says so.
        """
        said = []
        for host, port in self._addresses:
            try:
                reply = self._ask(host, port)
            except OSError as error:
                reply = error
            if isinstance(reply, list):
                return reply[0].decode(), int(reply[1])
            said.append(f"{host}:{port}: {reply or 'unknown'}")
        raise OSError(f"no Sentinel knows the master {self._name!r} ({', '.join(said)})")

    def _ask(self, host: str, port: int) -> Any:
        parser = Parser()
        with socket.create_connection((host, port), self._timeout) as connection:
            connection.sendall(encode_command("SENTINEL", "get-master-addr-by-name", self._name))
            while (reply := parser.next_value()) is NEED_DATA:
                data = connection.recv(4096)
                if not data:
                    raise OSError("closed the connection")
                parser.feed(data)
        return reply


def main(name: str, sentinels: str, *streams: str) -> None:
    """Print what comes, from now on."""
    addresses = [
        (host, int(port))
        for host, _, port in (address.rpartition(":") for address in sentinels.split(","))
    ]
    with Streams(
        Sentinels(name, addresses),
        streams=streams,
        block=0,
        decode_responses=True,
        raise_connection_exceptions=False,
    ) as followed:
        for message in followed:
            # The logger has told of it, and another try comes by itself.
            if not isinstance(message, ConnectionError):
                print(message, flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
