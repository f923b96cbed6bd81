"""Contract 5.1: what a callable `password` or `host` does wrong is a connection that failed.

It is raised or returned as such, with the pause of all failures, and disturbs no other
connection: neither those to other sources nor those to other nodes of a cluster.
"""

from __future__ import annotations

import builtins
import ssl
import traceback
from typing import Any

import pytest

from pystreamredis import ConnectionError, Redis, ResponseError, Streams
from tests.live import LiveServer, next_failure, next_live, next_outcome
from tests.peer import Peer
from tests.scripted import at, ids_of
from tests.servers import LONG

WHICH = ["host", "password"]
RAISED: dict[str, BaseException] = {
    "OSError": OSError("the service is away"),
    "LookupError": LookupError("the service is away"),
    "ValueError": ValueError("the service is away"),
    "RuntimeError": RuntimeError("the service is away"),
    "StopIteration": StopIteration("the service is away"),
    "AssertionError": AssertionError("the service is away"),
    "a refused connection": ConnectionRefusedError("the service is away"),
    "a timeout": builtins.TimeoutError("the service is away"),
    "a TLS failure": ssl.SSLError("the service is away"),
    "a failure of this library": ResponseError("the service is away", code="ERR"),
    "a failure without a text": Exception(),
}
RETURNED: dict[str, dict[str, Any]] = {
    "password": {
        "a number": 5,
        "a list": ["s3cr3t"],
        "a bytearray": bytearray(b"s3cr3t"),
        "what cannot be encoded": "s3cr3t\ud800",
    },
    "host": {
        "a name alone": "localhost",
        "nothing": None,
        "a name in a tuple": ("localhost",),
        "bytes": (b"localhost", 6379),
        "a port in text": ("localhost", "6379"),
        "no port": ("localhost", 0),
        "no name": ("", 6379),
        "a URL": ("redis://localhost", 6379),
    },
}
WRONG = [(which, name) for which, found in RETURNED.items() for name in found]


class Service:
    """What is called for a host or a password: it answers, unless something is wrong.

    Attributes:
        wrong: What is raised or, if it is no exception, returned; empty for nothing.
        asked: How often it was called.
    """

    def __init__(self, answer: Any) -> None:
        self.wrong: list[Any] = []
        self.asked = 0
        self._answer = answer

    def __call__(self) -> Any:
        self.asked += 1
        if not self.wrong:
            return self._answer
        if isinstance(self.wrong[0], BaseException):
            raise self.wrong[0]
        return self.wrong[0]


def service_for(which: str, peer: Peer) -> tuple[Service, dict[str, Any]]:
    """A service, and the options with which a reader asks it."""
    if which == "host":
        service = Service((peer.host, peer.port))
        return service, {"host": service}
    service = Service("secret")
    return service, at(peer) | {"password": service}


def check(failure: object, which: str, cause: BaseException | None = None) -> None:
    assert isinstance(failure, ConnectionError)
    assert isinstance(failure, builtins.ConnectionError)
    assert f"{which}()" in str(failure)
    assert "s3cr3t" not in str(failure)
    if cause is not None:
        assert type(cause).__name__ in str(failure)
        # What is not an OSError may quote a secret.
        is_shown = not str(cause) or which == "host" or isinstance(cause, OSError)
        assert (str(cause) in str(failure)) is is_shown
        chain, link = [], failure.__cause__
        while link is not None:
            chain.append(link)
            link = link.__cause__
        assert cause in chain


@pytest.mark.parametrize("start", [0, None])
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("name", RAISED)
def test_what_is_raised_is_a_connection_error(name: str, which: str, start: int | None) -> None:
    """Contract 5.1, 5.2: raised by the constructor; its text says which callable it was."""
    with Peer(LiveServer(s=["1-0"])) as peer:
        service, options = service_for(which, peer)
        service.wrong.append(RAISED[name])
        with pytest.raises(ConnectionError) as caught, Streams(**options, s=start) as streams:
            next(streams)
        check(caught.value, which, RAISED[name])
        service.wrong.clear()
        with Streams(**options, s=0) as streams:
            assert next(streams)[1] == b"1-0"


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("name", RAISED)
def test_what_is_raised_is_returned_when_told_so(name: str, which: str) -> None:
    """Contract 5.1, 5.3: and the next try goes well."""
    server = LiveServer(s=["1-0"])
    with Peer(server) as peer:
        service, options = service_for(which, peer)
        service.wrong.append(RAISED[name])
        options |= {"raise_connection_exceptions": False, "block": 10}
        with Streams(**options, s=0) as streams:
            for _ in range(2):
                check(next_failure(streams), which, RAISED[name])
            service.wrong.clear()
            assert next_live(streams)[0][1] == b"1-0"
            # The same again at a reconnect.
            service.wrong.append(RAISED[name])
            server.cut()
            failures = [next_failure(streams) for _ in range(2)]
            check(failures[1], which, RAISED[name])
            service.wrong.clear()
            server.streams["s"].append("2-0")
            assert next_live(streams)[0][1] == b"2-0"


@pytest.mark.parametrize("raising", [True, False])
@pytest.mark.parametrize(("which", "name"), WRONG)
def test_what_cannot_be_used_is_a_connection_error(which: str, name: str, raising: bool) -> None:
    """Contract 5.1: the service may say something better at the next connect."""
    with Peer(LiveServer(s=["1-0"])) as peer:
        service, options = service_for(which, peer)
        service.wrong.append(RETURNED[which][name])
        options |= {"raise_connection_exceptions": raising, "block": 10, "s": 0}
        if raising:
            with pytest.raises(ConnectionError) as caught:
                Streams(**options)
            check(caught.value, which)
            assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
            return
        with Streams(**options) as streams:
            for _ in range(2):
                check(next_failure(streams), which)
            service.wrong.clear()
            assert next_live(streams)[0][1] == b"1-0"


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("wrong", [OSError("the service is away"), 5], ids=["raised", "returned"])
def test_a_failure_is_followed_by_a_pause(which: str, wrong: Any) -> None:
    """Contract 5.3: counted by how often it is asked while another source has messages."""
    b = LiveServer(s=["1-0"])
    with Peer(LiveServer()) as peer, Peer(b) as other:
        service, options = service_for(which, peer)
        service.wrong.append(wrong)
        sources = {"a": Redis(**options), "b": Redis(**at(other))}
        reading: dict[str, Any] = {"raise_connection_exceptions": False, "block": 1000 * int(LONG)}
        with Streams.from_sources(sources, s=0, **reading) as streams:
            failures = []
            for number in range(2, 40):
                item = next_outcome(streams)
                if isinstance(item, ConnectionError):
                    failures.append(item)
                b.streams["s"].append(f"{number}-0")
            assert [type(failure) for failure in failures] == [ConnectionError]
            assert service.asked == 1
            assert other.connections == 1


def follow_beside_a_failure(
    streams: Streams, other: LiveServer, name: str
) -> tuple[list[bytes], list[ConnectionError]]:
    """Read 20 messages of another stream, one at a time, in spite of failures."""
    found, failures = [], []
    for number in range(10, 30):
        other.streams[name].append(f"{number}-0")
        message, told = next_live(streams)
        found.append(message[1])
        failures += told
    return found, failures


EXPECTED = [b"%d-0" % number for number in range(10, 30)]


@pytest.mark.parametrize("raising", [True, False])
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("wrong", [OSError("the service is away"), 5], ids=["raised", "returned"])
def test_other_sources_go_on_undisturbed(which: str, wrong: Any, raising: bool) -> None:
    """Contract 3.5, 5.1: over the connections that they have."""
    a, b = LiveServer(s=["1-0"]), LiveServer(s=["1-1"])
    with Peer(a) as peer, Peer(b) as other:
        service, options = service_for(which, peer)
        sources = {"a": Redis(**options), "b": Redis(**at(other))}
        reading: dict[str, Any] = {"raise_connection_exceptions": raising, "block": 50}
        with Streams.from_sources(sources, s=0, **reading) as streams:
            assert ids_of(next_live(streams)[0] for _ in range(2)) == [b"1-0", b"1-1"]
            service.wrong.append(wrong)
            a.cut()
            a.streams["s"].append("2-0")
            found, failures = follow_beside_a_failure(streams, b, "s")
            assert found == EXPECTED
            # The next try has to wait for `block`, which those 20 need not take.
            while not any(f"{which}()" in str(failure) for failure in failures):
                failures.append(next_failure(streams))
                assert len(failures) < 20
            service.wrong.clear()
            assert next_live(streams)[0][:2] == (("a", "s"), b"2-0")
        assert other.connections == 1


@pytest.mark.parametrize("raising", [True, False])
@pytest.mark.parametrize("wrong", [OSError("the service is away"), 5], ids=["raised", "returned"])
def test_other_nodes_of_a_cluster_go_on_undisturbed(wrong: Any, raising: bool) -> None:
    """Contract 3.5, 5.1: counted by logins, since a node may be asked for what another had."""
    one, two = LiveServer(a=["1-0"], b=[]), LiveServer(a=[], b=["1-1"])
    service = Service("secret")
    with Peer(one) as peer, Peer(two) as other:
        one.is_cluster = two.is_cluster = True
        one.moved["b"], two.moved["a"] = (other.host, other.port), (peer.host, peer.port)
        reading: dict[str, Any] = {"raise_connection_exceptions": raising, "block": 50}
        with Streams(**at(peer), password=service, **reading, a=0, b=0) as streams:
            assert sorted(ids_of(next_live(streams)[0] for _ in range(2))) == [b"1-0", b"1-1"]
            service.wrong.append(wrong)
            two.cut()
            two.streams["b"].append("2-0")
            before = logins(peer)
            found, failures = follow_beside_a_failure(streams, one, "a")
            assert found == EXPECTED
            assert any("password()" in str(failure) for failure in failures)
            assert logins(peer) <= before + 1  # one may have been on its way
            service.wrong.clear()
            assert next_live(streams)[0][:2] == ("b", b"2-0")


def logins(peer: Peer) -> int:
    """How often clients have logged in."""
    return sum(command[0] == b"AUTH" for command in peer.commands)


@pytest.mark.blocking
@pytest.mark.parametrize("which", WHICH)
def test_an_interruption_of_it_is_the_callers_own(which: str) -> None:
    """Contract 4.4: Ctrl-C within a slow service ends the program, as anywhere."""
    with Peer(LiveServer(s=["1-0"])) as peer:
        service, options = service_for(which, peer)
        service.wrong.append(KeyboardInterrupt())
        options |= {"raise_connection_exceptions": False, "block": 10, "s": 0}
        with pytest.raises(KeyboardInterrupt), Streams(**options) as streams:
            next(streams)
