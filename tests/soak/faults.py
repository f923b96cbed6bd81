"""What the campaign does to connections and to servers, and how often it did so."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from threading import Event, Thread
from time import sleep
from typing import TYPE_CHECKING, NamedTuple

from tests.peer import closed_port
from tests.resp import CommandError
from tests.servers import ServerFailed
from tests.soak.messages import FRAGILE, HEAD, add

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.proxy import Direction, Proxy
    from tests.servers import Server

    # Does it; returns whether there was anything to do it to.
    Fault = Callable[[], bool]

USER = "reader"
RIGHTS = ("on", "~*", "+xread")  # what the documents ask for
_ALL_BUT_FRAGILE = "~[^f]*"

# A byte of an entry's head, and what is put in its place. Any of these has to be noticed
# before the entry is delivered. A byte within a value could be noticed by nobody, since
# RESP has no checksums; nor could a smaller number of fields, before what comes next.
_SPOILS = [(0, b"\0"), (1, b"6"), (4, b":"), (5, b"0"), (5, b"2"), (6, b" "), (9, b"x")]


class Planned(NamedTuple):
    """A fault to be made.

    Attributes:
        after: How long it is quiet before it, in seconds.
        kind: Which one.
        choices: What is left open of it follows from this.
    """

    after: float
    kind: str
    choices: Random


def plan(seed: str, kinds: Iterable[str], pauses: tuple[float, float]) -> Iterator[Planned]:
    """Say which faults to make, each kind as often as the others.

    Whatever comes of one of them, those after it are the same with the same seed.
    """
    random = Random(seed)
    deck = list(kinds)
    while True:
        random.shuffle(deck)
        for kind in deck:
            yield Planned(random.uniform(*pauses), kind, Random(random.getrandbits(64)))


class Faults(Thread):
    """Makes one fault after the other, every few hundred ms.

    Attributes:
        made: How many were made, by kind.
        notes: What went wrong with making them.
        lasting: What could not be undone: no reader is to be judged by that.
    """

    def __init__(self, seed: str, pauses: tuple[float, float]) -> None:
        super().__init__(daemon=True)
        self.made: Counter[str] = Counter()
        self.notes: list[str] = []
        self.lasting: list[str] = []
        self._kinds = self._faults()
        self._plan = plan(seed, self._kinds, pauses)
        # Until the first one of them is made.
        self._random = Random(seed)
        self._ending = Event()

    def finish(self) -> None:
        """Make no more, and leave everything whole."""
        self._ending.set()
        self.join(60)

    def run(self) -> None:
        for fault in self._plan:
            if self._ending.wait(fault.after):
                return
            self._random = fault.choices
            try:
                if self._kinds[fault.kind]():
                    self.made[fault.kind] += 1
            except (OSError, CommandError, ServerFailed) as error:
                self.notes.append(f"{fault.kind}: {error!r}")
            try:
                self._heal()
            except (OSError, ServerFailed) as error:
                self.lasting.append(f"{fault.kind} could not be undone: {error!r}")
                return

    @property
    def kinds(self) -> list[str]:
        """All kinds that it makes."""
        return list(self._kinds)

    def _last(self, low: float, high: float) -> None:
        """Let it last for some time."""
        self._ending.wait(self._random.uniform(low, high))

    def _faults(self) -> dict[str, Fault]:
        raise NotImplementedError

    def _heal(self) -> None:
        raise NotImplementedError


class ProxyFaults(Faults):
    """What happens to the connections of one reader.

    Args:
        is_secure: Whether what the proxy passes on is TLS, so that any byte may be spoilt.
    """

    def __init__(
        self,
        proxy: Proxy,
        seed: str,
        pauses: tuple[float, float],
        *,
        is_secure: bool = False,
    ) -> None:
        self._proxy = proxy
        self._is_secure = is_secure
        super().__init__(seed, pauses)

    def _faults(self) -> dict[str, Fault]:
        faults = self._spoiling()
        if self._proxy.reads_replies:
            faults |= {
                "network: nils too many": lambda: self._add_replies(b"*-1\r\n"),
                "network: empty arrays too many": lambda: self._add_replies(b"*0\r\n"),
                "network: replies doubled": lambda: self._add_replies(b""),
                "network: long replies cut each time": self._cut_replies,
            }
        return faults | {
            "network: refused": self._refuse,
            "network: closed": lambda: self._drop(reset=False),
            "network: reset": lambda: self._drop(reset=True),
            "network: closed within a reply": lambda: self._break("down", reset=False),
            "network: reset within a reply": lambda: self._break("down", reset=True),
            "network: closed within a request": lambda: self._break("up", reset=False),
            "network: split into single bytes": self._split,
            "network: delayed": self._delay,
            "network: stalled": self._stall,
            "network: silent, half-open": self._silence,
        }

    def _spoiling(self) -> dict[str, Fault]:
        if self._is_secure:
            return {"network: any byte spoilt, under TLS": self._spoil_any}
        return {"network: a byte of structure spoilt": self._spoil}

    def _heal(self) -> None:
        self._proxy.heal()

    def _refuse(self) -> bool:
        self._proxy.refuse()
        self._proxy.drop_all()
        self._last(0.02, 0.2)
        return True

    def _drop(self, *, reset: bool) -> bool:
        self._proxy.drop_all(reset=reset)
        return True

    def _break(self, direction: str, *, reset: bool) -> bool:
        size = self._random.choice([0, 1, 30, 300, 3000, self._random.randrange(50_000)])
        if direction == "up":
            self._proxy.close_after(size // 30, "up", reset=reset, once=True)
        else:
            self._proxy.close_after(size, "down", reset=reset, once=True)
        return self._wait_until_done()

    def _wait_until_done(self) -> bool:
        for _ in range(40):
            if not self._proxy.faults or self._ending.wait(0.01):
                break
        return not self._proxy.faults

    def _split(self) -> bool:
        self._proxy.split()
        self._last(0.02, 0.1)
        return True

    def _delay(self) -> bool:
        self._proxy.delay(self._random.uniform(0.01, 0.15))
        self._last(0.1, 0.3)
        return True

    def _stall(self) -> bool:
        self._proxy.silence(hold=True)
        self._last(0.05, 0.4)
        return True

    def _silence(self) -> bool:
        """Swallow what comes; the connections end with it: TCP loses nothing in between."""
        self._proxy.silence()
        self._last(0.1, 1.2)
        self._proxy.drop_all(reset=True)
        return True

    def _add_replies(self, reply: bytes) -> bool:
        before = self._proxy.added
        self._proxy.add_replies(reply, self._random.randrange(2, 8))
        self._last(0.1, 0.8)
        return self._proxy.added > before

    def _cut_replies(self) -> bool:
        # A lone message passes, but for what is asked for in looking back.
        self._proxy.cut_replies(self._random.choice([1000, 3000, 20_000]))
        self._last(0.1, 0.8)
        return True

    def _spoil(self) -> bool:
        offset, byte = self._random.choice(_SPOILS)
        self._proxy.spoil(HEAD, offset, byte)
        return self._wait_until_done()

    def _spoil_any(self) -> bool:
        direction: Direction = self._random.choice(["up", "down", "down"])
        self._proxy.corrupt(self._random.randrange(1500), direction, b"", once=True)
        return self._wait_until_done()


class ServerFaults(Faults):
    """What happens to one server, and so to all its readers and its writer."""

    def __init__(
        self, server: Server, password: Path, seed: str, pauses: tuple[float, float]
    ) -> None:
        super().__init__(seed, pauses)
        self._server = server
        self._password = password
        self._changes = 0
        # The number of the next message to `FRAGILE`, which nobody else writes to.
        self._next = 0

    def _faults(self) -> dict[str, Fault]:
        return {
            "server: kill -9 and restart, which loads": self._kill,
            "server: SIGSTOP and SIGCONT": self._suspend,
            "server: CLIENT KILL": self._kill_client,
            "server: CLIENT UNBLOCK ERROR": lambda: self._unblock("ERROR"),
            "server: CLIENT UNBLOCK TIMEOUT": lambda: self._unblock("TIMEOUT"),
            "server: CLIENT PAUSE": self._pause,
            "server: REPLICAOF and back": self._turn_replica,
            "server: user deleted, back with another password": self._change_password,
            "server: maxclients reached": self._fill_up,
            "stream: deleted and created again": self._delete_some,
            "stream: SET over it, then repaired": self._overwrite,
            "stream: right to read it taken and given back": self._forbid,
        }

    def _heal(self) -> None:
        if not self._server.running:
            self._server.start()

    def _kill(self) -> bool:
        self._server.kill()
        self._last(0, 0.2)
        self._server.start()
        return True

    def _suspend(self) -> bool:
        self._server.suspend()
        try:
            self._last(0.05, 1.0)
        finally:
            self._server.resume()
        return True

    def _clients(self, *, blocked: bool = False) -> list[str]:
        """List the readers' connections."""
        lines = self._server.command("CLIENT", "LIST").decode().splitlines()
        clients = [dict(word.split("=", 1) for word in line.split()) for line in lines]
        return [
            client["id"]
            for client in clients
            if client.get("user") == USER and (not blocked or "b" in client["flags"])
        ]

    def _kill_client(self) -> bool:
        clients = self._clients()
        if not clients:
            return False
        self._server.command("CLIENT", "KILL", "ID", self._random.choice(clients))
        return True

    def _unblock(self, how: str) -> bool:
        # Readers are blocked for moments only, as long as much is written.
        for _ in range(30):
            for client in self._clients(blocked=True):
                if self._server.command("CLIENT", "UNBLOCK", client, how):
                    return True
            if self._ending.wait(0.005):
                break
        return False

    def _pause(self) -> bool:
        self._server.command("CLIENT", "PAUSE", self._random.randrange(50, 600))
        return True

    def _turn_replica(self) -> bool:
        # Of nobody: a replica that reaches its master drops what it has.
        try:
            self._server.command("REPLICAOF", "127.0.0.1", closed_port())
            self._last(0.02, 0.3)
        finally:
            self._server.command("REPLICAOF", "NO", "ONE")
        return True

    def _change_password(self) -> bool:
        self._server.command("ACL", "DELUSER", USER)
        try:
            self._last(0.02, 0.2)
        finally:
            self._changes += 1
            password = f"password-{self._changes}"
            self._server.command("ACL", "SETUSER", USER, ">" + password, *RIGHTS)
            self._server.command("ACL", "SAVE")
            self._password.write_text(password)
        return True

    def write(self) -> None:
        """Write some messages to the stream that is `FRAGILE`."""
        for _ in range(self._random.randrange(1, 6)):
            self._server.command(*add(FRAGILE, self._next))
            self._next += 1

    def _delete_some(self) -> bool:
        """Delete it; the clock goes on, so that what comes next has greater IDs."""
        self.write()
        self._last(0, 0.1)
        self._server.command("DEL", FRAGILE)
        sleep(0.01)
        self.write()
        return True

    def _overwrite(self) -> bool:
        self.write()
        try:
            self._server.command("SET", FRAGILE, "is no stream")
            self._last(0.02, 0.3)
        finally:
            self._server.command("DEL", FRAGILE)
        sleep(0.01)
        self.write()
        return True

    def _forbid(self) -> bool:
        self._server.command("ACL", "SETUSER", USER, "resetkeys", _ALL_BUT_FRAGILE)
        try:
            self.write()
            self._last(0.02, 0.3)
        finally:
            self._server.command("ACL", "SETUSER", USER, "resetkeys", *RIGHTS)
        return True

    def _fill_up(self) -> bool:
        clients = self._clients()
        try:
            self._server.command("CONFIG", "SET", "maxclients", 1)
            for client in clients:
                self._server.command("CLIENT", "KILL", "ID", client)
            self._last(0.05, 0.3)
            self._server.command("CONFIG", "SET", "maxclients", 10_000)
        except (OSError, CommandError):
            # The connection to undo it over is gone, and there is no other to be had.
            self._server.kill()
            raise
        return bool(clients)
