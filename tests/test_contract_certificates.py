"""Contract 5.4: files of certificates are read at each connect, as they are by then."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import Redis, Streams
from tests.certificates import Authority
from tests.live import LiveServer, next_failure, next_live
from tests.peer import Peer
from tests.proxy import Proxy
from tests.scripted import at

if TYPE_CHECKING:
    from pathlib import Path

NAMES = "IP:127.0.0.1"


class Files:
    """The files that a reader is given, and what they are renewed by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities = []
        for name in ("old", "new"):
            (folder / name).mkdir()
            self.authorities.append(Authority(folder / name))
        self.old, self.new = self.authorities
        self.ca_certs = str(folder / "ca.pem")
        self.certfile = str(folder / "client.pem")
        self.keyfile = str(folder / "client.key")

    def trust(self, authority: Authority) -> None:
        shutil.copy(authority.certfile, self.ca_certs)

    def identify(self, authority: Authority) -> None:
        client = authority.sign("client", "DNS:a.client")
        shutil.copy(client.certfile, self.certfile)
        shutil.copy(client.keyfile, self.keyfile)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("files"))


def renewed(files: Files, make: Any, options: dict[str, Any], *, strict: bool) -> None:
    """Have a reader made by `make`, renew the certificates of both sides, and read on."""
    server = LiveServer(s=["1-0"])

    def context(authority: Authority) -> Any:
        clients = authority.certfile if strict else None
        return authority.sign("server", NAMES).server_context(clients)

    with (
        Peer(server) as peer,
        Proxy(peer.host, peer.port, ssl_context=context(files.old)) as proxy,
        make(**at(proxy), **options) as streams,
    ):
        assert next_live(streams, tries=20)[0][1] == b"1-0"
        # First the server alone: what is read at a connect then is not good yet.
        proxy.ssl_context = context(files.new)
        proxy.drop_all()
        for _ in range(2):
            next_failure(streams)
        files.trust(files.new)
        if strict:
            files.identify(files.new)
        server.streams["s"].append("2-0")
        assert next_live(streams, tries=20)[0][1] == b"2-0"


QUICK: dict[str, Any] = {"block": 20, "raise_connection_exceptions": False}


@pytest.mark.parametrize("strict", [False, True], ids=["authority", "own certificate as well"])
@pytest.mark.parametrize("way", ["Streams", "Redis", "URL"])
def test_files_that_are_renewed_are_read_at_the_next_connect(
    files: Files, way: str, strict: bool
) -> None:
    """Contract 5.4: a living reader connects again after a renewal."""
    files.trust(files.old)
    tls: dict[str, Any] = {"ssl_ca_certs": files.ca_certs}
    if strict:
        files.identify(files.old)
        tls |= {"ssl_certfile": files.certfile, "ssl_keyfile": files.keyfile}

    def by_url(host: str, port: int, **options: Any) -> Streams:
        query = "&".join(f"{name}={value}" for name, value in tls.items())
        return Streams.from_url(f"rediss://{host}:{port}?{query}", **options)

    def by_redis(host: str, port: int, **options: Any) -> Streams:
        return Redis(host, port, ssl=True, **tls).streams(**options)

    if way == "Streams":
        renewed(files, Streams, tls | QUICK | {"ssl": True, "s": 0}, strict=strict)
    else:
        make = by_url if way == "URL" else by_redis
        renewed(files, make, QUICK | {"s": 0}, strict=strict)


def test_a_handle_reads_the_files_for_each_reader(files: Files) -> None:
    """Contract 5.4: one that was made before a renewal is as good as one made after it."""
    files.trust(files.old)
    with (
        Peer(LiveServer(s=["1-0"])) as peer,
        Proxy(
            peer.host, peer.port, ssl_context=files.old.sign("server", NAMES).server_context()
        ) as proxy,
    ):
        handle = Redis(**at(proxy), ssl=True, ssl_ca_certs=files.ca_certs)
        with handle.streams(s=0) as streams:
            assert next(streams)[1] == b"1-0"
        proxy.ssl_context = files.new.sign("server", NAMES).server_context()
        files.trust(files.new)
        with handle.streams(s=0) as streams:
            assert next(streams)[1] == b"1-0"


@pytest.mark.parametrize("how", ["missing", "half written"])
def test_files_that_are_no_good_at_a_reconnect_are_a_connection_error(
    files: Files, how: str
) -> None:
    """Contract 5.1, 5.3: a renewal may be amid its work; the next try may find it done."""
    files.trust(files.old)
    server = LiveServer(s=["1-0"])
    context = files.old.sign("server", NAMES).server_context()
    with (
        Peer(server) as peer,
        Proxy(peer.host, peer.port, ssl_context=context) as proxy,
        Streams(**at(proxy), **QUICK, ssl=True, ssl_ca_certs=files.ca_certs, s=0) as streams,
    ):
        assert next_live(streams, tries=20)[0][1] == b"1-0"
        text = files.folder / "ca.pem"
        whole = text.read_text()
        if how == "missing":
            text.unlink()
        else:
            text.write_text(whole[: len(whole) // 2])
        proxy.drop_all()
        server.streams["s"].append("2-0")
        failures = [next_failure(streams) for _ in range(3)]
        assert files.ca_certs in str(failures[2])
        text.write_text(whole)
        assert next_live(streams, tries=20)[0][1] == b"2-0"


def test_files_that_are_no_good_at_first_are_bad_input(files: Files) -> None:
    """Contract 7: a name that was mistyped is said at once, before anything is sent."""
    with pytest.raises(ValueError, match="ssl_ca_certs is '/nonexistent'"):
        Streams("127.0.0.1", 6379, ssl=True, ssl_ca_certs="/nonexistent", s=0)


def test_files_renewed_at_one_source_leave_the_others_alone(files: Files) -> None:
    """Contract 5.1: what fails there is a failure of that connection."""
    files.trust(files.old)
    a, b = LiveServer(s=["1-0"]), LiveServer(s=["1-1"])
    context = files.old.sign("server", NAMES).server_context()
    with (
        Peer(a) as peer,
        Peer(b) as other,
        Proxy(peer.host, peer.port, ssl_context=context) as proxy,
    ):
        sources = {
            "a": Redis(**at(proxy), ssl=True, ssl_ca_certs=files.ca_certs),
            "b": Redis(**at(other)),
        }
        with Streams.from_sources(sources, s=0, **QUICK) as streams:
            assert {next_live(streams, tries=20)[0][1] for _ in range(2)} == {b"1-0", b"1-1"}
            (files.folder / "ca.pem").unlink()
            proxy.drop_all()
            for number in range(10, 30):
                b.streams["s"].append(f"{number}-0")
                assert next_live(streams, tries=20)[0][1] == b"%d-0" % number
            a.streams["s"].append("2-0")
            files.trust(files.old)
            assert next_live(streams, tries=20)[0][:2] == (("a", "s"), b"2-0")
        assert other.connections == 1
