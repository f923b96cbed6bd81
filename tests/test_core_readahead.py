"""`pystreamredis.core.readahead`: reads that are on their way, and how much they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pystreamredis.core.assignment import Assignment, Predictions
from pystreamredis.core.readahead import (
    ReadAhead,
    Request,
    choose_streams,
    last_id_of,
)
from pystreamredis.core.stream import StreamState
from pystreamredis.core.topology import Upstream
from pystreamredis.options import ConnectionOptions
from pystreamredis.protocol.buffer import Buffer
from tests.simulation import Read, Server, Simulation, commands_in, reading

if TYPE_CHECKING:
    from collections.abc import Iterable


def stream(name: str, last_id: bytes = b"0-0", pending: Iterable[int] = ()) -> StreamState:
    """A stream with pending messages of these ms."""
    made = StreamState(name, name.encode(), last_id)
    made.pending = [(name, b"%d-0" % ms, {}) for ms in pending]
    return made


def request(
    streams: list[StreamState],
    *,
    now: float = 0.0,
    block: int | None = None,
    is_speculative: bool = False,
) -> Request:
    made = Request(streams, list(map(last_id_of, streams)), 2, now, block, 7)
    made.is_speculative = is_speculative
    return made


def assigned(record: Predictions) -> Assignment:
    """Make an assignment with a record of predictions."""
    upstream = Upstream(None, ConnectionOptions(), reading())
    assignment = Assignment(upstream, upstream.options, None)
    assignment.history.predictions = record
    return assignment


class TestRequest:
    """An XREAD that was sent."""

    @pytest.mark.parametrize(
        ("block", "due", "blocks"), [(None, 5.0, False), (0, 5.0, True), (250, 5.25, True)]
    )
    def test_it_is_due_when_it_has_blocked(
        self, block: int | None, due: float, blocks: bool
    ) -> None:
        made = request([], now=5.0, block=block)
        assert (made.due, made.blocks) == (due, blocks)

    def test_it_asks_exactly_and_has_one_part_at_first(self) -> None:
        made = request([stream("a", b"4-0")])
        assert (made.after, made.count, made.wait) == ([b"4-0"], 2, 7)
        assert (made.is_exact, made.is_speculative) == (True, False)
        assert (made.unanswered, made.put_off, made.refused) == (1, 0, ())
        assert (made.received_before, made.round) == (0, None)


class TestReadAhead:
    """The requests whose replies are still to come."""

    def test_replies_answer_requests_in_the_order_of_sending(self) -> None:
        """Contract 6.5."""
        ahead = ReadAhead(assigned(Predictions()))
        assert not ahead.requests
        a = stream("a")
        first, second = request([a]), request([a])
        ahead.append(first, None, Buffer())
        ahead.append(second, None, Buffer())
        assert list(ahead.requests) == [first, second]

    def test_a_request_is_an_xread_with_its_count_block_and_ids(self) -> None:
        ahead = ReadAhead(assigned(Predictions()))
        sent = ahead.append(request([stream("a", b"4-0"), stream("b", b"5-1")]), 250, Buffer())
        (command,) = commands_in(sent)
        read = Read(command)
        assert (read.count, read.block) == (2, 250)
        assert read.positions == {b"a": b"4-0", b"b": b"5-1"}

    def test_the_next_request_may_differ_in_anything(self) -> None:
        """The beginning of a request is made once for all that begin alike."""
        ahead = ReadAhead(assigned(Predictions()))
        a, b = stream("a", b"4-0"), stream("b", b"5-1")
        assert sent(ahead, request([a])) == (2, None, {b"a": b"4-0"})
        a.last_id = b"6-0"
        assert sent(ahead, request([a])) == (2, None, {b"a": b"6-0"})
        assert sent(ahead, request([a]), 20) == (2, 20, {b"a": b"6-0"})
        assert sent(ahead, request([a, b]), 20) == (2, 20, {b"a": b"6-0", b"b": b"5-1"})
        assert sent(ahead, request([b, a]), 20) == (2, 20, {b"a": b"6-0", b"b": b"5-1"})
        smaller = Request([b, a], [b"5-1", b"6-0"], 1, 0.0, 20, 7)
        assert sent(ahead, smaller, 20) == (1, 20, {b"a": b"6-0", b"b": b"5-1"})

    def test_a_changed_set_of_streams_has_each_reply_checked(self) -> None:
        """Contract 2.5."""
        ahead = ReadAhead(assigned(Predictions()))
        requests = [request([stream("a")]) for _ in range(2)]
        for each in requests:
            ahead.append(each, None, Buffer())
        ahead.distrust()
        assert [each.is_exact for each in requests] == [False, False]

    def test_one_more_read_may_be_sent_ahead_of_one(self) -> None:
        """Contract 6.4."""
        ahead = ReadAhead(assigned(Predictions()))
        assert not ahead.can_speculate()
        ahead.append(request([]), None, Buffer())
        assert ahead.can_speculate()
        ahead.append(request([]), None, Buffer())
        assert not ahead.can_speculate()

    def test_none_is_sent_ahead_where_little_is_certain(self) -> None:
        record = Predictions()
        ahead = ReadAhead(assigned(record))
        first = request([])
        ahead.append(first, None, Buffer())
        record.wrong = 2
        assert not ahead.can_speculate()
        record.wrong = 0
        first.round = request([])
        assert not ahead.can_speculate()
        first.round = None
        assert ahead.can_speculate()
        ahead.distrust()
        assert not ahead.can_speculate()

    def test_a_right_prediction_is_confirmed(self) -> None:
        record = Predictions()
        ahead = ReadAhead(assigned(record))
        guess = request([stream("a", b"4-0"), stream("b", b"5-0")], is_speculative=True)
        ahead.append(guess, None, Buffer())
        assert ahead.confirm()
        assert (record.right, record.wrong, guess.is_exact) == (1, 0, True)

    @pytest.mark.parametrize(
        ("last_ids", "is_usable"),
        [
            ((b"4-0", b"10-0"), True),  # the request brings some entries again
            ((b"5-0", b"10-0"), True),
            ((b"3-0", b"5-0"), False),
            ((b"10-0", b"4-9"), False),
        ],
    )
    def test_a_wrong_prediction_is_usable_unless_entries_never_came(
        self, last_ids: tuple[bytes, bytes], is_usable: bool
    ) -> None:
        """Contract 6.5."""
        record = Predictions()
        ahead = ReadAhead(assigned(record))
        streams = [stream("a", b"4-0"), stream("b", b"5-0")]
        guess = request(streams, is_speculative=True)
        ahead.append(guess, None, Buffer())
        for each, last_id in zip(streams, last_ids, strict=True):
            each.last_id = last_id
        assert ahead.confirm() is is_usable
        assert (record.right, record.wrong, guess.is_exact) == (0, 1, False)

    def test_only_speculative_requests_are_compared(self) -> None:
        record = Predictions()
        ahead = ReadAhead(assigned(record))
        assert ahead.confirm()
        a = stream("a", b"4-0")
        plain = request([a])
        ahead.append(plain, None, Buffer())
        a.last_id = b"1-0"
        assert ahead.confirm()
        assert (record.right, record.wrong, plain.is_exact) == (0, 0, True)


def sent(
    ahead: ReadAhead, made: Request, block: int | None = None
) -> tuple[int | None, int | None, dict[bytes, bytes]]:
    (command,) = commands_in(ahead.append(made, block, Buffer()))
    read = Read(command)
    return read.count, read.block, read.positions


class TestChooseStreams:
    """The streams of the read after a reply that is still coming in."""

    def test_all_are_read_where_nothing_is_held_back(self) -> None:
        streams = [stream("a"), stream("b")]
        ends = {streams[0]: b"5-0", streams[1]: b"9-0"}
        assert choose_streams(request(streams), streams, ends, is_alone=True) is streams

    def test_a_full_stream_is_left_out_while_it_has_messages_beyond_the_others(self) -> None:
        """Contract 3.4: it would have more than COUNT pending."""
        a, b = stream("a"), stream("b", pending=[7])
        assert choose_streams(request([a, b]), [a, b], {a: b"5-0", b: b"9-0"}, is_alone=True) == [a]
        assert choose_streams(request([a, b]), [a, b], {a: b"7-0", b: b"9-0"}, is_alone=True) == [
            a,
            b,
        ]

    def test_while_other_connections_hold_messages_back_no_more_is_read_ahead(self) -> None:
        """Contract 3.4: whatever is pending stays so."""
        a, b = stream("a", b"2-0", [1, 2]), stream("b", b"9-0", [9])
        ends = {a: b"15-0", b: b"19-0"}
        assert choose_streams(request([a, b]), [a, b], ends, is_alone=False) == []
        b.pending = []
        assert choose_streams(request([a, b]), [a, b], ends, is_alone=False) == [b]
        a.pending, b.pending = [], [("b", b"9-0", {})] * 2
        assert choose_streams(request([a, b]), [a, b], ends, is_alone=False) == [a]

    def test_a_connection_does_not_read_far_ahead_of_another_one(self) -> None:
        """Contract 3.4."""
        server = Server()
        for ms in range(1, 40):
            server.add(b"a", f"{ms + 10}-0")
            server.add(b"b", f"{ms}-0")
        read = Simulation(server, {"a": 0, "b": 0}, count=3, connections=2, block=None)
        assert len(read.establish().rest()) == 78
        assert read.most_held <= 6

    @pytest.mark.parametrize(("pending", "is_read"), [([6, 7], True), ([6, 7, 8], False)])
    def test_a_stream_left_out_before_is_read_once_it_has_count_messages(
        self, pending: list[int], is_read: bool
    ) -> None:
        """Contract 3.4."""
        a, b = stream("a"), stream("b", b"8-0", pending)
        assert choose_streams(request([a]), [a, b], {a: b"5-0"}, is_alone=True) == (
            [a, b] if is_read else [a]
        )

    def test_a_stream_left_out_before_holds_back_others(self) -> None:
        """Contract 3.2: nothing is known of it beyond its last entry."""
        a, b = stream("a", pending=[9]), stream("b", b"8-0", [8])
        assert choose_streams(request([a]), [a, b], {a: b"20-0"}, is_alone=True) == [b]

    def test_a_stream_that_is_not_full_holds_back_nobody(self) -> None:
        a, b = stream("a"), stream("b", b"1-0")
        assert choose_streams(request([a, b]), [a, b], {a: b"9-0"}, is_alone=True) == [a, b]
