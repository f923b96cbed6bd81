"""Contract 1.2: credentials that change, and are sent again before they expire."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import AuthenticationError, ConnectionError, Streams
from tests.peer import Conversation, Peer
from tests.resp import Simple
from tests.scripted import at, block_of, read
from tests.servers import LONG
from tests.simulation import Peer as Simulated
from tests.simulation import Server, Simulation, server_with

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import StartServer

# Seconds that a login is good for.
LIFE = 10.0


class Service:
    """A service that gives out tokens, one after the other.

    Attributes:
        asked: Number of tokens that were given out.
        failure: The exception to raise instead.
    """

    def __init__(self, user: str | None = None) -> None:
        self.asked = 0
        self.failure: Exception | None = None
        self._user = user

    @property
    def token(self) -> str:
        """The last one."""
        return f"token-{self.asked}"

    def __call__(self) -> Any:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return self.token if self._user is None else (self._user, self.token)


class ExpiringServer(Server):
    """A server that closes a connection some time after its last login."""

    def accept(self) -> Simulated:
        """Accept a connection."""
        return ExpiringPeer(self)


class ExpiringPeer(Simulated):
    """The server's side of one connection."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self._logins = 0
        self._expires_at: float | None = None

    def work(self, now: float) -> None:
        """Answer what can be answered now."""
        if self._expires_at is not None and now >= self._expires_at:
            self.closes = True
            return
        super().work(now)
        logins = sum(command[0] == b"AUTH" for command in self.server.log)
        if logins > self._logins:
            self._logins, self._expires_at = logins, now + LIFE


def follow(service: Callable[[], Any], max_age: float | None, **options: Any) -> Simulation:
    """Follow a stream on a server with logins that expire."""
    server = ExpiringServer()
    server.add(b"s", "1-0")
    connection = {"password": service, "credentials_max_age": max_age}
    read_options: dict[str, Any] = {"raise_connection_exceptions": False, "stop_on_timeout": True}
    return Simulation(server, {b"s": 0}, connection=connection, **read_options | options)


@pytest.mark.parametrize("block", [500, 2000])
def test_a_connection_logs_in_again_before_the_server_closes_it(block: int) -> None:
    """Servers that close connections with an expired token never close this one."""
    service = Service()
    simulation = follow(service, 6.0, block=block)
    assert simulation.next()[1] == b"1-0"
    while simulation.now < 1100:
        assert simulation.next() is None
    assert len(simulation.attempts) == 1
    assert 100 / (6 + block / 1000) <= service.asked <= 1 + 100 / 6
    sent = [command[1] for command in simulation.server.log if command[0] == b"AUTH"]
    assert sent == [b"token-%d" % number for number in range(1, service.asked + 1)]


def test_without_a_greatest_age_each_connection_logs_in_once() -> None:
    """No AUTH is sent unasked: the server closes the connection, and the next is made."""
    service = Service()
    simulation = follow(service, None, block=500)
    failures = 0
    while simulation.now < 1100:
        failures += isinstance(simulation.next(), ConnectionError)
    assert len(simulation.attempts) == service.asked == failures + 1 > 5


def test_a_caller_who_was_away_for_long_is_logged_in_before_the_next_read() -> None:
    """Contract 5.1: the credentials are sent before anything else."""
    service = Service()
    simulation = follow(service, 6.0, block=500)
    assert simulation.next()[1] == b"1-0"
    assert simulation.next() is None
    simulation.sleep(7)
    before = len(simulation.server.log)
    assert simulation.next() is None
    assert [command[0] for command in simulation.server.log[before:]][:2] == [b"AUTH", b"XREAD"]


def test_history_is_no_reason_to_let_a_login_expire() -> None:
    """Reads that are sent ahead, one before the reply to the other, are interrupted for it."""
    service, server = Service(), server_with({b"s": range(1, 301)})
    simulation = Simulation(
        server,
        {b"s": 0},
        connection={"password": service, "credentials_max_age": 6.0},
        count=5,
        chunks=(50,),
    )
    for _ in range(300):
        assert isinstance(simulation.next(), tuple)
        simulation.now += 0.5
    assert 15 <= service.asked <= 26
    assert len(simulation.attempts) == 1


@pytest.mark.parametrize("raises", [False, True])
def test_a_service_that_is_away_is_a_failure_of_the_connection(raises: bool) -> None:
    """Contract 5.1: the next call asks again."""
    service = Service()
    simulation = follow(service, 6.0, block=500, raise_connection_exceptions=raises)
    assert simulation.next()[1] == b"1-0"
    service.failure = OSError("the service is away")
    failure: object = None
    while failure is None:
        try:
            failure = simulation.next()
        except ConnectionError as error:
            failure = error
    assert isinstance(failure, ConnectionError)
    assert "cannot log in to localhost:6379: password() raised OSError: the service is" in str(
        failure
    )
    service.failure = None
    simulation.server.add(b"s", "2-0")
    assert simulation.next()[1] == b"2-0"
    assert len(simulation.attempts) == 2


def test_a_password_that_does_not_change_is_sent_again_as_well() -> None:
    server = Server()
    connection = {"username": "me", "password": "pw", "credentials_max_age": 1.0}
    simulation = Simulation(server, {b"s": 0}, connection=connection, block=600)
    for _ in range(3):
        simulation.rest()
    names = [command[0] for command in server.log]
    assert names == [b"AUTH", b"XREAD", b"XREAD", b"AUTH", b"XREAD"]
    assert {tuple(c[1:]) for c in server.log if c[0] == b"AUTH"} == {(b"me", b"pw")}


def test_a_login_that_is_refused_the_second_time_is_raised() -> None:
    """Contract 5.6."""
    service = Service()
    simulation = follow(service, 6.0, block=500)
    simulation.server.password = b"token-1"
    assert simulation.next()[1] == b"1-0"
    with pytest.raises(AuthenticationError, match="refused AUTH: WRONGPASS"):
        simulation.take(20)
    simulation.server.password = b"token-3"
    simulation.server.add(b"s", "2-0")
    assert simulation.next()[1] == b"2-0"


# Over both shells.


def served(conversation: Conversation) -> None:
    """Serve one stream to whoever logs in."""
    while True:
        command = conversation.expect()
        if command[0] == b"AUTH":
            conversation.reply(Simple("OK"))
            continue
        reply = read(command, {"s": ["1-0"]})
        if reply is None:
            conversation.pause(block_of(command) / 1000)
        conversation.reply(reply)


def test_a_living_connection_logs_in_again(shell: str) -> None:
    """Contract 1.2: with what the callable returns by then, a user name included."""
    service = Service("me")
    options: dict[str, Any] = {"password": service, "credentials_max_age": 0.02}
    with Peer(served) as peer, Streams(**at(peer), **options, s=0, block=5) as streams:
        assert next(streams)[1] == b"1-0"
        deadline = monotonic() + LONG
        while service.asked < 4 and monotonic() < deadline:
            assert list(streams) == []
    assert peer.connections == 1, shell
    logins = [command[1:] for command in peer.commands if command[0] == b"AUTH"]
    assert logins[:4] == [[b"me", b"token-%d" % number] for number in (1, 2, 3, 4)]


def test_users_that_change_are_followed(start_server: StartServer) -> None:
    """Contract 1.2: the old user is deleted, and whoever was logged in is thrown out."""
    server, users = start_server(), ["one", "two", "three"]
    server.command("XADD", "s", "1-0", "f", "v")

    def let_in(user: str) -> None:
        server.command("ACL", "SETUSER", user, "on", f">of-{user}", "resetkeys", "~s", "+xread")

    let_in("one")
    options: dict[str, Any] = {"raise_connection_exceptions": False, "block": 10}
    current = ["one"]
    with Streams(
        server.host, server.port, s=0, password=lambda: (current[0], f"of-{current[0]}"), **options
    ) as streams:
        assert next(streams)[1] == b"1-0"
        for number, user in enumerate(users[1:], 2):
            let_in(user)
            old, current[0] = current[0], user
            server.command("ACL", "DELUSER", old)
            server.command("XADD", "s", f"{number}-0", "f", "v")
            deadline, found = monotonic() + LONG, list[Any]([None])
            while not isinstance(found[-1], tuple) and monotonic() < deadline:
                found.append(next(streams, None))
            assert found[-1][1] == b"%d-0" % number
            assert any(isinstance(item, ConnectionError) for item in found)


async def fetch() -> str:
    """Fetch a token."""
    return "token"


def test_an_async_function_is_for_asyncio_alone(shell: str) -> None:
    """Contract 7: it is refused before anything is sent."""
    with Peer(served) as peer:
        if shell != "blocking":
            with Streams(**at(peer), s=0, password=fetch) as streams:
                assert next(streams)[1] == b"1-0"
            assert peer.commands[0] == [b"AUTH", b"token"]
            return
        with pytest.raises(TypeError, match=r"^password is an async function, which only pystr"):
            Streams(**at(peer), s=0, password=fetch)
        assert peer.connections == 0
