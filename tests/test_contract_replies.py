"""Contract 6.5: which request a reply answers, whatever replies come that nobody asked for."""

from __future__ import annotations

from random import Random
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ProtocolError, ResponseError, Streams
from tests.answers import (
    SURPLUS,
    Nodes,
    Store,
    collect,
    has_more_within_moments,
    ids,
    positions_of,
    slot_of,
)
from tests.peer import Peer
from tests.scripted import at, next_item
from tests.servers import LONG
from tests.simulation import number

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.answers import Collected, Request, Send
    from tests.peer import Conversation

COUNT = 10
FAST: dict[str, Any] = {
    "count": COUNT,
    "block": 20,
    "stop_on_timeout": True,
    "raise_connection_exceptions": False,
}
UNEQUAL = {"a": ids(35), "b": ids(12, 1007), "c": ids(3, 1030)}
# What looks like an entry of a later ID, within a value of the last entries.
DECEPTION = b"v\r\n*2\r\n$6\r\n1999-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv"
# The kinds that say that nothing is there.
NOTHING = ("nil", "null", "empty array", "empty map")
EACH = pytest.mark.parametrize("kind", SURPLUS)


class Surplus:
    """Sends one reply too many, at the n-th read.

    Args:
        kind: Which, a key of `SURPLUS`.
        at: The numbers of the reads.
        place: "before" and "after" the answer are in one segment with it; "early" comes as soon
            as the request has; "within" is after the answer too, the end of which waits for the
            next request for a moment.
    """

    def __init__(self, kind: str, place: str, *at: int) -> None:
        self.kind = kind
        self.at = at
        self.place = place
        self.sent = 0

    def __call__(
        self, conversation: Conversation, request: Request, answer: Callable[[], bytes]
    ) -> None:
        if request.number not in self.at:
            conversation.send(answer())
            return
        self.sent += 1
        surplus = SURPLUS[self.kind]
        if self.place == "early":
            conversation.send(answer() if surplus is None else surplus)
            conversation.send(answer())
            return
        data = answer()
        surplus = surplus or data
        if self.place == "within":
            conversation.send(data[:-3])
            has_more_within_moments(conversation)
            conversation.send(data[-3:] + surplus)
        else:
            conversation.send(surplus + data if self.place == "before" else data + surplus)


def is_in_order(messages: list[Any]) -> bool:
    """Return True if messages of all streams come in the order of their IDs."""
    numbers = [number(message[1]) for message in messages]
    return numbers == sorted(numbers)


def read_all(send: Send, streams: dict[str, Any], **options: Any) -> Collected:
    """Read what such a server has, and look that it comes exactly once and in order."""
    expected = {
        name: [entry if isinstance(entry, str) else entry[0] for entry in entries]
        for name, entries in streams.items()
    }
    with (
        Peer(Store(streams, send)) as peer,
        Streams(**at(peer), streams=dict.fromkeys(streams, 0), **FAST | options) as reader,
    ):
        # All that is there, and then nothing too much.
        found = collect(reader, sum(map(len, streams.values())))
        assert collect(reader).messages == []
        assert is_in_order(found.messages)
        assert found.ids == expected
        assert positions_of(reader) == {name: entries[-1] for name, entries in expected.items()}
    return found


# While history is read.


@EACH
@pytest.mark.parametrize("place", ["before", "after", "early", "within"])
def test_a_reply_too_many_loses_nothing_of_history(kind: str, place: str) -> None:
    """Contract 6.5: at each of the reads, that beyond the end included."""
    for place_of_read in range(1, 6):
        send = Surplus(kind, place, place_of_read)
        read_all(send, {"s": ids(40)})
        assert send.sent == 1, place_of_read


@EACH
@pytest.mark.parametrize("place", ["before", "after", "early", "within"])
def test_a_reply_too_many_loses_nothing_of_several_streams(kind: str, place: str) -> None:
    """Contract 6.5, 3.1: streams that end at different reads, some of which leave some out."""
    for place_of_read in range(1, 6):
        read_all(Surplus(kind, place, place_of_read), UNEQUAL)


@EACH
def test_replies_too_many_at_several_reads_lose_nothing(kind: str) -> None:
    """Contract 6.5: also right after the connection that the first of them has cost."""
    for place in ("before", "after", "within"):
        read_all(Surplus(kind, place, 2, 3, 4), {"s": ids(40), "t": ids(20)})


@EACH
@pytest.mark.parametrize("place", ["before", "after", "within"])
def test_a_reply_too_many_loses_nothing_where_values_look_like_entries(
    kind: str, place: str
) -> None:
    """Contract 6.5, 6.4: what ends other than it looks is where a speculative read is wrong."""
    streams = {
        name: [(entry_id, [b"f", DECEPTION if at % COUNT == 9 else b"v"]) for at, entry_id in held]
        for name, held in (("s", list(enumerate(ids(40)))), ("t", list(enumerate(ids(40)))))
    }
    for names in ("s", "st"):
        for place_of_read in range(1, 7):
            send = Surplus(kind, place, place_of_read)
            read_all(send, {name: streams[name] for name in names})


def test_values_that_look_like_entries_lose_nothing_by_themselves() -> None:
    """Contract 6.4: the same without a reply too many."""
    held = [(i, [b"f", DECEPTION if n % 2 else b"v"]) for n, i in enumerate(ids(40))]
    for place_of_read in range(1, 7):
        # Such an end of a reply is what the next read is predicted from.
        def send(
            conversation: Conversation,
            request: Request,
            answer: Callable[[], bytes],
            place_of_read: int = place_of_read,
        ) -> None:
            data = answer()
            if request.number == place_of_read and (end := data.rfind(DECEPTION)) > 0:
                conversation.send(data[: end + len(DECEPTION) + 2])
                has_more_within_moments(conversation)
                data = data[end + len(DECEPTION) + 2 :]
            conversation.send(data)

        assert read_all(send, {"s": held}).failures == []


@pytest.mark.parametrize("connections", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_a_fifth_of_the_replies_with_one_too_many_loses_nothing(
    seed: int, connections: int
) -> None:
    """Contract 6.5: of every kind, at any moment, over one connection or two."""
    random = Random(seed)
    places = ("before", "after", "early", "within")

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        if random.random() < 0.2:
            surplus = Surplus(random.choice(list(SURPLUS)), random.choice(places), request.number)
            surplus(conversation, request, answer)
        else:
            conversation.send(answer())

    read_all(send, {"a": ids(150), "b": ids(120, 1050), "c": ids(30)}, connections=connections)


@EACH
@pytest.mark.parametrize("place", ["before", "after", "within"])
def test_a_reply_too_many_loses_nothing_over_several_connections(kind: str, place: str) -> None:
    """Contract 6.5: each connection for itself."""
    for place_of_read in range(1, 8):
        read_all(Surplus(kind, place, place_of_read), UNEQUAL, connections=2)


@EACH
def test_a_reply_too_many_in_the_segment_of_an_answer_is_a_protocol_error(kind: str) -> None:
    """Contract 6.5: it had come before the next request was sent; it is no answer to that."""
    gone = Event()

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        data = answer()
        if request.number == 1:
            # A reply that is not full, so that no request is sent before the caller asks.
            conversation.send(data + (SURPLUS[kind] or data))
            gone.set()
        else:
            conversation.send(data)

    with (
        Peer(Store({"s": ids(3)}, send)) as peer,
        Streams(**at(peer), s=0, **FAST | {"block": 1000}) as streams,
    ):
        found = collect(streams, 3)
        assert gone.wait(LONG)
        assert found.failures == []
        assert isinstance(next_item(streams), ProtocolError)
        assert positions_of(streams) == {"s": "1003-0"}


@pytest.mark.parametrize("kind", [*SURPLUS, "entry ahead"])
def test_what_came_before_a_request_was_sent_is_never_its_answer(kind: str) -> None:
    """Contract 6.5: in a segment of its own, while the caller works on what it has got."""
    came = Event()

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        data = answer()
        conversation.send(data)
        if request.number == 1:
            ahead = (
                b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$6\r\n1009-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
            )
            conversation.send(ahead if kind == "entry ahead" else SURPLUS[kind] or data)
            came.set()

    store = Store({"s": ids(3)}, send)
    with Peer(store) as peer, Streams(**at(peer), s=0, **FAST) as streams:
        assert collect(streams, 3).ids == {"s": ids(3)}
        assert came.wait(LONG)
        for entry_id in ids(6, 1004):
            store.add("s", entry_id)
        found = collect(streams, 6)
        assert found.ids == {"s": ids(6, 1004)}
        assert any(isinstance(failure, ProtocolError) for failure in found.failures)


# While one waits for what is written.


@EACH
@pytest.mark.parametrize("place", ["before", "after", "early"])
@pytest.mark.parametrize("connections", [1, 2])
def test_a_reply_too_many_loses_nothing_that_is_written(
    kind: str, place: str, connections: int
) -> None:
    """Contract 6.5, 3.1: live reads, which are answered with nothing, or with one message."""
    for place_of_read in range(1, 7):
        store = Store({"s": [], "t": []}, Surplus(kind, place, place_of_read))
        with (
            Peer(store) as peer,
            Streams(**at(peer), s=0, t=0, **FAST, connections=connections) as streams,
        ):
            messages = []
            for entry_id in ids(7):
                name = "st"[int(entry_id[:4]) % 2]
                store.add(name, entry_id)
                messages += collect(streams, 1).messages
            assert collect(streams, quiet=3).messages == []
            assert [entry_id.decode() for _, entry_id, _ in messages] == ids(7)
            assert positions_of(streams) == {"s": "1006-0", "t": "1007-0"}


@EACH
@pytest.mark.parametrize("place", ["before", "after", "early"])
def test_a_reply_too_many_loses_nothing_after_a_reconnect(kind: str, place: str) -> None:
    """Contract 6.5, 2.4: what is asked at first on a new connection, looking back included."""
    for place_of_read in range(1, 5):
        send = Reconnecting(kind, place, place_of_read)
        store = Store({"s": ids(60), "t": ids(25, 1020)}, send)
        with Peer(store) as peer, Streams(**at(peer), s=0, t=0, **FAST) as streams:
            found = collect(streams, 85)
            assert found.ids == {"s": ids(60), "t": ids(25, 1020)}, place_of_read
            assert collect(streams).messages == []
            assert send.sent


class Reconnecting(Surplus):
    """Ends the first connection after three reads; the n-th read is that of a later one."""

    def __call__(
        self, conversation: Conversation, request: Request, answer: Callable[[], bytes]
    ) -> None:
        self._reads = self._reads + 1 if request.connection else 0
        if request.connection:
            super().__call__(conversation, request._replace(number=self._reads), answer)
            return
        conversation.send(answer())
        if request.number >= 3:
            conversation.close()

    _reads = 0


# Where streams start now, and at the login.


@EACH
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("knows_plus", [True, False])
def test_a_reply_too_many_changes_not_where_now_is(kind: str, place: str, knows_plus: bool) -> None:
    """Contract 6.5, 2.3: of the probes that find the last message, by "+" or by bisecting."""
    for place_of_read in (1, 2, 3, 5, 9):
        store = Store({"s": ids(5)}, Surplus(kind, place, place_of_read), knows_plus=knows_plus)
        with Peer(store) as peer:
            streams = connect(peer, s=None, **FAST)
            with streams:
                assert collect(streams, quiet=2).messages == []
                assert positions_of(streams) == {"s": "1005-0"}, place_of_read
                store.add("s", "1006-0")
                store.add("s", "1007-0")
                assert collect(streams, 2).ids == {"s": ["1006-0", "1007-0"]}


def connect(peer: Peer, **options: Any) -> Streams:
    """Make a reader; an error reply to a first question ends it: then make another."""
    for _ in range(2):
        try:
            return Streams(**at(peer), **options)
        except ResponseError:
            pass
    return Streams(**at(peer), **options)


@EACH
@pytest.mark.parametrize("when", ["connect", "login"])
@pytest.mark.parametrize("options", [{}, {"password": "p"}, {"protocol": 3}, {"db": 3}])
def test_a_reply_too_many_at_the_login_loses_nothing(
    kind: str, when: str, options: dict[str, Any]
) -> None:
    """Contract 6.5: before anything was asked, and with the answer to the login."""
    surplus = SURPLUS[kind] or b"+OK\r\n"

    def script(conversation: Conversation) -> None:
        if conversation.number < 2:
            if when == "connect":
                conversation.send(surplus)
            elif options:
                first = conversation.expect()
                answer = (
                    b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n" if first[0] == b"HELLO" else b"+OK\r\n"
                )
                conversation.send(answer + surplus)
        store(conversation)

    store = Store({"s": ids(40)})
    with Peer(script) as peer, connect(peer, s=0, **FAST, **options) as streams:
        assert collect(streams, 40).ids == {"s": ids(40)}
        assert collect(streams).messages == []


# A cluster.


def names_at(*homes: int) -> dict[str, int]:
    """Return streams of different slots, and the node of each."""
    names = [f"s{n}" for n in range(len(homes))]
    assert len({slot_of(name) for name in names}) == len(homes)
    return dict(zip(names, homes, strict=True))


@EACH
@pytest.mark.parametrize("place", ["before", "after", "early", "within"])
@pytest.mark.parametrize("connections", [1, 8])
def test_a_reply_too_many_loses_nothing_in_a_cluster(
    kind: str, place: str, connections: int
) -> None:
    """Contract 3.2, 6.5: streams that take turns on a connection, or have their own."""
    home = names_at(0, 0, 1, 1)
    streams = {name: ids(30 - 7 * n) for n, name in enumerate(home)}
    for place_of_read in (1, 4, 5, 6, 7, 8, 9, 10, 12):
        with (
            Nodes(streams, home, Surplus(kind, place, place_of_read)) as nodes,
            Streams(
                **nodes.options,
                streams=dict.fromkeys(home, 0),
                **FAST,
                connections=connections,
            ) as reader,
        ):
            found = collect(reader, sum(map(len, streams.values())))
            assert found.ids == streams, place_of_read
            assert collect(reader, quiet=2).messages == []
            # The first nil of a stream is believed where its slot is read in turn with others, and
            # a refusal holds back no other stream.
            is_believed = kind == "error" or (connections == 1 and kind in NOTHING)
            assert is_in_order(found.messages) or is_believed, place_of_read


@pytest.mark.parametrize("count", [1, 5, 100])
@pytest.mark.parametrize("read", [1, 2, 3])
def test_the_reply_to_another_slot_is_refused(count: int, read: int) -> None:
    """Contract 3.2, 6.5: slots share a connection, and a reply comes twice."""
    reads_of_a = 0

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        nonlocal reads_of_a
        reads_of_a += request.keys == ["s0"]
        is_doubled = request.keys == ["s0"] and reads_of_a == read
        conversation.send(answer() * (2 if is_doubled else 1))

    streams = {"s0": ids(20)[1::2], "s1": ids(20)[::2]}
    with (
        Nodes(streams, names_at(0, 0), send) as nodes,
        Streams(
            **nodes.options,
            streams=dict.fromkeys(streams, 0),
            **FAST | {"count": count},
            connections=1,
        ) as reader,
    ):
        found = collect(reader, 20)
        assert is_in_order(found.messages)
        assert found.ids == streams
        assert collect(reader, quiet=2).messages == []


@pytest.mark.parametrize("connections", [1, 8])
@pytest.mark.parametrize("amid", [1, 2, 3])
@pytest.mark.parametrize("is_cut", [True, False])
def test_a_slot_that_moves_amid_reads_loses_nothing(
    amid: int, connections: int, is_cut: bool
) -> None:
    """Contract 6.5, 3.1: while a read of another stream, and one that is ahead of it, are out.

    The reply to the `amid`-th read of `z` waits for the move of `y` to the node of `z`.
    """
    moved = Event()
    home = {"w": 1, "y": 1, "z": 0}
    reads = {"y": 0, "z": 0}
    underway = Event()

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        key = request.keys[0]
        if key in reads:
            reads[key] += 1
        if key == "z" and reads["z"] == amid:
            data = answer()
            head = data[:-3] if is_cut else b""
            conversation.send(head)
            has_more_within_moments(conversation)
            underway.set()
            if moved.wait(1):
                # Nothing shows when the reader has learnt of it.
                conversation.pause(0.2)
            conversation.send(data[len(head) :])
            return
        if key == "y" and reads["y"] == 2:
            underway.wait(1)
            home["y"] = 0
            for entry_id in later:
                nodes.store.add("y", entry_id)
            moved.set()
        conversation.send(answer())

    later = ids(5, 2100)
    streams: dict[str, list[str]] = {"w": [], "y": [], "z": ids(40, 2000)}
    with (
        Nodes(streams, home, send) as nodes,
        Streams(
            **nodes.options,
            streams=dict.fromkeys(home, 0),
            **FAST | {"block": 500},
            connections=connections,
        ) as reader,
    ):
        found = collect(reader, 45)
        assert found.ids == {"y": later, "z": ids(40, 2000)}
        assert collect(reader).messages == []


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("connections", [1, 2, 8])
def test_slots_that_move_at_any_time_lose_nothing(seed: int, connections: int) -> None:
    """Contract 3.1: to and fro, with replies that come in pieces."""
    random = Random(seed)
    home = names_at(0, 1, 0, 1, 1)

    def send(conversation: Conversation, request: Request, answer: Callable[[], bytes]) -> None:
        if random.random() < 0.15:
            name = random.choice(list(home))
            home[name] = 1 - home[name]
        data = answer()
        if random.random() < 0.2 and len(data) > 50:
            conversation.send(data[:-3])
            has_more_within_moments(conversation)
            data = data[-3:]
        conversation.send(data)

    streams = {name: ids(60 - 11 * n, 1000 + 3 * n) for n, name in enumerate(home)}
    with (
        Nodes(streams, home, send) as nodes,
        Streams(
            **nodes.options, streams=dict.fromkeys(home, 0), **FAST, connections=connections
        ) as reader,
    ):
        found = collect(reader, sum(map(len, streams.values())))
        assert found.ids == streams
