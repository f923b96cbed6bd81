"""The campaign as a whole: set it up, let it run, and compare with the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from bisect import bisect_right
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, Queue
from random import Random
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, thread_time
from typing import TYPE_CHECKING, Any

from pystreamredis import Streams
from tests.peer import closed_port
from tests.proxy import Proxy
from tests.servers import Server, binaries
from tests.soak.faults import RIGHTS, USER, Faults, ProxyFaults, ServerFaults
from tests.soak.messages import ids_on, number_of, payload
from tests.soak.reader import ARCHIVE_SIZE, Plan
from tests.soak.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).parent.parent.parent
_STREAMS = [f"base{i}" for i in range(4)]
_ARCHIVE = [f"archive{i}" for i in range(3)]
_CONFIG = [
    *("--appendonly", "yes", "--appendfsync", "always"),
    *("--auto-aof-rewrite-percentage", "0"),  # what it has to load grows, and so does LOADING
    *("--key-load-delay", "-50"),
    *("--timeout", "1"),
]
# How long the readers may take to come to the end after the last fault, in seconds.
_END_WITHIN = 120.0


@dataclass
class Report:
    """What came of it: `lost` and those below it have to be 0."""

    seed: str
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    written: int = 0
    handed: int = 0
    lost: int = 0
    repeated: int = 0
    disordered: int = 0
    disordered_across: int = 0
    spoilt: int = 0
    astray: int = 0
    crashes: int = 0
    warnings: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether the library has kept its promises."""
        return not (self.notes or any(getattr(self, name) for name in _PROMISES))

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.seconds:.0f} s", "", "faults made:"]
        lines += [f"{count:10,}  {kind}" for kind, count in sorted(self.faults.items())]
        lines += [f"{self.faults.total():10,}  in all", "", "failures that readers were told:"]
        lines += [f"{count:10,}  {kind}" for kind, count in self.failures.most_common()]
        lines += [f"{self.failures.total():10,}  in all", ""]
        lines += [f"{self.written:10,}  messages written"]
        lines += [f"{self.handed:10,}  handed over, in {self.sessions:,} sessions"]
        lines += [f"{getattr(self, name):10,}  {text}" for name, text in _PROMISES.items()]
        return "\n".join([*lines, "", *self.notes[:50]])


_PROMISES = {
    "lost": "lost",
    "repeated": "repeated",
    "disordered": "out of order within a stream",
    "disordered_across": "out of order across streams that nobody writes to",
    "spoilt": "other than written",
    "astray": "positions that were not the last message's, or a wrong now",
    "crashes": "exceptions that are none of the contract's",
    "warnings": "warnings of gaps, where there are none",
}


class ReaderProcess:
    """A reader, and what it says."""

    def __init__(self, plan: Plan, open_stream: Callable[[str], None], folder: Path) -> None:
        self.plan = plan
        self._open_stream = open_stream
        self._reports: Queue[dict[str, Any]] = Queue()
        self._errors = folder / f"{plan.name}.err"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.soak.reader"],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._tell(asdict(plan))
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _tell(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if "open" in message:
                self._open_stream(message["open"])
            else:
                self._reports.put(message["report"])

    def finish(self, last: dict[str, int]) -> None:
        """Tell it the last number of each stream."""
        if self.process.poll() is None:
            self._tell({"last": last})

    def report(self, deadline: float) -> dict[str, Any] | str:
        """What it has seen; or how it has ended without saying so."""
        while True:
            try:
                return self._reports.get(timeout=0.5)
            except Empty:
                if self.process.poll() is not None and self._reports.empty():
                    return f"{self.plan.name} has ended:\n{self._errors.read_text()[-3000:]}"
                if monotonic() > deadline:
                    return f"{self.plan.name} does not come to an end"

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                pass


class Stage:
    """A server with its writer, its readers and its faults."""

    def __init__(
        self, server: Server, seed: str, stack: ExitStack, folder: Path, setup: Setup
    ) -> None:
        self.server = server
        self._seed = f"{seed}-{server.kind}"
        self._password = folder / f"{server.kind}.password"
        self._write_archive()
        self.writer = Writer(server, _STREAMS, setup.rate, self._random("writer"))
        self.proxies = [
            stack.enter_context(Proxy(server.host, server.port)) for _ in range(setup.readers)
        ]
        self.readers = [
            stack.enter_context(closing(self._reader(at, proxy, folder)))
            for at, proxy in enumerate(self.proxies)
        ]
        self.faults: list[Faults] = [
            ProxyFaults(proxy, self._random(f"proxy {at}"), setup.pauses)
            for at, proxy in enumerate(self.proxies)
        ]
        self.faults.append(
            ServerFaults(server, self._password, self._random("server"), setup.pauses)
        )
        self.ids: dict[str, list[str]] = {}

    def _random(self, name: str) -> Random:
        return Random(f"{self._seed}-{name}")

    def _write_archive(self) -> None:
        """Write streams that are never written to again, with IDs that interleave."""
        random = self._random("archive")
        for stream in _ARCHIVE:
            ids = sorted(random.sample(range(20 * ARCHIVE_SIZE), ARCHIVE_SIZE))
            self.server.pipeline(
                ("XADD", stream, f"{9990 + at // 50}-{at % 50 + 1}", "n", n, "p", payload(n))
                for n, at in enumerate(ids)
            )

    def _reader(self, at: int, proxy: Proxy, folder: Path) -> ReaderProcess:
        plan = Plan(
            name=f"{self.server.kind}-{at}",
            seed=f"{self._seed}-{at}",
            host=proxy.host,
            ports=[self.server.port, proxy.port],
            unix_socket=self.server.unix_socket,
            user=USER,
            password=str(self._password),
            streams=_STREAMS,
            archive=_ARCHIVE,
            starts_now=at % 2 == 1,
        )
        return ReaderProcess(plan, self.writer.open, folder)

    def start(self) -> None:
        self.writer.start()
        for faults in self.faults:
            faults.start()

    def finish(self) -> None:
        """End the faults, then the writing; find out what is there, and tell the readers."""
        for faults in self.faults:
            faults.finish()
        self.writer.finish()
        for stream in [*self.writer.streams, *_ARCHIVE]:
            self.ids[stream] = ids_on(self.server, stream)
        last = {stream: len(ids) - 1 for stream, ids in self.ids.items()}
        for reader in self.readers:
            reader.finish(last)


@dataclass
class Setup:
    """How much of it.

    Attributes:
        seconds: How long there are faults.
        seed: What the faults and the readers' options follow from.
        readers: How many processes read from each server.
        rate: How many messages are written to each server in a second, at most.
        pauses: How long it is quiet between two faults to a proxy or a server.
    """

    seconds: float
    seed: str
    readers: int = 4
    rate: float = 3000.0
    pauses: tuple[float, float] = (0.1, 0.7)


def run(setup: Setup) -> Report:
    """Run the campaign."""
    report = Report(setup.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        stages = []
        for kind, binary in binaries().items():
            server = Server(binary, *_CONFIG, "--aclfile", str(_accounts(folder, kind)), kind=kind)
            stack.enter_context(server)
            stages.append(Stage(server, setup.seed, stack, folder, setup))
        began = monotonic()
        for stage in stages:
            stage.start()
        Event().wait(setup.seconds)
        report.seconds = monotonic() - began
        for stage in stages:
            stage.finish()
        deadline = monotonic() + _END_WITHIN
        for stage in stages:
            _add_up(report, stage, deadline)
    return report


def _accounts(folder: Path, kind: str) -> Path:
    """Write the server's accounts, and the password file of the readers."""
    (folder / f"{kind}.password").write_text("password-0")
    path = folder / f"{kind}.acl"
    reader = f"user {USER} >password-0 {' '.join(RIGHTS)}"
    path.write_text(f"user default on nopass ~* &* +@all\n{reader}\n")
    return path


def cpu_while_away(seconds: float) -> float:
    """Measure which part of a core a reader takes while it tries to connect, with block=1000."""
    options = {"block": 1000, "raise_connection_exceptions": False}
    with Streams("127.0.0.1", closed_port(), "s", **options) as streams:  # type: ignore[arg-type]
        next(streams)
        began, used = monotonic(), thread_time()
        while monotonic() - began < seconds:
            next(streams)
        return (thread_time() - used) / (monotonic() - began)


def _add_up(report: Report, stage: Stage, deadline: float) -> None:
    report.written += sum(len(ids) for stream, ids in stage.ids.items() if stream not in _ARCHIVE)
    for faults in stage.faults:
        report.faults += faults.made
    for reader in stage.readers:
        found = reader.report(deadline)
        if isinstance(found, str):
            report.notes.append(found)
            continue
        tally = found["tally"]
        report.faults += Counter(tally["faults"])
        report.failures += Counter(tally["failures"])
        report.notes += [f"{found['name']}: {note}" for note in tally["notes"]]
        for name in ("sessions", "handed", *_PROMISES):
            if name != "lost":
                setattr(report, name, getattr(report, name) + tally[name])
        for chain in found["chains"]:
            _compare(report, chain, stage.ids.get(chain["stream"], []))


def _compare(report: Report, chain: dict[str, Any], ids: list[str]) -> None:
    """Compare what a reader got of a stream with what is there."""
    name, first, end = chain["stream"], chain["first"], chain["next"]
    lost = chain["missing"]
    if chain["after"] is not None:
        begin = bisect_right(ids, number_of(chain["after"]), key=number_of)
        if first is None:
            first = end = begin
        lost += max(0, first - begin)
        report.repeated += max(0, begin - first)
    if first is not None and end > first and chain["position"] != ids[end - 1]:
        report.astray += 1
        report.notes.append(f"{name}: {end - 1} is {ids[end - 1]}, read as {chain['position']}")
    if chain["is_followed"]:
        lost += len(ids) - end
    report.lost += lost
    if lost:
        report.notes.append(f"{name}: lost {lost} of {len(ids)} up to {end}, begun at {first}")
