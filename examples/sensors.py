"""Four sensors that add to a stream each, at their own pace and with a field of their own.

    python examples/sensors.py redis://localhost:6379 --prefix lab:

It needs no client library: a socket, and `pystreamredis.protocol` for the bytes. It goes
on until its standard input ends (in a terminal: Enter), or Ctrl-C. The messages of each stream
are counted; started again, it continues to count where it stopped.
"""

from __future__ import annotations

import argparse
import random
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pystreamredis.protocol import NEED_DATA, Parser, ServerError, encode_command

_TIMEOUT = 30.0  # seconds
# Two messages of one sensor are so far apart at least, in seconds. Thus no two of its IDs
# have the same ms, and IDs grow over all streams in the order in which they are made.
_APART = 0.002


class Client:
    """One connection to the server at a URL, and commands over it, one by one."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        self._parser = Parser()
        self._sock = _connect(parts.scheme, parts.hostname, parts.port, parts.path, query)
        user = unquote(parts.username or "") or query.get("username")
        password = unquote(parts.password or "") or query.get("password")
        if user or password:
            self.call("AUTH", *([user] if user else []), password or "")
        db = query.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "")
        if db:
            self.call("SELECT", db)

    def call(self, *command: bytes | str | int) -> Any:
        """Send one command; return its reply."""
        self._sock.sendall(encode_command(*command))
        while (reply := self._parser.next_value()) is NEED_DATA:
            data = self._sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._parser.feed(data)
        if isinstance(reply, ServerError):
            raise OSError(f"the server refused {command[0]!r}: {reply.text}")
        return reply

    def add(self, key: str, entry_id: str, fields: dict[str, Any]) -> bytes:
        """XADD; return the ID of the new entry."""
        items = [str(item) for pair in fields.items() for item in pair]
        entry: bytes = self.call("XADD", key, entry_id, *items)
        return entry

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


def _connect(
    scheme: str, host: str | None, port: int | None, path: str, query: dict[str, str]
) -> socket.socket:
    if scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(unquote(path))
        return sock
    host = host or "localhost"
    sock = socket.create_connection((host, port or 6379), _TIMEOUT)
    if scheme != "rediss":
        return sock
    context = ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
    context.check_hostname = query.get("ssl_check_hostname", "1").lower() in ("1", "true", "yes")
    if certfile := query.get("ssl_certfile"):
        context.load_cert_chain(certfile, query.get("ssl_keyfile"))
    return context.wrap_socket(sock, server_hostname=host)


@dataclass
class Sensor:
    """A sensor: its mean interval in seconds, and the function that measures."""

    interval: float
    measure: Callable[[], dict[str, Any]]


# One value each, so that a message fits a terminal of 80 columns.


def _temperature() -> dict[str, Any]:
    return {"celsius": f"{random.gauss(21, 0.3):.2f}"}


def _door() -> dict[str, Any]:
    return {"state": random.choice(["open", "closed"])}


def _vibration() -> dict[str, Any]:
    return {"g": f"{random.gauss(0, 0.02):+.4f}"}


def _water() -> dict[str, Any]:
    return {"meters": f"{random.gauss(1.8, 0.01):.3f}"}


SENSORS = {
    "Stream0": Sensor(0.2, _temperature),
    "Stream1": Sensor(0.7, _door),
    "Stream2": Sensor(0.1, _vibration),
    "Stream3": Sensor(1.0, _water),
}


def measure(name: str, index: int) -> dict[str, Any]:
    """Make the fields of a sensor's next message; its messages are counted by `index`."""
    return {"index": index} | SENSORS[name].measure()


def next_index(client: Client, key: str) -> int:
    """Return the count of a stream's next message: one more than its last message has."""
    last = client.call("XREVRANGE", key, "+", "-", "COUNT", 1)
    fields = last[0][1] if last else []
    return int(dict(zip(fields[::2], fields[1::2], strict=True)).get(b"index", -1)) + 1


def write_until_told(client: Client, prefix: str, counts: dict[str, int]) -> None:
    """Add messages as time goes by, until standard input ends or says anything.

    Args:
        client: Where to.
        prefix: What keys begin with.
        counts: How many messages each stream has had.
    """
    due = {name: time.monotonic() + random.random() * SENSORS[name].interval for name in counts}
    while True:
        name = min(due, key=lambda name: due[name])
        told, _, _ = select.select([sys.stdin], [], [], max(0.0, due[name] - time.monotonic()))
        if told:
            return
        client.add(prefix + name, "*", measure(name, counts[name]))
        counts[name] += 1
        pause = SENSORS[name].interval * random.uniform(0.7, 1.3)
        due[name] = max(due[name] + pause, time.monotonic() + _APART)


def main() -> None:
    """Write until told otherwise."""
    parser = argparse.ArgumentParser(description="Add sensors' messages to four streams.")
    parser.add_argument("url", help="redis://..., rediss://... or unix://...")
    parser.add_argument("--prefix", default="", help="what the streams' names begin with")
    parser.add_argument("--counts", type=int, nargs=len(SENSORS), help="next counts, if known")
    arguments = parser.parse_args()
    try:
        with closing(Client(arguments.url)) as client:
            keys = [arguments.prefix + name for name in SENSORS]
            counts = arguments.counts or [next_index(client, key) for key in keys]
            print("writing to", ", ".join(keys), flush=True)
            write_until_told(client, arguments.prefix, dict(zip(SENSORS, counts, strict=True)))
    except KeyboardInterrupt:
        sys.exit(0)
    except OSError as error:
        sys.exit(f"sensors: {error}")


if __name__ == "__main__":
    main()
