"""Servers that are no processes of the tests: in containers, and one at a URL.

The latter may be in use: it sees harmless commands alone, on keys with a random prefix.
"""

from __future__ import annotations

import gc
import re
import warnings
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import docker  # type: ignore[import-untyped]
import pytest
from docker.errors import DockerException, ImageNotFound  # type: ignore[import-untyped]

from tests.resp import Client, CommandError
from tests.servers import Endpoint, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.resp import Argument

_START_WITHIN = 30.0  # seconds, once the image is there
_SERVICE = re.compile(r"^  ([\w-]+):[ \t]*$")
_IMAGE = re.compile(r"""^    image:[ \t]*["']?([^\s"'#]+)["']?[ \t]*(?:#.*)?$""")


def images(compose: str) -> dict[str, str]:
    """Read the images of the services in the text of a compose file, by service.

    This knows files that are indented by two spaces, and no more of YAML.
    """
    found: dict[str, str] = {}
    within, service = False, ""
    for line in compose.splitlines():
        if re.match(r"\w", line):
            within = line.rstrip() == "services:"
        elif within and (match := _SERVICE.match(line)):
            service = match[1]
        elif within and service and (match := _IMAGE.match(line)):
            found[service] = match[1]
    return found


class Engine:
    """The Docker engine, or the reason why there is none."""

    def __init__(self) -> None:
        self.reason = ""
        self._client: Any = None
        with warnings.catch_warnings():
            # The package leaves sockets that could not connect to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                self._client = docker.from_env(timeout=120)
                self._client.ping()
            except (DockerException, OSError) as error:
                self.reason = f"no Docker engine answers: {_root_of(error)}"
            gc.collect()

    def start(self, kind: str, image: str) -> Container:
        """Start a server; skip the test where that cannot be done."""
        if self.reason:
            pytest.skip(self.reason)
        try:
            container = self._client.containers.run(
                image,
                ["--save", "", "--appendonly", "no"],
                detach=True,
                ports={"6379/tcp": ("127.0.0.1", None)},
                tmpfs={"/data": ""},
            )
        except ImageNotFound:  # that is a mistake in docker-compose.yml
            raise
        except DockerException as error:
            pytest.skip(f"cannot run {image}: {_root_of(error)}")
        return Container(kind, container)

    def close(self) -> None:
        """Disconnect from the engine."""
        if self._client is not None:
            self._client.close()


def _root_of(error: BaseException) -> BaseException:
    """Find what went wrong in the first place, below the layers of HTTP."""
    for _ in range(20):
        below = error.__cause__ or error.__context__
        if below is None:
            break
        error = below
    return error


class Container(Endpoint):
    """A server in a container, which is removed in the end."""

    def __init__(self, kind: str, container: Any) -> None:
        super().__init__(kind)
        self._container = container
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        super().close()
        self._container.remove(force=True, v=True)

    def _wait_until_it_answers(self) -> None:
        deadline = monotonic() + _START_WITHIN
        while monotonic() < deadline:
            self._container.reload()
            bound = self._container.attrs["NetworkSettings"]["Ports"].get("6379/tcp")
            if bound:
                self._port = int(bound[0]["HostPort"])
                if _answers(self._port):
                    return
            sleep(0.05)
        log = self._container.logs(tail=15).decode(errors="replace")
        raise ServerFailed(f"{self.kind} does not answer, its log closes with:\n{log}")


def _answers(port: int) -> bool:
    try:
        with Client("127.0.0.1", port, timeout=10) as client:
            return bool(client.command("PING") == b"PONG")
    except (OSError, CommandError):
        return False


# Commands that may be sent to a server that may be in use: they do nothing to it, or to
# one key, or to keys alone.
_HARMLESS = frozenset({"ECHO", "PING", "TIME", "XREAD"})
_ONE_KEY = frozenset({"SET", "XADD", "XDEL", "XLEN", "XRANGE", "XSETID", "XTRIM"})
_KEYS = frozenset({"DEL", "EXISTS", "UNLINK"})


class Guest(Client):
    """A connection to a server that may be in use: any other command skips the test."""

    def __init__(self, host: str, port: int, prefix: str, keys: set[bytes]) -> None:
        super().__init__(host, port)
        self._prefix = prefix.encode()
        self._keys = keys

    def send(self, *args: Argument) -> None:
        self._check(args)
        super().send(*args)

    def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        listed = list(commands)
        for command in listed:
            self._check(command)
        return super().pipeline(listed)

    def _check(self, args: Sequence[Argument]) -> None:
        words = [word if isinstance(word, bytes) else str(word).encode() for word in args]
        name = words[0].decode().upper()
        if name in _HARMLESS:
            return
        keys = words[1:] if name in _KEYS else words[1:2]
        ours = keys and all(key.startswith(self._prefix) for key in keys)
        if not ours or name not in _KEYS | _ONE_KEY:
            pytest.skip(f"not for a server that may be in use: {name}, or keys without its prefix")
        self._keys.update(keys)


class Visited(Endpoint):
    """A server at a URL, ``redis://user:password@host:port/db``, that may be in use."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "redis" or not parts.hostname:
            raise ValueError(f"scheme {parts.scheme!r}, expected redis://host:port/db")
        super().__init__("url", parts.hostname, parts.port or 6379)
        self._keys: set[bytes] = set()
        self._login = [unquote(part) for part in (parts.username, parts.password) if part]
        self._db = int(parts.path.strip("/") or 0)

    @property
    def host(self) -> str:
        if self._login or self._db:
            pytest.skip("the URL says more than host and port, and the test does not use options")
        return super().host

    @property
    def options(self) -> dict[str, Any]:
        login = dict(zip(("password", "username"), reversed(self._login), strict=False))
        return super().options | login | {"db": self._db}

    def key(self, name: str) -> str:
        key = super().key(name)
        self._keys.add(key.encode())
        return key

    def begin(self) -> None:
        """Leave what there is alone: the test has keys of its own."""
        self.command("PING")

    def end(self) -> None:
        if self._keys:
            self.command("DEL", *self._keys)
            self._keys.clear()
        self._forget_client()  # it knows the prefix of this test
        super().end()

    def _connect(self) -> Client:
        client = Guest(self._host, self._port, super().key(""), self._keys)
        try:
            # What the guest itself may not send.
            if self._login:
                Client.send(client, "AUTH", *self._login)
                client.receive()
            if self._db:
                Client.send(client, "SELECT", self._db)
                client.receive()
        except BaseException:
            client.close()
            raise
        return client
