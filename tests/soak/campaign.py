"""The campaign as a whole: set it up, let it run, and compare with the truth."""

from __future__ import annotations

import json
import signal
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
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from tests.certificates import Authority
from tests.proxy import Proxy
from tests.servers import Server, binaries
from tests.soak.faults import RIGHTS, USER, Faults, ProxyFaults, ServerFaults
from tests.soak.messages import FRAGILE, ids_on, number_of, payload
from tests.soak.reader import ARCHIVE_SIZE, Plan
from tests.soak.stopwatch import Waiting
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
_END_WITHIN = 300.0


@dataclass
class Report:
    """What came of it: `lost` and those below it have to be 0."""

    seed: str
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    unmade: list[str] = field(default_factory=list)
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
    gaps: int = 0
    waits: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether the library has kept its promises."""
        return not (self.notes or any(getattr(self, name) for name in PROMISES))

    def __str__(self) -> str:
        lines = [f"seed {self.seed}, {self.seconds:.0f} s"]
        lines += _table("faults made", self.faults)
        lines += _table("waits of readers that were ended besides", self.ended)
        lines += _table("failures that readers were told", self.failures)
        lines += ["", f"{self.sessions:10,}  sessions of readers, among them:"]
        lines += [f"{count:10,}  {way}" for way, count in sorted(self.ways.items())]
        lines += ["", f"{self.written:10,}  messages written"]
        lines += [f"{self.handed:10,}  delivered"]
        lines += [f"{self.gaps:10,}  warnings of a stream that was deleted"]
        lines += [f"{getattr(self, name):10,}  {text}" for name, text in PROMISES.items()]
        if self.unmade:
            lines += ["", f"{len(self.unmade)} faults could not be made, as {self.unmade[0]}"]
        return "\n".join([*lines, "", *self.notes[:50]])


def _table(title: str, counts: Counter[str]) -> list[str]:
    lines = [f"{count:10,}  {kind}" for kind, count in sorted(counts.items())]
    return ["", f"{title}:", *lines, f"{counts.total():10,}  in all"]


PROMISES = {
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
                    return f"{self.plan.name} has ended:\n{self._told()}"
                if monotonic() > deadline:
                    self.process.send_signal(signal.SIGUSR1)  # it writes down where it is
                    for _ in range(200):
                        if "_run_module_as_main" in self._told():  # the last line of that
                            break
                        sleep(0.1)
                    return f"{self.plan.name} does not come to an end:\n{self._told()}"

    def _told(self) -> str:
        return self._errors.read_text()[-3000:]

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
        self,
        server: Server,
        authority: Authority,
        stack: ExitStack,
        folder: Path,
        setup: Setup,
    ) -> None:
        self.server = server
        self._seed = f"{setup.seed}-{server.kind}"
        self._password = folder / f"{server.kind}.password"
        self._authority = authority
        self._write_archive()
        self.writer = Writer(server, _STREAMS, setup.rate, self._random("writer"))
        self.server_faults = ServerFaults(
            server, self._password, f"{self._seed}-server", setup.pauses
        )
        self.faults: list[Faults] = [self.server_faults]
        self.readers = [self._reader(at, stack, folder, setup) for at in range(setup.readers)]
        self.ids: dict[str, dict[int, str]] = {}

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

    def _reader(self, at: int, stack: ExitStack, folder: Path, setup: Setup) -> ReaderProcess:
        """Start a reader with a proxy of its own. The last one of them reads over TLS."""
        server, is_secure = self.server, at == setup.readers - 1
        host, port = server.host, server.port
        if is_secure:
            context = self._authority.sign(f"{server.kind}", "IP:127.0.0.1").server_context()
            inner = stack.enter_context(Proxy(host, port, ssl_context=context))
            host, port = inner.host, inner.port
        proxy = stack.enter_context(Proxy(host, port, reads_replies=not is_secure))
        seed = f"{self._seed}-proxy {at}"
        self.faults.append(ProxyFaults(proxy, seed, setup.pauses, is_secure=is_secure))
        plan = Plan(
            name=f"{server.kind}-{at}",
            seed=f"{self._seed}-{at}",
            host=host,
            ports=[port, proxy.port],
            unix_socket=server.unix_socket,
            user=USER,
            password=str(self._password),
            streams=_STREAMS,
            archive=_ARCHIVE,
            authority=self._authority.certfile if is_secure else None,
            knows_plus=server.supports_last_id,
            starts_now=at % 2 == 1,
        )
        return stack.enter_context(closing(ReaderProcess(plan, self.writer.open, folder)))

    def waiting(self, stack: ExitStack, setup: Setup) -> Waiting:
        """Start a reader that does nothing but wait, through a proxy as broken as others."""
        proxy = stack.enter_context(Proxy(self.server.host, self.server.port))
        self.faults.append(ProxyFaults(proxy, f"{self._seed}-waiting", setup.pauses))
        return stack.enter_context(closing(Waiting(proxy.host, proxy.port, self._seed)))

    def start(self) -> None:
        self.writer.start()
        for faults in self.faults:
            faults.start()

    def finish(self) -> None:
        """End the faults, then the writing; find out what is there, and tell the readers."""
        for faults in self.faults:
            faults.finish()
        self.writer.finish()
        self.server_faults.write()
        for stream in [*self.writer.streams, *_ARCHIVE, FRAGILE]:
            self.ids[stream] = ids_on(self.server, stream)
        last = {stream: max(ids, default=-1) for stream, ids in self.ids.items()}
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
        times_waits: Whether to measure how long it takes to end a wait meanwhile.
    """

    seconds: float
    seed: str
    readers: int = 4
    rate: float = 3000.0
    pauses: tuple[float, float] = (0.1, 0.7)
    times_waits: bool = False


def run(setup: Setup) -> Report:
    """Run the campaign."""
    report = Report(setup.seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        authority = Authority(Path(stack.enter_context(TemporaryDirectory())))
        stages = []
        for kind, binary in binaries().items():
            server = Server(binary, *_CONFIG, "--aclfile", str(_accounts(folder, kind)), kind=kind)
            stack.enter_context(server)
            stages.append(Stage(server, authority, stack, folder, setup))
        waiting = stages[0].waiting(stack, setup) if setup.times_waits else None
        began = monotonic()
        for stage in stages:
            stage.start()
        Event().wait(setup.seconds)
        report.seconds = monotonic() - began
        if waiting is not None:
            report.waits = waiting.finish()
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


def _add_up(report: Report, stage: Stage, deadline: float) -> None:
    report.written += sum(len(ids) for stream, ids in stage.ids.items() if stream not in _ARCHIVE)
    for faults in stage.faults:
        report.faults += faults.made
        report.unmade += faults.notes
        report.notes += faults.lasting
    for reader in stage.readers:
        found = reader.report(deadline)
        if isinstance(found, str):
            report.notes.append(found)
            continue
        tally = found["tally"]
        report.faults += Counter(tally["faults"])
        report.ended += Counter(tally["ended"])
        report.failures += Counter(tally["failures"])
        report.ways += Counter(tally["ways"])
        report.notes += [f"{found['name']}: {note}" for note in tally["notes"]]
        for name in ("sessions", "handed", "gaps", *PROMISES):
            if name != "lost":
                setattr(report, name, getattr(report, name) + tally[name])
        for chain in found["chains"]:
            ids = stage.ids.get(chain["stream"], {})
            _compare_position(report, chain, ids)
            if chain["stream"] == FRAGILE:
                _compare_fragile(report, chain, ids)
            else:
                _compare(report, chain, list(ids.values()))


def _compare_position(report: Report, chain: dict[str, Any], ids: dict[int, str]) -> None:
    """Compare the ID of the last message that came with the one that is there."""
    last = chain["next"] - 1
    if chain["first"] is not None and ids.get(last, chain["position"]) != chain["position"]:
        report.astray += 1
        report.notes.append(f"{chain['stream']}: {last} is {ids[last]}, not {chain['position']}")


def _compare(report: Report, chain: dict[str, Any], ids: list[str]) -> None:
    """Compare what a reader got of a stream with what is there."""
    name, first, end = chain["stream"], chain["first"], chain["next"]
    lost = len(chain["missing"])
    if chain["after"] is not None:
        begin = bisect_right(ids, number_of(chain["after"]), key=number_of)
        if first is None:
            first = end = begin
        lost += max(0, first - begin)
        report.repeated += max(0, begin - first)
    if chain["is_followed"]:
        lost += len(ids) - end
    report.lost += lost
    if lost:
        report.notes.append(f"{name}: lost {lost} of {len(ids)} up to {end}, begun at {first}")


def _compare_fragile(report: Report, chain: dict[str, Any], ids: dict[int, str]) -> None:
    """Compare it with what is there since the stream was last deleted: all that has to come."""
    missing = [number for number in chain["missing"] if number in ids]
    missing += [
        number for number in ids if number >= chain["next"] or number < (chain["first"] or 0)
    ]
    report.lost += len(missing)
    if missing:
        report.notes.append(f"{chain['stream']}: lost {missing} of {list(ids)}")
