"""The campaign in short; `make soak` is the long one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections import Counter
from contextlib import closing
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.peer import RESET, Peer
from tests.proxy import Proxy
from tests.servers import wait_until
from tests.soak.__main__ import failures
from tests.soak.campaign import ReaderProcess, Report, Setup, run
from tests.soak.faults import RIGHTS, Faults, ProxyFaults, ServerFaults, plan
from tests.soak.reader import Plan, Reader, Session
from tests.soak.stopwatch import Figure
from tests.soak.tables import put_into, sections

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import Server

# In which readers have to read, for the rest to count.
WAYS = {
    "failures raised",
    "failures returned",
    "a server without '+'",
    "TLS",
    "TCP",
    "RESP2",
    "RESP3",
    "blocking",
    "asyncio",
    "two sources",
}


def test_nothing_is_lost_repeated_or_out_of_order_whatever_happens() -> None:
    """Contract 2.3, 2.4, 3, 5: over faults of every kind, on every kind of server."""
    report = run(Setup(seconds=15, seed="short", readers=2, rate=2000))
    assert report.is_good, str(report)
    # How much it was is the machine's affair.
    assert report.faults.total() > 0, str(report)
    assert report.handed > 0, str(report)


# The plan, without anything that it is done to.

FIRST, SECOND = "network: closed", "network: reset"


def _planned(seed: str, uses: Callable[[Random], object]) -> list[tuple[float, str, int]]:
    """The first of a plan, each with a choice of its own, and then used as it likes."""
    found = []
    for fault in islice(plan(seed, [FIRST, SECOND, "server: CLIENT KILL"], (0.1, 0.7)), 300):
        found.append((fault.after, fault.kind, fault.choices.getrandbits(64)))
        uses(fault.choices)
    return found


def test_the_same_seed_gives_the_same_faults_whatever_comes_of_them() -> None:
    """When, which, and what is left open of each; another seed gives others."""
    others = Random()
    planned = _planned("monday", lambda _: None)
    assert planned == _planned("monday", lambda it: it.sample(range(99), others.randrange(99)))
    assert planned != _planned("tuesday", lambda _: None)
    assert set(Counter(kind for _, kind, _ in planned).values()) == {100}
    assert all(0.1 <= after <= 0.7 for after, _, _ in planned)


class _Planned(Faults):
    """Notes what it would do, some of which fails or cannot be done."""

    def __init__(self, seed: str, fails: Random) -> None:
        self.choices: list[tuple[str, int]] = []
        self._fails = fails
        super().__init__(seed, (0.0, 0.0))

    def _faults(self) -> dict[str, Any]:
        return {kind: lambda kind=kind: self._make(kind) for kind in (FIRST, SECOND)}

    def _make(self, kind: str) -> bool:
        self.choices.append((kind, self._random.getrandbits(64)))
        if len(self.choices) == 50:
            self._ending.set()
        if self._fails.random() < 0.3:
            raise OSError("it cannot be made")
        return self._fails.random() < 0.5 and self._random.random() < 2

    def _heal(self) -> None:
        """There is nothing to heal."""


def test_a_fault_that_cannot_be_undone_is_told_and_no_other_made() -> None:
    class Lasting(_Planned):
        def _heal(self) -> None:
            raise OSError("address already in use")

    faults = Lasting("monday", Random(0))
    faults.run()
    assert len(faults.choices) == 1
    (text,) = faults.lasting
    assert text.endswith("could not be undone: OSError('address already in use')")


def test_a_reader_that_does_not_end_says_where_it_is(tmp_path: Path) -> None:
    """It tries a port where nobody answers, for ever."""
    password = tmp_path / "password"
    password.write_text("secret")
    with Peer([RESET]) as peer:
        ports, user = [peer.port] * 2, ("reader", str(password))
        plan = Plan("a", "0", peer.host, ports, "", *user, ["s"], [], None, True, False)
        with closing(ReaderProcess(plan, lambda _: None, tmp_path)) as reader:
            wait_until(lambda: peer.connections > 0)
            text = reader.report(monotonic())
    assert isinstance(text, str)
    assert "a does not come to an end" in text
    assert "in _make" in text


def test_faults_are_made_as_planned() -> None:
    runs = [_Planned("monday", Random(at)) for at in range(2)]
    for faults in runs:
        faults.run()
    assert len(runs[0].choices) == 50
    assert runs[0].choices == runs[1].choices
    assert runs[0].made != runs[1].made


def test_the_same_seed_gives_sessions_the_same_options_whatever_came_before() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("host", "unix_socket", "user", "password"), "")
    where: dict[str, Any] = {"ports": [1, 2], "streams": ["s"], "archive": [], "authority": None}
    chosen = []
    for used in range(2):
        reader = Reader(Plan("a", "monday", **nothing, **where, knows_plus=True, starts_now=False))
        reader.random = Random(used)
        reader.tally.sessions = 7
        chosen.append(Session(reader, {"s": "0-0"}))
        reader.tally.sessions = 8
        chosen.append(Session(reader, {"s": "0-0"}))
    told = [
        (session.seconds, session.interrupts, session.options | {"password": ""})
        for session in chosen
    ]
    assert told[:2] == told[2:]
    assert told[0] != told[1]


def test_sessions_come_in_every_way() -> None:
    """One after the other, so that a campaign that is long enough has all of them."""
    nothing: dict[str, Any] = dict.fromkeys(("host", "unix_socket", "user", "password"), "")
    where: dict[str, Any] = {"ports": [1, 2], "streams": ["s"], "archive": [], "starts_now": False}
    ways: set[str] = set()
    for knows_plus, authority in ((True, None), (False, "authority.pem")):
        more: dict[str, Any] = {"knows_plus": knows_plus, "authority": authority}
        reader = Reader(Plan("a", "monday", **nothing, **where, **more))
        for reader.tally.sessions in range(12):
            ways.update(Session(reader, {})._ways())
    assert ways >= WAYS


# What the campaign is to do: each of these is one of its kinds, on each server.
WANTED = """
network: refused
network: closed
network: closed within a reply
network: closed within a request
network: reset
network: reset within a reply
network: split into single bytes
network: delayed
network: stalled
network: silent, half-open
network: a byte of structure spoilt
network: nils too many
network: replies doubled
network: empty arrays too many
network: long replies cut each time
network: any byte spoilt, under TLS
server: kill -9 and restart, which loads
server: SIGSTOP and SIGCONT
server: CLIENT KILL
server: CLIENT UNBLOCK ERROR
server: CLIENT UNBLOCK TIMEOUT
server: CLIENT PAUSE
server: REPLICAOF and back
server: user deleted, back with another password
server: maxclients reached
stream: SET over it, then repaired
stream: deleted and created again
stream: right to read it taken and given back
"""


def test_the_campaign_makes_each_kind_of_fault() -> None:
    """The server's `timeout` against a slow caller comes besides, by readers that are slow."""
    plain, secure = (
        ProxyFaults(
            Proxy("127.0.0.1", 1, reads_replies=not is_secure), "", (0, 0), is_secure=is_secure
        )
        for is_secure in (False, True)
    )
    servers = ServerFaults(cast("Server", None), Path(), "", (0, 0))
    kinds = {*plain.kinds, *secure.kinds, *servers.kinds}
    assert kinds == set(WANTED.strip().splitlines())


def test_readers_log_in_with_no_more_rights_than_documented() -> None:
    """Contract 6.1: XREAD on the keys, and so that is enough for all that the campaign does."""
    page = Path(__file__).parent.parent / "docs" / "howto" / "tls-and-acl.rst"
    text = page.read_text("utf-8")
    (line,) = [line for line in text.splitlines() if "ACL SETUSER" in line]
    rules = shlex.split(line)[5:]
    assert rules[:3] == ["on", ">secret", "resetkeys"]
    assert [rule for rule in rules[3:] if rule[0] != "~"] == ["+xread"]
    assert [rule for rule in RIGHTS if rule[0] != "~"] == ["on", "+xread"]


def test_what_failed_is_named_in_short() -> None:
    good, late = Figure("a", "7 ms", "9 ms", True), Figure("b", "7 ms", "5 ms", False)
    busy = Figure("c", "7.00% of a core", "2%", False)
    assert failures(Report("a seed"), [good]) == []
    assert failures(Report("a seed", lost=3, notes=["x"]), [good, late, busy]) == [
        "3 lost",
        "1 notes above",
        "b: 7 ms, at most 5 ms (load on the machine may be why)",
        "c: 7.00% of a core, at most 2%",
    ]


def test_sigterm_leaves_no_server_behind() -> None:
    """Each has a folder while it runs, and the path of its socket there is to be short."""
    with TemporaryDirectory(dir="/tmp") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak", "--duration", "1"],
            cwd=Path(__file__).parent.parent,
            env=os.environ | {"TMPDIR": folder},
            stdout=subprocess.DEVNULL,
        )
        with process:
            try:
                wait_until(lambda: any(Path(folder).glob("*/socket")))
                process.terminate()
                assert process.wait(60) == 143
            finally:
                process.kill()
        assert list(Path(folder).iterdir()) == []


TEXT = """\
before

.. soak: {name}

old
.. soak: end

after
"""


@pytest.mark.parametrize("name", ["summary", "tables"])
def test_the_figures_go_into_the_documentation(name: str, tmp_path: Path) -> None:
    """Between the comments, in the place of those from before, as often as one likes."""
    report = Report("a seed", 5.0, written=1234567)
    report.faults["server: kill -9"] = 42
    report.ended["a wait cancelled"] = 4321
    texts = sections(report, [Figure("a wait", "7 ms", "9 ms", True)])
    path = tmp_path / "README.rst"
    path.write_text(TEXT.format(name=name), "utf-8")
    put_into(path, texts)
    written = path.read_text("utf-8")
    assert written.startswith(f"before\n\n.. soak: {name}\n\n")
    assert written.endswith("\n.. soak: end\n\nafter\n")
    assert "\nold\n" not in written
    assert all(text in written for text in ("1,234,567", "42", "4,321"))
    assert ("42 faults in 5 s" if name == "summary" else "kill -9") in written
    put_into(path, texts)
    assert path.read_text("utf-8") == written
    path.write_text("nothing", "utf-8")
    with pytest.raises(ValueError, match="no section"):
        put_into(path, texts)
