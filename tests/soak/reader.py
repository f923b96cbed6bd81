"""A reader of the campaign: a process of its own, which notices by itself what goes wrong.

Each few seconds it closes its `Streams` and goes on from the positions with other options.
It is told what to do by one line of JSON, opens streams by lines of JSON, and is told the
last numbers written when the faults are over; then it reads to the end and reports.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from threading import Thread, Timer
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from pystreamredis import (
    AuthenticationError,
    ConnectionError,
    ProtocolError,
    RedisError,
    ResponseError,
    Streams,
)
from tests.resp import Client, CommandError
from tests.soak.cancelling import CancelledStreams
from tests.soak.messages import FRAGILE, PAYLOADS, last_on, number_of
from tests.soak.sources import SeveralSources

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

TIMEOUT = "nothing came"
ARCHIVE_SIZE = 2000
# How long nothing may come at the end before what is missing counts as lost, in seconds.
_PATIENCE = 60.0


@dataclass
class Plan:
    """What a reader is to do.

    Attributes:
        ports: The server's and the proxy's.
        password: A file with the password of `user`, which changes.
        streams: What it follows all the time.
        archive: Streams that nobody writes to.
        authority: The file to trust, where the ports are of TLS.
        knows_plus: Whether the server can be asked for its last entries.
        starts_now: Whether it follows the former from now, or all from the beginning.
    """

    name: str
    seed: str
    host: str
    ports: list[int]
    unix_socket: str
    user: str
    password: str
    streams: list[str]
    archive: list[str]
    authority: str | None
    knows_plus: bool
    starts_now: bool


@dataclass
class Chain:
    """Messages of a stream that have to follow on each other without a gap.

    Attributes:
        stream: The stream.
        after: The ID after which it begins; None while it is not known.
        first: The number of the first message; None before it has come.
        next: The number that has to come next.
        position: The ID of the last message; `after` before the first one.
        missing: The numbers that were passed over.
    """

    stream: str
    after: str | None = None
    first: int | None = None
    next: int = 0
    position: str | None = None
    missing: set[int] = field(default_factory=set)


@dataclass
class Tally:
    """What a reader has seen."""

    handed: int = 0
    repeated: int = 0
    disordered: int = 0  # within a stream
    disordered_across: int = 0  # among streams that nobody writes to
    spoilt: int = 0  # other data than was written
    astray: int = 0  # `positions` that are not those of the last messages
    crashes: int = 0  # exceptions that are no RedisError
    warnings: int = 0  # of gaps: there are none but those of `FRAGILE`
    gaps: int = 0  # of which a warning told
    sessions: int = 0
    ways: Counter[str] = field(default_factory=Counter)  # in which there were sessions
    failures: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)  # waits, by how
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep what is needed to find out about a fault of the library."""
        if len(self.notes) < 20 and text not in self.notes:
            self.notes.append(text)


class Reader:
    """Follows its streams in one session after the other."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = Random(plan.seed)
        self.tally = Tally()
        self.chains: dict[str, Chain] = {}
        self.ended: list[Chain] = []
        # The last number of each stream, once nothing is written any more.
        self.last: dict[str, int] | None = None
        self.heard = monotonic()
        self._opened = 0

    def run(self) -> None:
        """Read until all that was written has come, or nothing comes any more."""
        for stream in self.plan.streams:
            self.chains[stream] = Chain(stream, "0-0", position="0-0")
        if self.plan.starts_now:
            self.chains.clear()
        self.chains[FRAGILE] = Chain(FRAGILE, "0-0", position="0-0")
        while not self.is_done():
            if self.last is not None and monotonic() - self.heard > _PATIENCE:
                break
            if self.last is None and self.random.random() < 0.15:
                ArchiveSession(self).run()
            else:
                Session(self, self._starts()).run()
        if self.chains and self.is_done():  # whatever came now would come again
            Session(self, self._starts(), seconds=0.3).run()

    def _starts(self) -> dict[str, str | None]:
        """Where each stream is to be followed from: None for now."""
        random, streams = self.random, self.plan.streams
        if self.last is None:
            if random.random() < 0.15:
                self.end(random.choice(streams))
            if self.chains and random.random() < 0.1:
                stream = random.choice(streams)
                if stream in self.chains and self.chains[stream].next < 20_000:
                    self.end(stream)
                    self.chains[stream] = Chain(stream, "0-0", position="0-0")
            for stream in self.opened()[:-3]:
                self.end(stream)
        starts = {stream: _as_text(chain.position) for stream, chain in self.chains.items()}
        if self.last is None:
            starts |= {stream: None for stream in streams if stream not in starts}
            if random.random() < 0.4:
                starts[self.new_stream()] = None
        return starts

    def new_stream(self) -> str:
        """Name a stream that does not exist yet."""
        self._opened += 1
        return f"{self.plan.name}-{self._opened}"

    def opened(self) -> list[str]:
        """The streams that it has named and still follows."""
        return [name for name in self.chains if name.startswith(self.plan.name)]

    def end(self, stream: str) -> None:
        """Follow a stream no more."""
        if stream in self.chains:
            self.ended.append(self.chains.pop(stream))

    def is_done(self) -> bool:
        """Whether the last message of each stream has come."""
        return self.last is not None and all(
            chain.next > self.last.get(stream, -1) for stream, chain in self.chains.items()
        )

    def last_on_server(self, stream: str) -> tuple[int, str]:
        """Ask the server itself, as soon as it answers."""
        while True:
            try:
                with Client(self.plan.unix_socket, timeout=60) as client:
                    return last_on(client, stream)
            except (OSError, CommandError):
                sleep(0.02)

    def report(self) -> dict[str, Any]:
        """What it has seen."""
        chains = [(chain, False) for chain in self.ended]
        chains += [(chain, True) for chain in self.chains.values()]
        return {
            "name": self.plan.name,
            "tally": vars(self.tally),
            "chains": [
                vars(chain)
                | {"missing": sorted(chain.missing), "position": _as_text(chain.position)}
                | {"is_followed": is_followed}
                for chain, is_followed in chains
            ],
        }


class Session:
    """One `Streams`, from when it is made until it is closed."""

    def __init__(
        self, reader: Reader, starts: dict[str, str | None], seconds: float | None = None
    ) -> None:
        self.reader = reader
        # Its own, so that the same seed gives each session the same options.
        self.random = random = Random(f"{reader.plan.seed}-{reader.tally.sessions}")
        self.tally = reader.tally
        self.is_calm = reader.last is not None
        self.seconds = seconds or (3.0 if self.is_calm else random.uniform(0.5, 6.0))
        self.options = self._choose_options()
        self.starts = starts
        self.decodes = self.options["decode_responses"]
        self.n: Any = "n" if self.decodes else b"n"
        self.p: Any = "p" if self.decodes else b"p"
        self.payloads: list[Any] = [
            each.decode("utf-8", "surrogateescape") if self.decodes else each for each in PAYLOADS
        ]
        self.chains = reader.chains
        # Chains of which it is not known yet where "now" was, and what came last before.
        self.unknown: dict[str, str] = {}
        # When to follow a stream again that was refused, and dropped therefore.
        self.take_back_at: float | None = None
        self.interrupts = not self.is_calm and random.random() < 0.3
        # In turn, so that a short campaign has both; the end is read by the quicker one.
        is_asyncio = not self.is_calm and self.tally.sessions % 6 == 1
        self.shell: type[Any] = CancelledStreams if is_asyncio else self._blocking()
        self.is_iterating = False
        self.is_over = False

    def _blocking(self) -> type[Any]:
        # Two sources keep no order among each other while one of them is away.
        is_of_two = not self.is_calm and self.tally.sessions % 6 == 4
        return SeveralSources if is_of_two and type(self) is Session else Streams

    def _choose_options(self) -> dict[str, Any]:
        random, plan = self.random, self.reader.plan
        if random.random() < 0.15:
            where: dict[str, Any] = {"unix_socket_path": plan.unix_socket}
        else:
            port = plan.ports[random.random() < 0.8]
            where = {"host": plan.host, "port": port}
            if plan.authority is not None:
                where |= {"ssl": True, "ssl_ca_certs": plan.authority}
        options = {
            "count": random.choice([1, 10, 100, 100, 1000]),
            "block": random.choice([None, 0, 1, 20, 100, 1000]),
            "protocol": random.choice([2, 3]),
            "decode_responses": random.random() < 0.3,
            "fields": random.choice([dict, list]),
            "hold": random.choice([0, 0, 0, 5, 30]),
            "connections": random.choice([None, None, 2, 3]),
            "raise_connection_exceptions": random.random() < 0.5,
            "stop_on_timeout": random.random() < 0.5,
            "timeout_response": TIMEOUT,
            "socket_timeout": random.choice([0.3, 0.5, 1.0]),
            "client_name": random.choice([None, plan.name]),
            "username": plan.user,
            "password": Path(plan.password).read_text,
        }
        if self.is_calm:
            options |= {"block": 50, "count": 1000, "socket_timeout": 5.0}
        return where | options

    def run(self) -> None:
        """Make the `Streams`, read for some seconds, close it, and look whether all is well."""
        self.tally.sessions += 1
        self.tally.ways.update(self._ways())
        before = {
            stream: self.reader.last_on_server(stream)[1]
            for stream, start in self.starts.items()
            if start is None
        }
        streams = self._make()
        for stream, last in before.items():
            self._begin(stream, last)
        timer = Timer(self.seconds, self._close, [streams])
        timer.start()
        signal.signal(signal.SIGALRM, self._interrupt)
        try:
            self._read(streams)
            self.check_positions(streams)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            timer.cancel()
            streams.close()
            timer.join()
            if isinstance(streams, CancelledStreams):
                self.tally.ended["a wait cancelled, asyncio"] += streams.cancelled
        # Where now never was, nothing was followed.
        for stream in self.unknown:
            self.chains.pop(stream)

    def _close(self, streams: Streams) -> None:
        self.is_over = True
        streams.close()

    def _ways(self) -> list[str]:
        """In which ways it reads, of those that the guarantees must not depend on."""
        options = self.options
        connection = "unix socket" if "unix_socket_path" in options else "TCP"
        return [
            f"failures {'raised' if options['raise_connection_exceptions'] else 'returned'}",
            f"a server {'with' if self.reader.plan.knows_plus else 'without'} '+'",
            f"RESP{options['protocol']}",
            "TLS" if "ssl" in options else connection,
            "hold" if options["hold"] else "no hold",
            "several connections" if options["connections"] else "one connection",
            "asyncio" if self.shell is CancelledStreams else "blocking",
            "two sources" if self.shell is SeveralSources else "one source",
        ]

    def _make(self) -> Any:
        """Try until the constructor does not raise."""
        starts: dict[str, Any] = dict(self.starts)
        if not self.decodes:  # both are told in either form
            starts = {name: start and start.encode() for name, start in starts.items()}
        while True:
            try:
                return self.shell(streams=starts, **self.options)
            except RedisError as error:
                self.failed(error)

    def _begin(self, stream: str, last: str) -> None:
        self.tally.ways["a stream from now, " + ("empty" if last == "0-0" else "with entries")] += 1
        self.unknown[stream] = last
        self.chains[stream] = Chain(stream)

    def _read(self, streams: Streams) -> None:
        random = self.random
        began = monotonic()
        slow_at = began + random.uniform(0, 2) if random.random() < 0.1 else None
        add_at = began + random.uniform(0, 2) if random.random() < 0.3 else None
        by_for = random.random() < 0.5
        self._look_where_now_is(streams)
        self._arm()
        while not self.is_over:
            try:
                self._read_some(streams, by_for=by_for)
            except KeyboardInterrupt:
                self.tally.ended["a blocked next() interrupted"] += 1
                self._arm()
            except RedisError as error:
                self.failed(error)
                self._drop(streams, error)
            except Exception as error:  # noqa: BLE001  # a fault of the library, to be told
                self.tally.crashes += 1
                frames = traceback.extract_tb(error.__traceback__)[-8:]
                places = " < ".join(f"{each.name}:{each.lineno}" for each in reversed(frames))
                self.tally.note(f"{type(error).__name__} at {places}: {error}")
                sleep(0.1)
            self.is_iterating = False
            self._look_where_now_is(streams)
            self.check_positions(streams)
            self._take_back(streams)
            if self.options["block"] is None:
                sleep(0.005)
            if self.is_calm:
                self.is_over = self.is_over or self.reader.is_done()
            elif slow_at is not None and monotonic() > slow_at:
                slow_at = None
                self.tally.faults["reader: slower than the server's timeout"] += 1
                sleep(2.3)
            elif add_at is not None and monotonic() > add_at:
                add_at = None
                self._add(streams)

    def _read_some(self, streams: Streams, *, by_for: bool) -> None:
        """Read for a moment, or to the end of the iteration."""
        until, last = monotonic() + 0.2, self.tally.handed + self.random.randrange(1, 3000)
        self.is_iterating = True
        if by_for:
            for item in streams:
                self._take(item)
                if monotonic() > until or self.tally.handed > last or self.unknown:
                    return
            return
        while monotonic() < until and self.tally.handed <= last and not self.unknown:
            item = next(streams, TIMEOUT)
            self._take(item)
            if item is TIMEOUT:
                return
        # There is an unknown "now": one by one.
        if self.unknown:
            self._take(next(streams, TIMEOUT))

    def _take(self, item: Any) -> None:
        if type(item) is tuple:
            self.take_message(*item)
        elif isinstance(item, ConnectionError) and not self.options["raise_connection_exceptions"]:
            self.failed(item)
        elif item is not TIMEOUT:
            self.tally.spoilt += 1
            self.tally.note(f"{item!r} was delivered")

    def take_message(self, name: str, index: Any, data: Any) -> None:
        """Look whether it is the message that has to come next."""
        tally, chain = self.tally, self.chains[name]
        fields = dict(data)
        number = int(fields[self.n])
        tally.handed += 1
        if len(fields) != 2 or fields[self.p] != self.payloads[number % len(PAYLOADS)]:
            tally.spoilt += 1
            tally.note(f"{name} {index!r}: {data!r:.300}")
        if chain.first is None:
            chain.first = chain.next = number
        if number == chain.next:
            chain.next += 1
        else:
            self._take_other(chain, number, index)
        chain.position = index
        self.reader.heard = monotonic()

    def _take_other(self, chain: Chain, number: int, index: Any) -> None:
        if chain.stream == FRAGILE and number > chain.next:
            # Those between may have been deleted; how many were not is known in the end.
            chain.missing.update(range(chain.next, number))
            chain.next = number + 1
            return
        self.tally.note(f"{chain.stream} {index!r}: number {number}, expected {chain.next}")
        if number > chain.next:
            chain.missing.update(range(chain.next, number))
            chain.next = number + 1
        elif number in chain.missing:
            chain.missing.remove(number)
            self.tally.disordered += 1
        else:
            self.tally.repeated += 1

    def check_positions(self, streams: Streams) -> None:
        """Compare `positions` with what came: the next session resumes from there."""
        for stream, position in json.loads(json.dumps(_text(streams.positions))).items():
            chain = self.chains[stream]
            chain.position = _as_text(chain.position)
            if chain.position != position and stream not in self.unknown:
                self.tally.astray += 1
                self.tally.note(f"{stream}: position {position}, last was {chain.position}")

    def _look_where_now_is(self, streams: Streams) -> None:
        """Once "now" is known, compare it with what was there before and is there after."""
        if not self.unknown:
            return
        for stream, position in _text(streams.positions).items():
            if stream not in self.unknown or position is None:
                continue
            before, after = self.unknown.pop(stream), self.reader.last_on_server(stream)[1]
            chain = self.chains[stream]
            if chain.first is None:
                chain.after = chain.position = position
                if not number_of(before) <= number_of(position) <= number_of(after):
                    self.tally.astray += 1
                    self.tally.note(f"{stream}: now is {position}, between {before} and {after}")
            if stream not in self.reader.plan.streams:
                chain.first = 0
                _say({"open": stream})

    def _add(self, streams: Streams) -> None:
        """Follow one more stream, which does not exist yet, and drop another one."""
        others = self.reader.opened()
        if len(others) > 2 and others[0] not in self.unknown:
            streams.discard(others[0])
            self.reader.end(others[0])
        stream = self.reader.new_stream()
        try:
            streams.add({stream: None})
        except RedisError as error:
            self.failed(error)  # and the stream was not added
        else:
            self._begin(stream, "0-0")

    def _drop(self, streams: Streams, error: RedisError) -> None:
        """Go on without a stream that was refused, or wait until it is repaired."""
        if isinstance(error, ResponseError) and error.stream and self.random.random() < 0.5:
            streams.discard(error.stream)
            self.take_back_at = monotonic() + self.random.uniform(0.02, 0.5)

    def _take_back(self, streams: Streams) -> None:
        """Follow a stream again from where it was when it was dropped."""
        if self.take_back_at is None or monotonic() < self.take_back_at:
            return
        try:
            streams.add({FRAGILE: self.chains[FRAGILE].position})
        except RedisError as error:
            self.failed(error)
        else:
            self.take_back_at = None

    def failed(self, error: RedisError) -> None:
        """Count a failure, and do not try again at once."""
        self.tally.failures[_kind(error)] += 1
        is_refused = isinstance(error, ResponseError) and not isinstance(error, AuthenticationError)
        # None where it was repaired before the reader could find out which one it is.
        stream = getattr(error, "stream", None)
        if isinstance(stream, tuple):
            stream = stream[1]
        if is_refused and stream not in (FRAGILE, None):
            self.tally.crashes += 1
            self.tally.note(f"{error!r}, expected it of {FRAGILE}")
        sleep(0.01)

    def _arm(self) -> None:
        """Have a signal come in a while, if this session is one to be interrupted."""
        if self.interrupts:
            signal.setitimer(signal.ITIMER_REAL, self.random.uniform(0.05, 0.8))

    def _interrupt(self, _: int, frame: FrameType | None) -> None:
        """Interrupt the library; what is between it and this program, Python may lose."""
        at: FrameType | None = frame
        while at is not None and self.is_iterating:
            module = at.f_globals.get("__name__", "")
            if module == "logging":
                break  # it may hold a lock that it would not give back
            if module.startswith("pystreamredis."):
                raise KeyboardInterrupt
            at = at.f_back
        signal.setitimer(signal.ITIMER_REAL, 0.01)


class ArchiveSession(Session):
    """Reads streams that nobody writes to, from the beginning: they are totally ordered."""

    def __init__(self, reader: Reader) -> None:
        archive = reader.plan.archive
        super().__init__(reader, dict.fromkeys(archive, "0-0"))
        self.chains = {stream: Chain(stream, "0-0", position="0-0") for stream in archive}
        self.order = {stream: at for at, stream in enumerate(archive)}
        self.before = (0, 0)
        self.missing = ARCHIVE_SIZE * len(archive)
        if self.options["count"] == 1:
            self.options["count"] = 3

    def take_message(self, name: str, index: Any, data: Any) -> None:
        super().take_message(name, index, data)
        place = number_of(_as_text(index) or ""), self.order[name]
        if place <= self.before:
            self.tally.disordered_across += 1
            self.tally.note(f"{name} {index!r} after {self.before}")
        self.before = place
        self.missing -= 1
        if not self.missing:
            self.is_over = True

    def _add(self, _: Streams) -> None:
        """Follow nothing else."""

    def run(self) -> None:
        super().run()
        self.reader.ended += self.chains.values()


def _text(positions: dict[Any, Any]) -> dict[str, str | None]:
    return {name: _as_text(position) for name, position in positions.items()}


def _as_text(entry_id: Any) -> str | None:
    return entry_id.decode() if isinstance(entry_id, bytes) else entry_id


_KINDS = {
    "refused": "Connection refused",
    "no unix socket": "No such file",
    "reset": "Connection reset",
    "broken pipe": "Broken pipe",
    "closed within a reply": "closed the connection after",
    "closed": "closed the connection",
    "LOADING": "LOADING",
    "UNBLOCKED": "UNBLOCKED",
    "too many clients": "max number of clients",
    "login refused": "WRONGPASS",
    "a stream that holds something else": "WRONGTYPE",
    "no right to a stream": "NOPERM",
    "TLS": "SSL",
}


def _kind(error: RedisError) -> str:
    """What a failure was, by its text."""
    text = str(error)
    if isinstance(error, TimeoutError):
        return "silent"
    if isinstance(error, ProtocolError):
        return "not RESP"
    return next((kind for kind, words in _KINDS.items() if words in text), text[:200])


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _listen(then: Callable[[dict[str, int]], None]) -> None:
    line = sys.stdin.readline()
    if not line:  # nobody is there any more
        os._exit(3)
    then(json.loads(line)["last"])


def _count_warnings(tally: Tally) -> None:
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "messages may" not in record.getMessage():  # of connections
                return
            if repr(FRAGILE) in record.getMessage():
                tally.gaps += 1
                return
            tally.warnings += 1
            tally.note(record.getMessage())

    logging.getLogger("pystreamredis").addHandler(Handler())


def main() -> None:
    """Read as the first line says."""
    faulthandler.register(signal.SIGUSR1)
    reader = Reader(Plan(**json.loads(sys.stdin.readline())))
    _count_warnings(reader.tally)

    def finish(last: dict[str, int]) -> None:
        reader.heard = monotonic()
        reader.last = last

    Thread(target=partial(_listen, finish), daemon=True).start()
    reader.run()
    _say({"report": reader.report()})


if __name__ == "__main__":
    main()
