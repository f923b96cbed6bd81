# ruff: noqa: S101  # an invariant is an assert
"""The targets that need the simulated servers of the tests: those of the reader of streams."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from fuzz.targets import Shaper, pieces_of
from pystreamredis import RedisError
from pystreamredis.core.events import Failed, Log, Phase
from pystreamredis.protocol.ids import number_of
from tests import simulation
from tests.feeding import FedReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fuzz.targets import Target

PASSWORD = "hunter2"  # noqa: S105


def any_server_gives_messages_in_order_or_a_redis_error(data: bytes) -> None:
    """The first bytes say how it is read; the rest is all that comes in two connections."""
    shaper = Shaper(data)
    connection = {"protocol": 2 + shaper.number(2), "db": shaper.number(2)}
    count, hold = 1 + shaper.number(3), shaper.number(2)
    streams = {"a": 0, "b": None if shaper.number(2) else "5-0"}
    fed = FedReader(streams, connection, count=count, hold=hold, block=100, fields=list)
    last: dict[Any, int] = {}
    sizes = Shaper(data[:8] * (1 + len(data)))
    cut = shaper.number(2**24)
    wire = shaper.rest()
    cut %= len(wire) + 1
    _read(fed, pieces_of(wire[:cut], sizes), 0.0, last)
    # Over the second connection the reader checks what it has read over the first.
    fed.connect(1000.0)
    _read(fed, pieces_of(wire[cut:], sizes), 1000.0, last)


def _read(fed: FedReader, pieces: list[bytes], now: float, last: dict[Any, int]) -> None:
    """Read over one connection; `last` is the last ID of each stream, as a number."""
    for at, piece in enumerate([*pieces, b""]):
        sent = fed.feed(piece, now + at) if piece else b""
        if not piece and fed.is_open:
            fed.session.lose(now + at)
        assert len(sent) < 100_000
        for name, entry_id, _ in _take_all(fed, now + at):
            assert number_of(entry_id) > last.get(name, 0), "out of order"
            last[name] = number_of(entry_id)
        if not fed.is_open:
            return


def any_honest_server_is_read_to_its_end_in_order(data: bytes) -> None:
    """With any entries, in any pieces, wherever connections break."""
    shaper = Shaper(data)
    server = simulation.Server(takes_plus=bool(shaper.number(2)))
    names = [b"a", b"b", b"c"][: 1 + shaper.number(3)]
    expected = [
        (entry, order, name, items)
        for order, name in enumerate(names)
        for entry, items in _entries(shaper, server, name)
    ]
    chunks = [(3000, 300, 90, 50, 17, 1)[shaper.number(6)] for _ in range(8)]
    cuts = [shaper.number(3000) for _ in range(shaper.number(4))]
    protocol, count = 2 + shaper.number(2), 1 + shaper.number(5)
    read = simulation.Simulation(
        server,
        dict.fromkeys(names, 0),
        chunks=chunks,
        cuts=cuts,
        connection={"protocol": protocol},
        count=count,
        block=None,
        fields=list,
        raise_connection_exceptions=False,
    ).establish()
    found = [item for item in read.rest() if isinstance(item, tuple)]
    assert found == [
        (name, simulation.written(entry), items) for entry, _, name, items in sorted(expected)
    ]
    assert read.most_held <= 2 * count, f"{read.most_held} held of a stream, count is {count}"


def _entries(
    shaper: Shaper, server: simulation.Server, name: bytes
) -> Iterator[tuple[int, list[tuple[bytes, bytes]]]]:
    """Write entries to a stream, mostly with the same fields."""
    fields = [shaper.string() for _ in range(1 + shaper.number(3))]
    entry = 0
    for _ in range(shaper.number(25)):
        entry += (1, 2**64, 3 * 2**64 + 11)[shaper.number(3)]
        if shaper.number(8) == 7:
            fields = [shaper.string() for _ in range(1 + shaper.number(3))]
        items = [(field, shaper.string()) for field in fields]
        server.add(name, entry, *chain.from_iterable(items))
        yield entry, items


def no_reply_to_a_login_brings_the_password_into_an_error(data: bytes) -> None:
    """Each 0xFE that comes is the password: some peers repeat what they were sent."""
    shaper = Shaper(data)
    connection = {
        "username": "user" if shaper.number(2) else None,
        "password": PASSWORD,
        "protocol": 2 + shaper.number(2),
        "db": shaper.number(2),
    }
    session = FedReader({"a": 0}, connection).session
    for piece in [*pieces_of(shaper.rest().replace(b"\xfe", PASSWORD.encode()), shaper), b""]:
        if session.is_ready or session.phase is Phase.CLOSED:
            break
        if piece:
            session.receive(piece, 1.0)
            while session.process():
                pass
        else:
            session.lose(1.0)
    for event in session.events:
        text = event.text if isinstance(event, Log) else ""
        if isinstance(event, Failed):
            text = f"{event.error!r} {event.error.__cause__!r}"
        assert PASSWORD not in text, "the password is in an error"


def _take_all(fed: FedReader, now: float) -> Iterator[Any]:
    """Take all messages that are delivered, up to an error of the library."""
    try:
        if not fed.reader.is_establishing(now):
            fed.reader.begin_wait(now)
        yield from fed.take(now)
    except RedisError:
        return


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        any_server_gives_messages_in_order_or_a_redis_error,
        any_honest_server_is_read_to_its_end_in_order,
        no_reply_to_a_login_brings_the_password_into_an_error,
    )
}
