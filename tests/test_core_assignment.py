"""`pystreamredis.core.assignment`: which streams a connection reads, and what outlives it."""

from __future__ import annotations

from itertools import count, islice
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystreamredis.core.assignment import (
    Assignment,
    History,
    Outages,
    Predictions,
    ReadSize,
    add_jitter,
    pauses_of,
)
from pystreamredis.core.events import DEBUG, INFO, WARNING
from pystreamredis.core.session import Session
from pystreamredis.core.stream import StreamState
from pystreamredis.core.topology import Upstream
from pystreamredis.exceptions import ConnectionError
from pystreamredis.options import ConnectionOptions
from tests.simulation import reading

KIB = 1024
# The smallest reply that COUNT is lowered for.
MOST = 64 * KIB


class Record:
    """The history of some connections, and the lines that it has made for the log."""

    def __init__(self) -> None:
        self.history = History(ConnectionOptions(), 100, Outages())
        self.lines: list[tuple[int, str]] = []

    def answer(self) -> None:
        line = self.history.answered()
        self.lines.append((line.level, line.text))

    def fail(self, text: str, now: float) -> None:
        line = self.history.failed(ConnectionError(text), now)
        self.lines.append((line.level, line.text))


class TestOutages:
    """Many connections to one server, or to the nodes of a cluster: few lines for the log."""

    def test_of_many_connections_the_first_answer_is_logged(self) -> None:
        outages = Outages()
        lines = [outages.answered("", "host:1", 1.0) for _ in range(29)]
        assert [line.level for line in lines] == [INFO, *[DEBUG] * 28]
        # The nodes of a cluster are one server to the caller.
        outages = Outages()
        lines = [outages.answered(f"host:{at % 3}", f"host:{at % 3}", 1.0) for at in range(8)]
        assert [line.level for line in lines] == [INFO, *[DEBUG] * 7]

    def test_an_outage_is_logged_once_for_each_server(self) -> None:
        outages, gone = Outages(), ConnectionError("gone")
        for server in ("a", "b"):
            outages.answered(server, server, 1.0)
        lines = [outages.failed(server, gone, 1.0, 5.0) for server in ("a", "a", "b", "a", "b")]
        assert [line.level for line in lines] == [WARNING, DEBUG, WARNING, DEBUG, DEBUG]
        lines = [outages.answered(server, server, 7.0) for server in ("a", "a", "b", "b")]
        assert [line.level for line in lines] == [INFO, DEBUG, INFO, DEBUG]
        assert lines[0].text == "connected to a after an outage of 2.0 s"

    def test_a_loss_that_is_noticed_late_is_not_another_outage(self) -> None:
        """A connection over which nothing was on its way, say."""
        outages, gone = Outages(), ConnectionError("gone")
        outages.answered("", "host:1", 1.0)
        outages.failed("", gone, 1.0, 5.0)
        outages.answered("", "host:1", 6.0)
        assert outages.failed("", gone, 1.0, 9.0).level == DEBUG
        assert outages.failed("", gone, 6.0, 9.0).level == WARNING

    def test_a_failure_after_a_loss_that_was_noticed_late_is_an_outage(self) -> None:
        outages, gone = Outages(), ConnectionError("gone")
        one, other = (History(ConnectionOptions(), 100, outages) for _ in range(2))
        for history in (one, other):
            history.opened("host:1", 1.0)
            history.answered()
        levels = [one.failed(gone, 5.0).level]
        one.opened("host:1", 6.0)
        levels += [one.answered().level, other.failed(gone, 7.0).level]
        levels += [other.failed(gone, 8.0).level, other.failed(gone, 9.0).level]
        assert levels == [WARNING, INFO, DEBUG, WARNING, DEBUG]

    def test_a_node_that_takes_the_place_of_another_is_logged(self) -> None:
        outages = Outages()
        outages.answered("a", "a", 1.0)
        outages.failed("a", ConnectionError("gone"), 1.0, 5.0)
        lines = [outages.answered("b", "b", 6.0) for _ in range(2)]
        assert [(line.level, line.text) for line in lines] == [
            (INFO, "connected to b"),
            (DEBUG, "connected to b"),
        ]

    def test_no_outage_lasts_for_less_than_no_time(self) -> None:
        """A connection that was opened before another one broke may be the first to be answered."""
        outages = Outages()
        outages.failed("", ConnectionError("gone"), 1.0, 5.0)
        assert outages.answered("", "host:1", 4.0).text == (
            "connected to host:1 after an outage of 0.0 s"
        )


class TestHistory:
    """Lines for the log, and what is known of the peer."""

    def test_a_connection_is_logged_with_its_address(self) -> None:
        record = Record()
        record.history.opened("host:1", 5.0)
        record.answer()
        assert record.lines == [(INFO, "connected to host:1")]

    def test_an_outage_lasts_from_its_first_failure_to_the_next_answer(self) -> None:
        record = Record()
        record.history.opened("host:1", 5.0)
        record.answer()
        record.fail("host:1 closed the connection", 6.0)
        record.fail("cannot connect to host:1: refused", 7.25)
        # A connection that was accepted, and on which nothing was answered, ends no outage.
        record.history.opened("host:1", 8.0)
        record.fail("host:1 refused XREAD: LOADING", 8.5)
        record.history.opened("host:1", 9.5)
        record.answer()
        assert record.lines[1:] == [
            (WARNING, "host:1 closed the connection"),
            (DEBUG, "cannot connect to host:1: refused (for 1.2 s now)"),
            (DEBUG, "host:1 refused XREAD: LOADING (for 2.5 s now)"),
            (INFO, "connected to host:1 after an outage of 3.5 s"),
        ]

    def test_each_outage_is_logged_by_itself(self) -> None:
        record = Record()
        for lost, back in ((1.0, 3.0), (10.0, 10.5)):
            record.fail("gone", lost)
            record.history.opened("host:1", back)
            record.answer()
        assert record.lines == [
            (WARNING, "gone"),
            (INFO, "connected to host:1 after an outage of 2.0 s"),
            (WARNING, "gone"),
            (INFO, "connected to host:1 after an outage of 0.5 s"),
        ]

    def test_a_server_that_was_never_there_is_an_outage_too(self) -> None:
        record = Record()
        record.fail("cannot connect to host:1: refused", 0.0)
        record.history.opened("host:1", 60.0)
        record.answer()
        assert record.lines == [
            (WARNING, "cannot connect to host:1: refused"),
            (INFO, "connected to host:1 after an outage of 60.0 s"),
        ]

    def test_each_connection_is_logged_with_its_own_address(self) -> None:
        record = Record()
        for address, opened in (("host:1", 1.0), ("host:2", 3.0)):
            record.history.opened(address, opened)
            record.answer()
            record.fail("gone", opened + 1)
        assert [text for _, text in record.lines] == [
            "connected to host:1",
            "gone",
            "connected to host:2 after an outage of 1.0 s",
            "gone",
        ]

    @pytest.mark.parametrize(
        ("options", "says_hello"),
        [({}, False), ({"protocol": 3}, True), ({"client_name": "c"}, True), ({"db": 1}, False)],
    )
    def test_the_first_connection_says_hello_where_an_option_needs_it(
        self, options: dict[str, object], says_hello: bool
    ) -> None:
        """Contract 6.1."""
        history = History(ConnectionOptions(**options), 100, Outages())  # type: ignore[arg-type]
        assert history.says_hello is says_hello

    def test_nothing_is_known_of_a_peer_at_first(self) -> None:
        history = History(ConnectionOptions(), 70, Outages())
        assert (history.is_understood, history.address_turn) == (False, 0)
        assert (history.read_size.count, history.predictions.are_useful) == (70, True)


def assignment(*streams: StreamState) -> Assignment:
    made = Assignment(
        Upstream(None, ConnectionOptions(), reading(count=7)), ConnectionOptions(), None
    )
    made.assign(list(streams))
    return made


def stream(name: str) -> StreamState:
    return StreamState(name, name.encode(), b"0-0")


class TestAssignment:
    """The streams of one connection."""

    def test_a_stream_belongs_to_the_session_that_reads_it(self) -> None:
        a, b, c = map(stream, "abc")
        made = assignment(a, b)
        made.session = session = Session(made, "host:1", 0.0)
        assert (a.session, b.session) == (session, session)
        made.assign([b, c])
        assert (a.session, b.session, c.session) == (None, session, session)
        assert made.streams == [b, c]

    def test_a_stream_that_another_session_reads_by_now_stays_there(self) -> None:
        """Contract 2.5: or its replies there would be dropped."""
        a, b = map(stream, "ab")
        made, other = assignment(a), assignment(b)
        made.session = Session(made, "host:1", 0.0)
        other.session = Session(other, "host:2", 0.0)
        other.assign([b, a])
        made.assign([])
        assert a.session is other.session

    def test_the_merge_looks_at_what_is_pending_or_may_come(self) -> None:
        """Contract 3.2: also while there is no connection."""
        unread, pending, empty = map(stream, "abc")
        made = assignment(unread, pending, empty)
        pending.caught_up = empty.caught_up = True
        pending.pending = [("b", b"1-0", {})]
        assert made.find_unsettled() == [unread, pending]
        made.session = Session(made, "host:1", 0.0)
        assert made.find_unsettled() == [unread, pending]

    def test_it_wakes_for_the_next_try_where_one_is_to_be_made(self) -> None:
        made = assignment(stream("a"))
        made.retry_at = 12.5
        assert made.next_try_at == 12.5
        made.is_connecting = True
        assert made.next_try_at is None
        made.is_connecting = False
        made.assign([])
        assert made.next_try_at is None

    def test_connections_to_one_address_share_the_order_of_one_server(self) -> None:
        """Contract 3.2: in a cluster each connection has an order of its own."""
        upstream = Upstream(None, ConnectionOptions(), reading())
        here = ConnectionOptions("here", 1)
        one, two = Assignment(upstream, here, None), Assignment(upstream, here, None)
        elsewhere = Assignment(upstream, ConnectionOptions("elsewhere", 1), None)
        of_other = Assignment(Upstream("x", here, reading()), here, None)
        assert one.server == two.server
        assert len({one.server, elsewhere.server, of_other.server}) == 3
        slot = Assignment(upstream, here, (5, "here:1"))
        assert slot.server is slot

    def test_count_is_the_callers_at_first(self) -> None:
        assert assignment().history.read_size.count == 7


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The random numbers to come; 0.0 after these."""
    numbers: list[float] = []
    monkeypatch.setattr("random.random", lambda: numbers.pop(0) if numbers else 0.0)
    return numbers


def taken(number: int, block: int | None = 1000, retry_delay: Any = None) -> list[float]:
    return list(islice(pauses_of(block, retry_delay), number))


@pytest.mark.usefixtures("chance")
@pytest.mark.parametrize(("block", "pause"), [(None, 0), (0, 1), (1, 0.001), (2500, 2.5)])
def test_the_pause_before_another_try_is_block_ms(block: int | None, pause: float) -> None:
    """Contract 5.3: 1000 where `block` is 0, not at all where it is None."""
    assert taken(3, block) == pytest.approx([pause] * 3)


@pytest.mark.usefixtures("chance")
@pytest.mark.parametrize(
    ("retry_delay", "expected"),
    [
        (0, [0.0] * 4),
        (250, [0.25] * 4),
        (0.5, [0.0005] * 4),
        (lambda: iter([100, 200.5, 400, 800, 1600]), [0.1, 0.2005, 0.4, 0.8]),
        (lambda: [100, 200], [0.1, 0.2, 0.2, 0.2]),
        (lambda: count(10, 10), [0.01, 0.02, 0.03, 0.04]),
        (lambda: (), [1.0] * 4),
    ],
)
@pytest.mark.parametrize("block", [None, 0, 50])
def test_the_pause_may_be_given(block: int | None, retry_delay: Any, expected: list[float]) -> None:
    """Contract 5.3: ms, or a callable returning an iterator of ms, the last of which goes on."""
    assert taken(4, block, retry_delay) == pytest.approx(expected)


def test_a_pause_has_a_random_part(chance: list[float]) -> None:
    """Contract 5.3: in any case between readers."""
    chance += [0.0, 0.5, 0.999, 1.0]
    assert taken(4) == pytest.approx([1.0, 1.25, 1.4995, 1.5])
    chance += [1.0]
    assert taken(2, 0, lambda: [100, 200]) == pytest.approx([0.15, 0.2])
    chance += [0.5]
    assert add_jitter(2.0) == 2.5


@pytest.mark.parametrize("wrong", ["1", -1, inf, float("nan"), b""])
def test_a_pause_that_is_not_a_time_is_refused(wrong: Any) -> None:
    """Contract 7: the option and the value are named."""
    pauses = pauses_of(0, lambda: [wrong])
    with pytest.raises(TypeError) as caught:
        next(pauses)
    assert str(caught.value) == f"retry_delay() gave {wrong!r}, but must give numbers of ms"


def test_each_outage_has_an_iterator_of_its_own() -> None:
    asked = [iter([1000]), iter([2000])]
    first, second = (pauses_of(0, lambda: asked.pop(0)) for _ in range(2))
    assert next(first) < 2 <= next(second)


class TestPredictions:
    """The record of predicted last IDs."""

    @pytest.mark.parametrize(
        ("right", "wrong", "are_useful"),
        [
            (0, 0, True),
            (0, 1, True),
            (0, 2, False),
            (15, 2, False),
            (16, 2, True),
            (16, 3, False),
            (1600, 101, True),
            (1600, 102, False),
        ],
    )
    def test_one_in_sixteen_may_be_wrong(self, right: int, wrong: int, are_useful: bool) -> None:
        record = Predictions()
        record.right, record.wrong = right, wrong
        assert record.are_useful is are_useful


class TestReadSize:
    """COUNT, as far as replies have shown what is possible."""

    def test_it_is_the_callers_as_long_as_replies_are_small(self) -> None:
        """Contract 3.4."""
        size = ReadSize(100)
        for _ in range(10):
            size.completed(MOST)
        assert size.count == 100

    def test_a_large_reply_lowers_it_in_proportion(self) -> None:
        size = ReadSize(100)
        size.completed(4 * MOST)
        assert size.count == 25
        size.completed(10_000 * MOST)
        assert size.count == 1

    def test_connections_share_the_memory(self) -> None:
        """Contract 3.4: a reply is there twice, and the next one beside it."""
        size = ReadSize(100)
        size.share(64 * KIB * KIB, 2)
        assert size.max_reply == 8 * KIB * KIB
        size.share(64 * KIB * KIB, 100_000)
        assert size.max_reply == MOST

    def test_small_replies_raise_it_again_up_to_the_callers(self) -> None:
        size = ReadSize(100)
        size.completed(10 * MOST)
        assert size.count == 10
        counts = []
        while size.count < 100:
            size.completed(1000)
            counts.append(size.count)
            assert len(counts) < 50
        assert counts[:3] == [13, 17, 22]
        size.completed(1000)
        assert size.count == 100

    def test_it_is_not_raised_where_the_next_reply_would_be_too_large(self) -> None:
        size = ReadSize(100)
        size.completed(10 * MOST)
        size.completed(MOST * 10 // 13 + 1)
        assert size.count == 10
        size.completed(MOST * 10 // 13)
        assert size.count == 13

    @pytest.mark.parametrize(
        ("received", "count", "is_exceeded"),
        [(2 * MOST, 100, False), (2 * MOST + 1, 100, True), (100 * MOST, 1, False)],
    )
    def test_a_reply_of_more_than_twice_the_most_is_given_up(
        self, received: int, count: int, is_exceeded: bool
    ) -> None:
        """Contract 3.4: one entry cannot be asked for in parts."""
        assert ReadSize(count).is_exceeded(received) is is_exceeded

    @pytest.mark.parametrize(
        ("size", "entries", "streams", "count"),
        [
            (3 * MOST, 30, 1, 10),
            (3 * MOST, 30, 10, 1),
            (MOST, 1000, 1, 50),  # at most a half
            (3 * MOST, 0, 1, 1),
        ],
    )
    def test_a_reply_given_up_lowers_it_by_what_came(
        self, size: int, entries: int, streams: int, count: int
    ) -> None:
        read_size = ReadSize(100)
        read_size.exceeded(size, entries, streams)
        assert read_size.count == count

    @pytest.mark.parametrize(
        ("entries", "count"), [(50, 25), (1, 1), (0, 50), (2, 1), (400, 50), (7, 3)]
    )
    def test_a_broken_reply_lowers_it_to_half_of_what_came(self, entries: int, count: int) -> None:
        """Contract 5.4: what can never succeed is not repeated as it was."""
        size = ReadSize(100)
        size.broke(entries)
        assert size.count == count

    def test_after_broken_replies_it_is_raised_ever_more_slowly(self) -> None:
        """Contract 5.4: else each rise would break the next reply."""
        size = ReadSize(100)
        for patience in (2, 4, 8):
            size.broke(size.count)
            lowered = size.count
            for _ in range(patience - 1):
                size.completed(10)
                assert size.count == lowered
            size.completed(10)
            raised = size.count
            assert raised > lowered
            for _ in range(patience - 1):
                size.completed(10)
                assert size.count == raised

    def test_the_patience_has_an_end(self) -> None:
        size = ReadSize(100)
        for _ in range(64):
            size.broke(1)
        for _ in range(1023):
            size.completed(10)
        assert size.count == 1
        size.completed(10)
        assert size.count == 2

    @given(
        st.integers(1, 10_000),
        st.lists(
            st.one_of(
                st.tuples(st.just("completed"), st.integers(0, 10**9)),
                st.tuples(st.just("broke"), st.integers(0, 10_000)),
                st.tuples(
                    st.just("exceeded"),
                    st.integers(1, 10**9),
                    st.integers(0, 10_000),
                    st.integers(1, 100),
                ),
            ),
            max_size=30,
        ),
    )
    def test_it_stays_between_one_and_the_callers(
        self, most: int, happenings: list[tuple[str, int]]
    ) -> None:
        """Contract 3.4."""
        size = ReadSize(most)
        for name, *numbers in happenings:
            getattr(size, name)(*numbers)
            assert 1 <= size.count <= most
