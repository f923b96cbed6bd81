"""`pystreamredis.core.session`: one connection, byte by byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.core.assignment import Assignment
from pystreamredis.core.events import DEBUG, INFO, WARNING, Failed, Log, Phase, Redirected
from pystreamredis.core.merge import next_batch, release
from pystreamredis.core.readahead import Request
from pystreamredis.core.session import Session
from pystreamredis.core.stream import StreamState
from pystreamredis.core.topology import Standalone, Upstream
from pystreamredis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ProtocolError,
    RedisError,
    ResponseError,
    TimeoutError,
)
from pystreamredis.options import ConnectionOptions
from pystreamredis.protocol import Unmade
from pystreamredis.protocol.ids import before
from tests.simulation import Bulk, Read, commands_in, encode, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystreamredis.core.events import Event

    Kind = TypeVar("Kind", bound=Event)

ADDRESS = "localhost:6379"
READ_OPTIONS = ("count", "hold", "on_rewind", "fields", "block", "max_bytes")


def stream(name: str, start: bytes | None = b"0-0") -> StreamState:
    return StreamState(name, name.encode(), start)


class Connected:
    """An assignment with an open session, driven by hand.

    Attributes:
        events: All events, in their order.
    """

    def __init__(
        self, names: Sequence[str] = ("a",), *, start: bytes | None = b"0-0", **options: Any
    ) -> None:
        read = {"count": 2} | {name: options.pop(name) for name in READ_OPTIONS if name in options}
        self.upstream = Upstream(None, ConnectionOptions(**options), reading(**read))
        self.assignment = Assignment(self.upstream, self.upstream.options, None)
        self.assignment.assign([stream(name, start) for name in names])
        self.events: list[Event] = []
        self.connect(0.0)

    def connect(self, now: float) -> None:
        """Begin a session."""
        self.session = Session(self.assignment, ADDRESS, now)
        self.assignment.session = self.session

    @property
    def streams(self) -> list[StreamState]:
        return self.assignment.streams

    def phase(self) -> Phase:
        return self.session.phase

    def ask(self, now: float = 0.0, block: int | None = None) -> None:
        self.session.ask(now, block, 1)

    def sent(self, now: float = 0.0) -> list[list[bytes]]:
        """Take out the commands to send."""
        if not self.session.outgoing:
            return []
        return commands_in(self.session.take_outgoing(now))

    def read_sent(self, now: float = 0.0) -> Read:
        """Take out the one XREAD that is to be sent."""
        (command,) = self.sent(now)
        return Read(command)

    def receive(self, data: bytes, now: float = 0.0) -> list[list[bytes]]:
        """Receive bytes; return the commands that were sent before they were read."""
        self.session.receive(data, now)
        sent = self.sent(now)
        while self.session.process():
            pass
        self._take_events()
        return sent

    def prepare(self, now: float) -> bool:
        return self.session.dialogue.prepare(now)

    def lose(self, now: float = 1.0, cause: Exception | None = None) -> None:
        self.session.lose(now, cause)
        self._take_events()

    def time_out(self, now: float) -> None:
        self.session.time_out(now)
        self._take_events()

    def take(self, kind: type[Kind]) -> list[Kind]:
        """Take out the events of a kind."""
        self._take_events()
        found: list[Kind] = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return found

    def failure(self) -> RedisError:
        """Take out the one failure."""
        (event,) = self.take(Failed)
        return event.error

    def logged(self, level: int) -> list[str]:
        """Take out the lines for the log of some level."""
        lines = self.take(Log)
        self.events += [line for line in lines if line.level != level]
        return [line.text for line in lines if line.level == level]

    def warnings(self) -> list[str]:
        """Take out the warnings."""
        return self.logged(WARNING)

    def deliver(self) -> list[tuple[Any, Any]]:
        """Take out the names and IDs of what can be delivered."""
        return [message[:2] for message in next_batch(release(self.streams)).messages]

    def _take_events(self) -> None:
        self.events += self.session.events
        self.session.events.clear()


def block(key: bytes, *ids: str, value: bytes = b"w") -> Any:
    """The entries of a stream."""
    return [key, [[entry_id.encode(), [b"f", b"v", b"g", value]] for entry_id in ids]]


def reply(*blocks: Any, resp: int = 2) -> bytes:
    return encode(Bulk(blocks) or None, resp)


class TestAsking:
    """The XREAD that is sent."""

    def test_it_names_every_stream_and_the_id_to_read_after(self) -> None:
        """Contract 6.1: with the defaults only XREAD is sent."""
        made = Connected(["a", "b"], start=b"5-1")
        assert made.sent() == []
        made.ask(block=1000)
        read = made.read_sent()
        assert read.positions == {b"a": b"5-1", b"b": b"5-1"}
        assert (read.count, read.block) == (2, 1000)
        assert made.sent() == []

    def test_a_stream_with_count_messages_pending_is_left_out(self) -> None:
        """Contract 3.4: at most `2 * count` messages per stream are held."""
        made = Connected(["a", "b"], hold=1)  # no read is sent ahead then
        made.ask()
        made.sent()
        made.receive(reply(block(b"a", "1-0", "2-0"), block(b"b", "8-0", "9-0")))
        assert made.deliver() == [("a", b"1-0"), ("a", b"2-0")]
        made.ask(block=1000)
        read = made.read_sent()
        assert read.positions == {b"a": b"2-0"}
        assert read.block is None

    def test_it_does_not_block_while_messages_are_held_back(self) -> None:
        """Contract 3.3: its very answer may release them."""
        made = Connected(["a", "b"])
        made.ask()
        made.receive(reply(block(b"a", "1-0", "2-0"), block(b"b", "9-0")))
        made.deliver()
        made.sent()
        made.ask(block=1000)
        read = made.read_sent()
        assert read.positions == {b"a": b"2-0", b"b": b"9-0"}
        assert read.block is None

    def test_it_blocks_once_nothing_is_held_back(self) -> None:
        """Contract 4.1."""
        made = Connected()
        made.ask()
        made.receive(reply(block(b"a", "1-0")))
        made.deliver()
        made.sent()
        made.ask(block=250)
        assert made.read_sent().block == 250

    def test_pending_messages_of_a_stream_that_was_away_count_again(self) -> None:
        made = Connected(["a", "b"])
        a, b = made.streams
        made.ask()
        made.receive(reply(block(b"b", "5-0", "6-0")))
        made.assignment.assign([a])
        assert made.session.streams.find_unsettled() == []
        made.assignment.assign([a, b])
        assert made.session.streams.find_unsettled() == [b]
        made.ask()
        made.sent()
        made.receive(reply(block(b"b", "5-0")))  # the check for gaps of the newcomer
        made.ask()
        assert made.read_sent().positions == {b"a": b"0-0"}

    def test_a_stream_without_a_start_is_not_read(self) -> None:
        """Contract 2.3: "now" is pinned first."""
        made = Connected(["a"])
        made.assignment.assign([*made.streams, stream("b", None)])
        made.ask()
        assert made.read_sent().positions == {b"b": b"+"}

    @pytest.mark.parametrize("seconds", [0.0, 0.3])
    def test_a_read_is_due_when_it_has_blocked(self, seconds: float) -> None:
        """Contract 5.5."""
        made = Connected(socket_timeout=5)
        made.ask(100.0, round(seconds * 1000) or None)
        made.sent(100.0)
        assert made.session.wake_at == 105.0 + seconds
        assert made.session.may_block is bool(seconds)

    def test_no_read_is_sent_before_a_pause_is_over(self) -> None:
        made = Connected()
        made.session.rest_until(5.0)
        made.session.rest_until(3.0)
        assert made.session.wake_at == 5.0
        assert made.prepare(4.9)
        assert not made.prepare(5.0)
        assert made.session.wake_at is None


class TestReplies:
    """The meaning of a reply."""

    @settings(deadline=None)
    @given(st.sampled_from([2, 3]), st.sampled_from([2, 3]), st.data())
    def test_replies_of_both_protocols_are_read_whichever_was_asked_for(
        self, resp: int, protocol: int, data: st.DataObject
    ) -> None:
        """Contract 6.3; in pieces of any size."""
        made = Connected(["a", "b"], count=5, protocol=protocol)
        if protocol == 3:
            made.receive(encode(Bulk([[b"proto", b"3"]]), 3))
        made.ask()
        raw = reply(block(b"a", "1-0", "3-0"), block(b"b", "2-0"), resp=resp)
        while raw:
            size = data.draw(st.integers(1, len(raw)))
            made.receive(raw[:size])
            raw = raw[size:]
        assert made.take(Failed) == []
        assert made.deliver() == [("a", b"1-0"), ("b", b"2-0"), ("a", b"3-0")]

    @pytest.mark.parametrize("nil", [b"*-1\r\n", b"_\r\n", b"*0\r\n", b"%0\r\n", b"$-1\r\n"])
    def test_nil_completes_a_read(self, nil: bytes) -> None:
        """Contract 6.3, 4.2: in every form."""
        made = Connected()
        made.ask(7.0)
        made.sent(7.0)
        made.receive(nil, 7.5)
        (completed,) = made.take(Request)
        assert completed.due == 7.0
        assert completed.streams == made.streams
        assert made.take(Failed) == []
        assert made.streams[0].caught_up
        assert made.phase() is Phase.IDLE

    def test_pushes_and_attributes_are_skipped_wherever_they_come(self) -> None:
        """Contract 6.3."""
        noise = b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n|1\r\n+ttl\r\n:5\r\n"
        made = Connected(protocol=3)
        made.receive(noise + encode(Bulk([[b"proto", b"3"]]), 3) + noise[: noise.index(b"|")])
        assert made.phase() is Phase.IDLE
        made.ask()
        made.receive(noise + reply(block(b"a", "1-0"), resp=3))
        assert made.take(Failed) == []
        assert made.deliver() == [("a", b"1-0")]

    @pytest.mark.parametrize("flood", [b">1\r\n+a\r\n>1\r\n", b"|1\r\n+k\r\n+v\r\n|1\r\n+k"])
    def test_a_flood_of_pushes_or_attributes_is_silence(self, flood: bytes) -> None:
        """Contract 5.5: even without a pause in which to notice it."""
        made = Connected(socket_timeout=5.0)
        made.ask(block=1000)
        made.sent()
        made.receive(flood, 5.9)
        assert made.take(Failed) == []
        made.receive(b"+b\r\n", 6.1)
        assert isinstance(made.failure(), TimeoutError)
        assert made.phase() is Phase.CLOSED

    def test_a_late_reply_is_taken(self) -> None:
        """Contract 5.5: after the machine has slept, say, it is there all at once."""
        made = Connected(socket_timeout=5.0)
        made.ask(block=1000)
        made.sent()
        made.receive(reply(block(b"a", "1-0")), 600.0)
        assert made.take(Failed) == []
        assert made.deliver() == [("a", b"1-0")]

    def test_a_push_between_two_reads_is_no_answer(self) -> None:
        """Contract 6.3."""
        made = Connected()
        made.receive(b">1\r\n+hello\r\n")
        assert made.events == []
        assert made.phase() is Phase.IDLE

    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            (b"+OK\r\n", "OK"),
            (b"*-1\r\n", "nil"),
            (b"-ERR idle for too long\r\n", "idle for too long"),
        ],
    )
    def test_a_reply_that_nobody_asked_for_is_a_failure(self, raw: bytes, shown: str) -> None:
        """Contract 6.5: or every later reply would be taken for another one."""
        made = Connected()
        made.receive(raw)
        failure = made.failure()
        assert isinstance(failure, ProtocolError)
        assert str(failure).startswith(f"{ADDRESS} sent a reply that nobody asked for: ")
        assert shown in str(failure)
        assert made.phase() is Phase.CLOSED

    def test_bytes_from_before_a_read_are_not_its_answer(self) -> None:
        """Contract 6.5: a reply that was too many, of which only a part had come."""
        made = Connected()
        made.receive(b"*-1\r")
        made.ask()
        made.sent()
        made.receive(b"\n")
        assert "nobody asked for" in str(made.failure())
        assert made.take(Request) == []
        assert made.streams[0].last_id == b"0-0"

    def test_bytes_from_before_an_exchange_are_not_its_reply(self) -> None:
        """Contract 6.5."""
        made = Connected(start=b"5-1")
        made.receive(b"*-1\r")
        assert made.prepare(100.0)
        made.sent(100.0)
        made.receive(b"\n", 100.0)
        assert "nobody asked for" in str(made.failure())

    def test_two_replies_to_one_read_are_a_failure_and_lose_nothing(self) -> None:
        """Contract 6.5, 5.4."""
        made = Connected()
        made.ask()
        made.sent()
        made.receive(reply(block(b"a", "1-0")) * 2)
        assert isinstance(made.failure(), ProtocolError)
        assert made.deliver() == [("a", b"1-0")]
        assert made.streams[0].last_id == b"1-0"

    def test_a_stream_that_was_not_asked_for_is_a_failure(self) -> None:
        """Contract 5.1, 7."""
        made = Connected()
        made.ask()
        made.receive(reply(block(b"z", "1-0")))
        assert isinstance(made.failure(), ProtocolError)

    def test_a_stream_that_a_read_left_out_may_hold_more_than_is_known(self) -> None:
        """Contract 3.2: though it was caught up before, 52-0 may be there by now."""
        made = Connected(["a", "b"], hold=1)  # so that no read is speculative
        delivered = []
        for blocks in (
            (block(b"a", "50-0"), block(b"b", "1-0", "2-0")),
            (block(b"a", "51-0"), block(b"b", "3-0", "4-0")),
            (block(b"b", "60-0"),),
        ):
            made.ask()
            made.sent()
            made.receive(reply(*blocks))
            delivered.append([entry_id for _, entry_id in made.deliver()])
        assert delivered == [[b"1-0", b"2-0"], [b"3-0", b"4-0"], [b"50-0", b"51-0"]]

    def test_a_stream_from_another_connection_is_not_known_up_to_this_reply(self) -> None:
        """Contract 3.2: it was caught up there, but at an earlier moment."""
        made = Connected(["a"])
        made.ask()
        made.sent()
        moved = stream("b")
        moved.caught_up = True
        made.assignment.assign([*made.streams, moved])
        made.receive(reply(block(b"a", "5-0")))
        assert not moved.caught_up
        assert made.deliver() == []

    def test_a_stream_that_was_dropped_meanwhile_is_passed_over(self) -> None:
        """Contract 2.5: the reply to the read before still has it."""
        made = Connected(["a", "b"])
        a, b = made.streams
        made.ask()
        made.assignment.assign([b])
        made.receive(reply(block(b"a", "1-0"), block(b"b", "2-0")))
        assert made.take(Failed) == []
        assert made.deliver() == [("b", b"2-0")]
        assert (a.pending, a.last_id) == ([], b"0-0")

    def test_a_stream_that_has_left_and_come_back_is_read_from_its_own_id(self) -> None:
        """Contract 2.5, 3.1: the reply is to another one of that name."""
        made = Connected(["a", "b"])
        _, b = made.streams
        made.ask()
        made.sent()
        made.assignment.assign([stream("a", b"7-0"), b])
        made.receive(reply(block(b"a", "1-0"), block(b"b", "2-0")))
        assert made.take(Failed) == []
        assert made.streams[0].last_id == b"7-0"
        assert not made.streams[0].caught_up
        assert made.deliver() == [("b", b"2-0")]

    @pytest.mark.parametrize(
        ("ids", "text"),
        [
            (["5-0"], "entry b'5-0' of stream 'a', expected one after b'5-0'"),
            (["4-9", "6-0"], "entry b'4-9' of stream 'a', expected one after b'5-0'"),
            (["6-0", "5-0"], "b'5-0' of stream 'a' after b'6-0', expected"),
            (["7-0", "7-0"], "b'7-0' of stream 'a' after b'7-0', expected"),
        ],
    )
    def test_nothing_of_a_reply_out_of_order_is_applied(self, ids: list[str], text: str) -> None:
        """Contract 3.1: messages of one stream come in ID order, each exactly once."""
        made = Connected(["b", "a"], start=b"5-0")
        made.ask()
        made.receive(reply(block(b"b", "8-0"), block(b"a", *ids)))
        failure = made.failure()
        assert isinstance(failure, ProtocolError)
        assert text in str(failure)
        assert [(s.pending, s.last_id) for s in made.streams] == [([], b"5-0")] * 2

    def test_entries_before_a_start_time_are_removed(self) -> None:
        """Contract 2.2: Redis before 5.0.8 reads from the start of the ms before it."""
        made = Connected(start=before(8), count=3)
        made.ask()
        made.receive(reply(block(b"a", "7-1", "7-2", "8-0")))
        assert made.take(Failed) == []
        assert made.deliver() == [("a", b"8-0")]

    def test_where_all_entries_are_before_a_start_time_the_search_goes_on(self) -> None:
        """Contract 2.2."""
        made = Connected(start=before(8))
        made.ask()
        made.receive(reply(block(b"a", "7-1", "7-2")))
        assert made.deliver() == []
        assert made.take(Failed) == []
        assert not made.streams[0].caught_up
        made.receive(reply())  # to a speculative read, which was after 7-2
        assert made.session.expects_more
        made.ask()
        assert made.read_sent().ids == [b"7-18446744073709551614"]

    def test_text_is_decoded_and_the_wire_has_bytes(self) -> None:
        """Contract 1.3: with `decode_responses=True` both are text."""
        made = Connected(decode_responses=True)
        made.ask()
        made.receive(reply(block(b"a", "1-0")))
        batch = next_batch(release(made.streams))
        assert batch.messages == [("a", "1-0", {"f": "v", "g": "w"})]
        made.ask()
        assert made.read_sent().positions == {b"a": b"1-0"}

    def test_entries_of_which_no_message_could_be_made_are_reported(self) -> None:
        """Contract 3.5."""
        made = Connected(fields=lambda pairs: 1 / 0)
        made.ask()
        made.receive(reply(block(b"a", "1-0")))
        made.sent()
        assert len(made.take(Unmade)) == 1
        made.ask()
        made.receive(reply())
        assert made.take(Unmade) == []

    def test_the_first_answer_is_reported_once(self) -> None:
        made = Connected()
        assert made.logged(INFO) == []
        for answers in (1, 0):
            made.ask()
            made.receive(reply())
            made.sent()
            assert len(made.logged(INFO)) == answers
        assert made.assignment.history.is_understood

    def test_an_early_answer_with_nothing_is_followed_by_a_pause(self) -> None:
        """Contract 6.6: at most some tens a second."""
        made = Connected()
        made.ask(10.0, 1000)
        made.sent(10.0)
        made.receive(reply(), 10.2)
        assert made.session.poll_not_before == 10.25
        assert made.prepare(10.24)
        assert not made.prepare(10.25)

    def test_the_pause_ends_when_the_read_would_have(self) -> None:
        """Contract 6.6."""
        made = Connected()
        made.ask(10.0, 1000)
        made.receive(reply(), 10.98)
        assert made.session.poll_not_before == 11.0

    @pytest.mark.parametrize(
        ("blocks", "wait", "now"),
        [((block(b"a", "1-0"),), 1000, 10.2), ((), None, 10.0), ((), 1000, 11.0)],
        ids=["entries", "no block", "in time"],
    )
    def test_other_answers_are_followed_by_no_pause(
        self, blocks: Any, wait: int | None, now: float
    ) -> None:
        made = Connected()
        made.ask(10.0, wait)
        made.receive(reply(*blocks), now)
        assert made.session.poll_not_before == 0.0


class BySlot(Standalone):
    """A topology in which each stream has to be read by itself."""

    def group(self, streams: list[StreamState]) -> list[list[StreamState]]:
        return [[each] for each in streams]


class TestRounds:
    """Reads by hash slot, which are sent together."""

    def start(self, **options: Any) -> Connected:
        made = Connected(["a", "b", "c"], **options)
        made.upstream.topology = BySlot(made.upstream)
        made.assignment.key = None, ""
        return made

    def test_each_group_is_read_by_itself_without_a_block(self) -> None:
        made = self.start()
        made.ask(0.0, 1000)
        reads = [Read(command) for command in made.sent()]
        assert [(read.keys, read.block) for read in reads] == [
            ([b"a"], None),
            ([b"b"], None),
            ([b"c"], None),
        ]

    def test_it_is_completed_once_and_all_parts_are_known(self) -> None:
        """Contract 3.2, 3.3: no message waits for a stream that has nothing more."""
        made = self.start()
        made.ask()
        made.receive(reply() + reply(block(b"b", "9-0")))
        assert not made.take(Request)
        made.receive(reply())
        (completed,) = made.take(Request)
        assert completed.streams == made.streams
        assert [each.caught_up for each in made.streams] == [True] * 3
        assert made.deliver() == [("b", b"9-0")]

    def test_a_pause_follows_where_nothing_more_is_there(self) -> None:
        """So that a node is not kept busy by reads that do not block."""
        made = self.start()
        made.ask()
        made.receive(reply() * 3, 5.0)
        assert made.session.poll_not_before > 5.0
        made = self.start(block=None)
        made.ask()
        made.receive(reply() * 3, 5.0)
        assert made.session.poll_not_before == 0.0

    def test_no_pause_follows_a_full_reply(self) -> None:
        made = self.start()
        made.ask()
        made.receive(reply() + reply(block(b"b", "8-0", "9-0")) + reply(), 5.0)
        assert made.session.poll_not_before == 0.0
        assert [each.caught_up for each in made.streams] == [True, False, True]

    def test_a_stream_left_out_of_a_round_holds_back_others(self) -> None:
        """Contract 3.2."""
        made = self.start()
        made.ask()
        made.receive(reply(block(b"a", "1-0", "2-0")) + reply() + reply(block(b"c", "8-0", "9-0")))
        made.streams[2].caught_up = True
        assert made.deliver() == [("a", b"1-0"), ("a", b"2-0")]
        made.ask()
        assert [Read(command).keys for command in made.sent()[-2:]] == [[b"a"], [b"b"]]
        assert not made.streams[2].caught_up

    def test_redirected_parts_are_left_out_of_what_is_completed(self) -> None:
        made = self.start()
        made.ask()
        made.receive(b"-MOVED 1 other:1\r\n" + reply() + b"-ASK 2 other:1\r\n")
        (completed,) = made.take(Request)
        assert completed.streams == made.streams[1:2]
        assert completed.put_off == 1
        assert [event.streams for event in made.take(Redirected)] == [
            made.streams[:1],
            made.streams[2:],
        ]


def forge(entry_id: str) -> bytes:
    """A value that looks like an entry."""
    return b"\r\n" + encode([entry_id.encode(), [b"f", b"v", b"g", b"w"]], 2)[:-2]


class TestSpeculativeReads:
    """Replies that seem to be full: the next XREAD leaves before they are read."""

    FULL = reply(block(b"a", "3-0", "4-0"))

    def start(self, **options: Any) -> Connected:
        """Send a read that does not have to find all there is."""
        made = Connected(start=b"2-0", **options)
        made.ask(1.0, 1000)
        assert made.read_sent(1.0).ids == [b"2-0"]
        return made

    def test_a_right_prediction_is_the_next_read(self) -> None:
        """Contract 6.4: it is not sent again, and does not block."""
        made = self.start()
        (command,) = made.receive(self.FULL, 2.0)
        assert Read(command).positions == {b"a": b"4-0"}
        assert Read(command).block is None
        assert made.deliver() == [("a", b"3-0"), ("a", b"4-0")]
        assert made.phase() is Phase.READING
        assert not made.session.expects_more
        made.take(Request)
        made.receive(reply(), 4.0)
        (completed,) = made.take(Request)
        assert completed.due == 2.0
        assert made.take(Failed) == []
        assert made.phase() is Phase.IDLE

    def test_with_hold_no_read_is_speculative(self) -> None:
        made = self.start(hold=10)
        assert made.receive(self.FULL, 2.0) == []

    def test_there_is_never_more_than_one(self) -> None:
        made = self.start()
        made.session.receive(self.FULL, 2.0)
        assert made.sent(2.0) != []
        made.session.receive(self.FULL, 2.0)
        assert made.sent(2.0) == []

    def test_newcomers_are_prepared_after_its_answer(self) -> None:
        """Contract 2.5: else that answer would be taken for one about them."""
        made = self.start()
        (guess,) = made.receive(self.FULL, 2.0)
        assert Read(guess).positions == {b"a": b"4-0"}
        made.assignment.assign([*made.streams, stream("b", None)])
        assert made.prepare(2.0)
        assert not made.session.is_ready
        assert made.sent(2.0) == []
        assert made.session.wake_at == 7.0
        made.receive(reply(block(b"a", "5-0")), 3.0)
        assert made.prepare(3.0)
        assert made.read_sent(3.0).positions == {b"b": b"+"}
        assert made.take(Failed) == []

    def test_however_the_replies_are_cut_nothing_is_lost(self) -> None:
        """Contract 3.1, 5.1."""
        for cut in range(1, len(self.FULL)):
            made = self.start()
            answer = b""
            if made.receive(self.FULL[:cut], 2.0):
                answer = reply()
            made.receive(self.FULL[cut:] + answer, 3.0)
            assert made.take(Failed) == [], cut
            assert made.deliver() == [("a", b"3-0"), ("a", b"4-0")]

    def test_it_leaves_out_streams_with_more_than_count_held_back(self) -> None:
        """Contract 3.4."""
        made = Connected(["a", "b"])
        made.ask()
        made.sent()
        (command,) = made.receive(reply(block(b"a", "1-0", "2-0"), block(b"b", "90-0", "91-0")))
        assert Read(command).positions == {b"a": b"2-0", b"b": b"91-0"}
        assert made.deliver() == [("a", b"1-0"), ("a", b"2-0")]

        full = reply(block(b"a", "5-0", "6-0"), block(b"b", "92-0", "93-0"))
        (command,) = made.receive(full)
        assert Read(command).positions == {b"a": b"6-0"}
        assert made.deliver() == [("a", b"5-0"), ("a", b"6-0")]
        assert len(made.streams[1].pending) == 4

        (command,) = made.receive(reply(block(b"a", "7-0", "8-0")))
        assert Read(command).positions == {b"a": b"8-0"}
        assert made.deliver() == [("a", b"7-0"), ("a", b"8-0")]

        (command,) = made.receive(reply(block(b"a", "98-0", "99-0")))
        assert Read(command).positions == {b"a": b"99-0", b"b": b"93-0"}
        assert made.deliver() == [("b", b"%d-0" % ms) for ms in range(90, 94)]

    def test_it_counts_messages_of_streams_that_the_read_before_left_out(self) -> None:
        """Contract 3.2, 3.4."""
        made = Connected(["a", "b", "c"])
        made.ask()
        made.sent()
        first = block(b"a", "2-0", "95-0"), block(b"b", "90-0", "91-0"), block(b"c", "1-0", "3-0")
        made.receive(reply(*first))
        assert [entry_id for _, entry_id in made.deliver()] == [b"1-0", b"2-0", b"3-0"]
        second = (
            block(b"a", "96-0", "97-0"),
            block(b"b", "92-0", "93-0"),
            block(b"c", "98-0", "99-0"),
        )
        (command,) = made.receive(reply(*second))
        assert Read(command).positions == {b"b": b"93-0", b"c": b"99-0"}
        made.deliver()
        third = block(b"b", "94-0", "95-5"), block(b"c", "100-0", "101-0")
        (command,) = made.receive(reply(*third))
        assert Read(command).positions == {b"a": b"97-0", b"b": b"95-5"}

    def test_replies_that_come_at_once_are_read_one_by_one(self) -> None:
        """Contract 3.4: messages are released between them."""
        made = Connected()
        made.ask()
        made.sent()
        session = made.session
        for ids in (("1-0", "2-0"), ("3-0", "4-0")):
            assert session.receive(reply(block(b"a", *ids)), 0.0)
            made.sent()
        assert session.process()
        assert made.deliver() == [("a", b"1-0"), ("a", b"2-0")]
        assert len(made.take(Request)) == 1
        assert session.receive(b"", 0.0)
        assert not session.process()
        assert made.deliver() == [("a", b"3-0"), ("a", b"4-0")]

    def test_a_discarded_stream_is_passed_over_in_its_reply(self) -> None:
        """Contract 2.5: also where the name is followed again by then."""
        made = Connected(["a", "b"])
        made.ask()
        made.sent()
        (command,) = made.receive(reply(block(b"a", "3-0", "4-0"), block(b"b", "3-0", "4-0")))
        assert Read(command).positions == {b"a": b"4-0", b"b": b"4-0"}
        made.assignment.assign([made.streams[0], stream("b", b"9-0")])
        assert made.receive(reply(block(b"a", "5-0", "6-0"), block(b"b", "5-0", "6-0"))) == []
        assert made.take(Failed) == []
        assert [s.last_id for s in made.streams] == [b"6-0", b"9-0"]

    @staticmethod
    def forged(last: str, looks_like: str) -> bytes:
        """A full reply whose last entry has a value that looks like another one."""
        key, (first,) = block(b"a", "3-0")
        _, (second,) = block(b"a", last, value=forge(looks_like))
        return reply([key, [first, second]])

    def test_a_read_after_entries_that_never_came_costs_the_connection(self) -> None:
        """Contract 6.5, 3.1: its reply would be taken for that to the next read."""
        made = self.start()
        (command,) = made.receive(self.forged("10-0", "90-0"), 2.0)
        assert Read(command).ids == [b"90-0"]
        assert made.phase() is Phase.CLOSED
        (dropped,) = made.logged(DEBUG)
        reason = "a read was sent ahead of entries that have not come"
        assert dropped == f"{made.upstream.options.address}: {reason}"
        assert made.take(Failed) == []
        assert made.deliver() == [("a", b"3-0"), ("a", b"10-0")]

    def test_nothing_is_read_after_the_end(self) -> None:
        """Contract 6.5."""
        made = self.start()
        made.session.receive(self.forged("10-0", "90-0"), 2.0)
        made.sent(2.0)
        made.session.receive(reply(block(b"a", "91-0")), 2.0)
        assert not made.session.process()
        assert made.phase() is Phase.CLOSED
        assert len(made.logged(DEBUG)) == 1
        assert made.streams[0].last_id == b"10-0"

    def test_a_read_after_entries_that_came_is_ignored(self) -> None:
        """Contract 6.5, 3.1: it brings entries for a second time."""
        made = self.start()
        (command,) = made.receive(self.forged("20-0", "10-0"), 2.0)
        assert Read(command).ids == [b"10-0"]
        assert made.deliver() == [("a", b"3-0"), ("a", b"20-0")]
        made.receive(reply(block(b"a", "20-0", "21-0")), 3.0)
        assert not made.take(Failed)
        assert not made.logged(DEBUG)
        assert made.phase() is Phase.IDLE
        assert made.streams[0].last_id == b"20-0"
        assert made.session.expects_more
        made.ask(3.0)
        assert made.read_sent(3.0).ids == [b"20-0"]

    def test_where_predictions_are_wrong_no_more_are_made_for_a_while(self) -> None:
        """Contract 6.4: each costs a round trip."""
        made = self.start()
        sent = []
        for _ in range(4):
            made.streams[0].restart(b"2-0")
            commands = made.receive(self.forged("20-0", "10-0"), 2.0)
            sent.append(len(commands))
            if commands:
                made.receive(reply(), 2.0)
            made.deliver()
            made.ask(2.0)
            made.sent(2.0)
            made.streams[0].last_id = b"2-0"  # the same again
        assert sent == [1, 1, 0, 0]

    def test_a_refused_speculative_read_is_diagnosed_like_any_other(self) -> None:
        """Contract 5.6."""
        made = self.start()
        assert made.receive(self.FULL, 2.0)
        made.receive(b"-ERR Invalid stream ID\r\n", 4.0)
        failure = made.failure()
        assert isinstance(failure, ResponseError)
        assert made.phase() is Phase.IDLE


class TestSilence:
    """The deadline of the awaited reply."""

    def test_nothing_is_awaited_before_anything_was_sent(self) -> None:
        """Contract 5.5: nothing is due."""
        made = Connected()
        assert made.session.wake_at is None
        assert made.session.wake_at is None

    def test_a_read_may_take_as_long_as_it_blocks_and_socket_timeout(self) -> None:
        """Contract 5.5: `socket_timeout` never cuts a blocking read short."""
        made = Connected(socket_timeout=3)
        made.ask(100.0, 2000)
        assert made.session.wake_at == 105.0
        made.receive(reply()[:1], 104.0)
        assert made.session.wake_at == 107.0

    def test_every_part_of_a_reply_shows_that_the_peer_lives(self) -> None:
        """Contract 5.5: a slow peer is not a silent one."""
        made = Connected(socket_timeout=3)
        made.ask(100.0, 2000)
        made.receive(reply(block(b"a", "1-0"))[:-9], 104.0)
        assert made.session.wake_at == 107.0

    def test_each_answer_within_the_login_shows_that_the_peer_lives(self) -> None:
        """Contract 5.5."""
        made = Connected(password="pw", db=1, socket_timeout=3)
        made.sent(0.0)
        assert made.session.wake_at == 3.0
        made.receive(b"+OK\r\n", 2.0)
        assert made.session.wake_at == 5.0

    def test_silence_may_last_for_ever_where_that_is_wanted(self) -> None:
        made = Connected(socket_timeout=None)
        made.ask(block=1000)
        assert made.session.wake_at is None

    def test_a_speculative_read_is_awaited_like_any_other(self) -> None:
        """Contract 5.5."""
        made = TestSpeculativeReads().start()
        assert made.receive(TestSpeculativeReads.FULL, 9.0)
        assert made.session.wake_at == 14.0

    def test_silence_is_a_timeout(self) -> None:
        """Contract 5.5; the whole entries of a reply that came in part are kept (5.4)."""
        made = Connected(socket_timeout=3)
        made.ask(block=1000)
        made.sent()
        made.receive(reply(block(b"a", "1-0", "2-0"))[:-9], 2.0)
        made.time_out(5.0)
        failure = made.failure()
        assert isinstance(failure, TimeoutError)
        assert f"no reply from {ADDRESS} for 3.0 s" in str(failure)
        assert made.deliver() == [("a", b"1-0")]
        assert made.phase() is Phase.CLOSED
        assert made.session.wake_at is None


class TestLogin:
    """From the connection to the first read."""

    def test_without_anything_to_set_up_it_is_ready_at_once(self) -> None:
        """Contract 6.1."""
        made = Connected()
        assert made.session.is_ready
        assert made.phase() is Phase.IDLE
        made.ask()
        assert made.session.is_ready
        assert made.phase() is Phase.READING
        assert not made.session.is_parked
        made.sent()
        assert made.session.is_parked

    def test_the_peer_that_closes_on_hello_is_asked_again_without(self) -> None:
        """Contract 6.2: that is no failure."""
        made = Connected(protocol=3)
        assert [command[0] for command in made.sent()] == [b"HELLO"]
        made.lose()
        assert len(made.logged(DEBUG)) == 1
        assert made.take(Failed) == []
        assert made.phase() is Phase.CLOSED
        made.connect(2.0)
        assert made.sent() == []
        # The next connection may be to a server that knows HELLO.
        made.connect(3.0)
        assert [command[0] for command in made.sent()] == [b"HELLO"]

    def test_after_its_answer_hello_is_not_to_blame(self) -> None:
        """Contract 6.2."""
        made = Connected(protocol=3)
        made.receive(encode(Bulk([[b"proto", b"3"]]), 3))
        made.lose()
        assert isinstance(made.failure(), ConnectionError)

    @pytest.mark.parametrize("protocol", [2, 3])
    def test_bytes_that_may_be_the_password_are_not_shown(self, protocol: int) -> None:
        """Contract 7: as long as the connection is there; a peer may repeat it at any time."""
        made = Connected(password="open sesame", protocol=protocol)
        made.receive(b"what is open sesame\r\n")
        failure = made.failure()
        assert isinstance(failure, ProtocolError)
        assert "sesame" not in f"{failure} {failure.__cause__} {made.events}"
        made.connect(1.0)
        made.receive(b"+OK\r\n", 1.0)
        made.ask(1.0)
        made.receive(b"what is this\r\n", 1.0)
        assert "not shown, since a password was sent" in str(made.failure())

    def test_a_refused_login_is_an_authentication_error(self) -> None:
        """Contract 5.6."""
        made = Connected(password="pw", db=1)
        made.receive(b"-WRONGPASS no\r\n-NOAUTH first\r\n")
        assert isinstance(made.failure(), AuthenticationError)
        assert made.phase() is Phase.CLOSED

    def test_a_callable_that_fails_is_a_connection_error(self) -> None:
        """Contract 5.1: with its cause."""
        broken = KeyError("vault")

        def password() -> str:
            raise broken

        made = Connected(password=password)
        failure = made.failure()
        assert isinstance(failure, ConnectionError)
        assert str(failure).startswith(f"cannot log in to {ADDRESS}: ")
        assert failure.__cause__ is not None
        assert made.phase() is Phase.CLOSED

    def test_it_is_not_ready_before_every_start_is_known(self) -> None:
        """Contract 2.3: a concrete ID."""
        made = Connected(start=None)
        assert made.phase() is Phase.STARTING
        assert not made.session.is_ready
        assert made.read_sent().ids == [b"+"]
        made.receive(reply(block(b"a", "5-0")))
        assert made.phase() is Phase.IDLE
        assert made.session.is_ready
        assert made.streams[0].start == made.streams[0].last_id == b"5-0"
        assert len(made.logged(INFO)) == 1

    def test_more_replies_than_commands_are_a_failure(self) -> None:
        """Contract 6.5: they would be taken for the reply to the first read."""
        made = Connected(start=None)
        made.sent()
        made.receive(reply(block(b"a", "5-0")) * 2)
        assert isinstance(made.failure(), ProtocolError)

    def test_part_of_a_reply_too_many_is_a_failure_before_anything_is_read(self) -> None:
        """Contract 6.5."""
        made = Connected(start=None)
        made.sent()
        made.receive(reply(block(b"a", "5-0")) + b"*1\r\n")
        assert isinstance(made.failure(), ProtocolError)
        assert made.streams[0].start is None

    def test_without_a_password_bytes_that_are_not_resp_are_shown(self) -> None:
        made = Connected(start=None, client_name="reader")
        made.receive(b"+OK\r\n")
        made.receive(b"what is this\r\n")
        assert "what is this" in str(made.failure())

    def test_a_refusal_to_pin_now_names_the_stream(self) -> None:
        """Contract 5.6."""
        made = Connected(["a", "b"], start=None)
        made.sent()
        made.receive(b"-WRONGTYPE no\r\n")
        assert [Read(command).keys for command in made.sent()] == [[b"a"], [b"b"]]
        made.receive(b"*-1\r\n-WRONGTYPE no\r\n")
        failure = made.failure()
        assert isinstance(failure, ResponseError)
        assert failure.stream == "b"
        assert made.phase() is Phase.CLOSED

    def test_a_redirection_to_pin_now_is_reported(self) -> None:
        made = Connected(start=None)
        made.sent()
        made.receive(b"-MOVED 1 other:1\r\n", 4.0)
        (event,) = made.take(Redirected)
        assert (event.error.code, event.streams, event.time) == ("MOVED", made.streams, 4.0)
        assert made.take(Failed) == []
        assert not made.session.is_ready


class TestEnds:
    """Failures, and what is kept of a session that has ended."""

    ADVICE = "(if it is a port for TLS: ssl=True, or rediss://)"

    def test_a_peer_that_ends_it_before_any_answer_may_want_tls(self) -> None:
        at_once, answered, over_tls = Connected(), Connected(), Connected(ssl=True)
        answered.ask()
        answered.receive(reply(block(b"a", "1-0")))
        for made in (at_once, answered, over_tls):
            made.lose()
        assert self.ADVICE in str(at_once.failure())
        assert str(answered.failure()) == f"{ADDRESS} closed the connection"
        assert self.ADVICE not in str(over_tls.failure())
        at_once.connect(2.0)
        at_once.lose(3.0, ConnectionResetError("reset"))
        assert f": reset {self.ADVICE}" in str(at_once.failure())

    def test_a_peer_that_has_answered_before_does_not_want_tls(self) -> None:
        reading_, starting = Connected(), Connected(start=None)
        reading_.ask()
        reading_.receive(reply(block(b"a", "1-0")))
        starting.receive(reply(block(b"a", "5-0")))
        for made in (reading_, starting):
            for time in (1.0, 3.0):
                made.lose(time)
                assert str(made.failure()) == f"{ADDRESS} closed the connection"
                made.connect(time + 1)

    def test_the_cause_is_chained(self) -> None:
        """Contract 5.1."""
        made = Connected()
        cause = ConnectionResetError("reset")
        made.lose(3.0, cause)
        (event,) = made.take(Failed)
        assert event.error.__cause__ is cause
        assert event.time == 3.0

    def test_nothing_of_one_connection_reaches_the_next(self) -> None:
        """Contract 5.2."""
        made = Connected()
        made.ask()
        made.receive(reply(block(b"a", "1-0"))[:-9])
        made.lose(0.5)
        assert f"{ADDRESS} closed the connection after " in str(made.failure())
        assert made.phase() is Phase.CLOSED
        made.connect(1.0)
        assert made.sent() == []
        made.ask(1.0)
        assert made.read_sent(1.0).ids == [b"0-0"]
        made.receive(reply(block(b"a", "1-0")))
        assert made.take(Failed) == []
        assert made.deliver() == [("a", b"1-0")]

    def test_whole_entries_of_a_broken_reply_are_delivered(self) -> None:
        """Contract 5.4: and fewer are asked for next time."""
        made = Connected(["a", "b"], count=8)
        made.ask()
        made.sent()
        made.receive(reply(block(b"a", "1-0", "3-0"), block(b"b", "2-0", "4-0"))[:-9])
        made.lose()
        made.failure()
        assert made.deliver() == [("a", b"1-0"), ("b", b"2-0")]
        assert [s.caught_up for s in made.streams] == [False, False]
        assert made.assignment.history.read_size.count == 1
        made.connect(2.0)
        made.ask(2.0)
        made.sent()

    def test_a_broken_reply_that_makes_no_sense_is_not_applied(self) -> None:
        """Contract 3.1."""
        made = Connected(start=b"5-0")
        made.ask()
        made.receive(reply(block(b"a", "4-0", "6-0"))[:-9])
        made.lose()
        made.failure()
        assert made.streams[0].last_id == b"5-0"
        assert made.streams[0].pending == []

    def test_a_reply_that_is_too_large_is_given_up(self) -> None:
        """Contract 3.4: what came of it is kept, and less is asked for."""
        made = Connected(count=100)
        made.ask()
        made.sent()
        ids = [f"{number}-0" for number in range(1, 101)]
        whole = reply(block(b"a", *ids, value=b"x" * 4000))
        made.receive(whole[:200_000], 1.0)
        (dropped,) = made.logged(DEBUG)
        assert "gave up a reply of more than 200000 bytes" in dropped
        assert made.take(Failed) == []
        assert made.phase() is Phase.CLOSED
        assert len(made.deliver()) > 40
        assert made.assignment.history.read_size.count < 20

    def test_a_closed_session_awaits_nothing(self) -> None:
        made = Connected()
        made.ask()
        made.session.close()
        assert made.session.events == []
        assert made.phase() is Phase.CLOSED
        assert made.sent() == []
        assert not made.session.is_ready
        assert not made.session.may_block

    @pytest.mark.parametrize(
        "first",
        [b"!!\r\n", b"-LOADING wait\r\n", b"-NOAUTH first\r\n", b"-ERR max number of clients\r\n"],
    )
    def test_bytes_after_a_failure_are_not_read(self, first: bytes) -> None:
        """Contract 5.2: it is raised once per failure."""
        made = Connected()
        made.ask()
        made.sent()
        made.receive(first + reply(block(b"a", "1-0")) + b"+OK\r\n")
        made.failure()
        assert not made.logged(INFO)
        assert not made.take(Request)
        assert made.deliver() == []
        assert made.phase() is Phase.CLOSED

    def test_a_refusal_of_the_command_itself_names_no_stream(self) -> None:
        """Contract 5.6."""
        made = Connected(["a", "b"])
        made.ask()
        made.sent()
        made.receive(b"-NOPERM this user has no permissions to run the 'xread' command\r\n")
        failure = made.failure()
        assert isinstance(failure, ResponseError)
        assert failure.stream is None
        assert made.sent() == []

    def test_a_refusal_for_good_leaves_it_open(self) -> None:
        """Contract 5.6: the failing stream is searched for, then reading goes on."""
        made = Connected(["a", "b"])
        made.ask()
        made.sent()
        made.receive(b"-WRONGTYPE no\r\n")
        assert made.phase() is Phase.STARTING
        assert [Read(command).keys for command in made.sent()] == [[b"a"], [b"b"]]
        made.receive(reply(block(b"a", "1-0")) + b"-WRONGTYPE no\r\n")
        failure = made.failure()
        assert isinstance(failure, ResponseError)
        assert (failure.code, failure.stream) == ("WRONGTYPE", "b")
        assert made.take(Request) == []
        assert made.phase() is Phase.IDLE
        assert made.streams[0].last_id == b"0-0"

    def test_a_redirected_read_is_reported_without_a_failure(self) -> None:
        made = Connected(["a", "b"])
        made.ask()
        made.sent()
        made.receive(b"-MOVED 1 other:1\r\n", 4.0)
        (event,) = made.take(Redirected)
        assert (event.error.text, event.streams) == ("MOVED 1 other:1", made.streams)
        assert event.time == 4.0
        assert not made.take(Failed)
        assert not made.take(Request)
        assert made.phase() is Phase.IDLE

    def test_streams_that_have_left_are_not_redirected_again(self) -> None:
        made = Connected(["a", "b"])
        made.ask()
        made.sent()
        made.assignment.assign(made.streams[:1])
        made.receive(b"-MOVED 1 other:1\r\n", 4.0)
        (event,) = made.take(Redirected)
        assert event.streams == made.streams


class TestGaps:
    """The checks whether streams have lost entries."""

    TRIMMED = (
        f"stream 'a' at {ADDRESS}: the oldest entry is 8-0 now, newer than the position 5-1: "
        "it was most likely trimmed, and messages may have been missed"
    )
    REWOUND = (
        f"stream 'a' at {ADDRESS}: there are entries from 1-0 on, but none at the position "
        "5-1 or after it: it may have begun again, and messages may be missed until its IDs pass "
        "the position"
    )

    @staticmethod
    def look(made: Connected, now: float, *blocks: Any) -> list[bytes]:
        """Have streams checked, and answer; return the keys that were asked for."""
        assert made.prepare(now)
        assert made.phase() is Phase.STARTING
        keys = made.read_sent(now).keys
        made.receive(reply(*blocks), now)
        assert made.phase() is Phase.IDLE
        return keys

    @staticmethod
    def read(made: Connected, now: float, *blocks: Any) -> None:
        made.ask(now)
        made.sent(now)
        made.receive(reply(*blocks), now)
        made.deliver()

    def test_one_read_checks_the_streams_that_are_silent_for_30_s(self) -> None:
        made = Connected(["a", "b"], start=b"5-1")
        assert not made.prepare(29.9)
        assert not made.prepare(37.3)  # it is not looked at each read
        assert made.sent() == []
        assert self.look(made, 37.5) == [b"a", b"b", b"a", b"b"]
        assert not made.prepare(67.4)
        assert self.look(made, 75.0) == [b"a", b"b", b"a", b"b"]

    def test_silence_begins_with_the_connection(self) -> None:
        made = Connected(start=b"5-1")
        made.connect(100.0)
        made.receive(reply(block(b"a", "5-1"), block(b"a", "5-1")), 100.0)
        assert not made.prepare(129.9)
        assert self.look(made, 137.5) == [b"a", b"a"]

    def test_streams_with_new_entries_are_not_checked(self) -> None:
        made = Connected(["a", "b"], start=b"5-1")
        self.read(made, 20.0, block(b"a", "6-0"))
        assert self.look(made, 45.0) == [b"b", b"b"]
        assert self.look(made, 60.0) == [b"a", b"a"]

    def test_streams_that_were_never_at_an_entry_are_not_checked(self) -> None:
        """Entries before a point in time were not asked for."""
        made = Connected(["a", "b"], start=before(7))
        assert not made.prepare(99.0)
        assert made.phase() is Phase.IDLE
        assert made.sent() == []

    def test_the_check_waits_for_a_speculative_read(self) -> None:
        made = TestSpeculativeReads().start()
        assert made.receive(TestSpeculativeReads.FULL, 2.0)
        assert made.prepare(99.0)
        assert made.sent() == []

    def test_streams_are_checked_from_the_second_connection_on(self) -> None:
        made = Connected(start=b"5-1")
        assert made.sent() == []
        made.lose()
        made.connect(2.0)
        assert made.read_sent(2.0).keys == [b"a", b"a"]

    @pytest.mark.parametrize(
        ("seen", "text"),
        [(["8-0", "8-0"], TRIMMED), (["1-0"], REWOUND)],
        ids=["trimmed", "rewound"],
    )
    def test_a_gap_is_logged_once_until_entries_come_again(
        self, seen: list[str], text: str
    ) -> None:
        """In words that claim no more than is known."""
        made = Connected(start=b"5-1")
        blocks = [block(b"a", entry_id) for entry_id in seen]
        self.look(made, 100.0, *blocks)
        assert made.warnings() == [text]
        self.look(made, 200.0, *blocks)
        assert made.warnings() == []
        self.read(made, 200.0, block(b"a", "9-0"))
        self.look(made, 300.0, *(block(b"a", f"1{entry_id}") for entry_id in seen))
        assert len(made.warnings()) == 1

    def test_another_kind_of_gap_is_logged_as_well(self) -> None:
        made = Connected(start=b"5-1")
        self.look(made, 100.0, block(b"a", "8-0"), block(b"a", "8-0"))
        self.look(made, 200.0, block(b"a", "1-0"))
        assert made.warnings() == [self.TRIMMED, self.REWOUND]

    @pytest.mark.parametrize("on_rewind", ["keep", "restart"])
    def test_a_rewound_stream_is_restarted_where_that_is_wanted(self, on_rewind: str) -> None:
        """And where something of it was read."""
        made = Connected(["a", "b"], start=b"5-1", on_rewind=on_rewind)
        self.read(made, 0.0, block(b"a", "6-0"))
        assert made.session.streams.find_unsettled() == []
        self.look(made, 100.0, block(b"a", "1-0"), block(b"b", "1-0"))
        assert len(made.warnings()) == 2
        assert len(made.session.streams.find_unsettled()) == (on_rewind == "restart")
        made.ask(100.0)
        start = b"0-0" if on_rewind == "restart" else b"6-0"
        assert made.read_sent(100.0).positions == {b"a": start, b"b": b"5-1"}
        if on_rewind == "restart":
            assert made.streams[0].start == b"0-0"

    def test_a_trimmed_stream_is_never_restarted(self) -> None:
        made = Connected(start=b"5-1", on_rewind="restart")
        self.read(made, 0.0, block(b"a", "6-0"))
        self.look(made, 100.0, block(b"a", "8-0"), block(b"a", "8-0"))
        made.ask(100.0)
        assert made.read_sent(100.0).positions == {b"a": b"6-0"}

    def test_only_a_temporary_refusal_of_the_check_is_a_failure(self) -> None:
        """Contract 5.1, 5.6: the next read reports any other one."""
        made = Connected(start=b"5-1")
        assert made.prepare(100.0)
        made.receive(b"-WRONGTYPE no\r\n", 100.0)
        assert made.take(Failed) == []
        assert made.prepare(200.0)
        made.receive(b"-LOADING wait\r\n", 200.0)
        failure = made.failure()
        assert isinstance(failure, ConnectionError)
        assert str(failure) == f"{ADDRESS} refused XREAD: LOADING wait"
        assert made.phase() is Phase.CLOSED


def test_bytes_from_before_a_login_was_sent_are_no_answer_to_it() -> None:
    """Contract 6.5."""
    it = Connected(db=3)
    it.session.receive_early(b"+OK\r\n", 0.0)
    assert it.sent() == [[b"SELECT", b"3"]]
    it.receive(b"+OK\r\n")
    (failed,) = it.take(Failed)
    assert isinstance(failed.error, ProtocolError)
    assert "nobody asked for" in str(failed.error)


@pytest.mark.parametrize(("now", "is_read_ahead"), [(5.0, True), (10.0, False)])
def test_nothing_is_read_ahead_of_another_login(now: float, is_read_ahead: bool) -> None:
    """Contract 5.3: the next read waits for it."""
    it = Connected(password="pw", credentials_max_age=9.0)
    it.sent()
    it.receive(b"+OK\r\n")
    it.ask()
    it.sent()
    sent = it.receive(reply(block(b"a", "1-0", "2-0")), now)
    assert [command[0] for command in sent] == [b"XREAD"] * is_read_ahead
