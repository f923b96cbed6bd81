"""`pystreamredis.session`: one conversation, byte by byte; what it leads to is told elsewhere."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.cursors import Cursor
from pystreamredis.exceptions import ConnectionError, ProtocolError, ResponseError, TimeoutError
from pystreamredis.ids import before
from pystreamredis.merge import next_batch, release
from pystreamredis.options import ConnectionOptions
from pystreamredis.outages import INFO, WARNING
from pystreamredis.session import Conversation
from tests.simulation import Bulk, Read, commands_in, encode, reading

if TYPE_CHECKING:
    from collections.abc import Sequence


def conversation(
    names: Sequence[str] = ("a",),
    *,
    count: int = 2,
    start: bytes | None = b"0-0",
    on_rewind: str = "keep",
    hold: int = 0,
    **kind: Any,
) -> Conversation:
    cursors = [Cursor(name, name.encode(), start) for name in names]
    read = reading(count=count, on_rewind=on_rewind, hold=hold)
    return Conversation(ConnectionOptions(**kind), read, cursors)


def opened(names: Sequence[str] = ("a",), **kind: Any) -> Conversation:
    made = conversation(names, **kind)
    made.opened(0.0)
    return made


def block(key: bytes, *ids: str) -> Any:
    return [key, [[entry_id.encode(), [b"f", b"v", b"g", b"w"]] for entry_id in ids]]


def reply(*blocks: Any, resp: int = 2) -> bytes:
    return encode(Bulk(blocks) or None, resp)


def tell(made: Conversation, data: bytes, now: float = 0.0) -> bytes:
    """Let bytes come; return what was sent before they were understood."""
    made.received(data, now)
    sent = made.take_outgoing()
    made.process()
    return sent


def asked(made: Conversation) -> Read:
    """Take out the one XREAD that is to be sent."""
    (command,) = commands_in(made.take_outgoing())
    return Read(command)


def handed_over(made: Conversation) -> list[Any]:
    """Take out what may be handed over."""
    return [message[:2] for message in next_batch(release(made.cursors)).messages]


class TestAsking:
    """What an XREAD asks for."""

    def test_what_waits_of_a_stream_that_was_away_counts_again(self) -> None:
        made = opened(("a", "b"))
        made.ask(0.0, None)
        tell(made, reply(block(b"b", "5-0", "6-0")))
        away = made.cursors.pop()
        assert made.find_unsettled() == []
        made.cursors.append(away)
        made.take_outgoing()
        made.ask(0.0, None)
        assert asked(made).positions == {b"a": b"0-0"}

    def test_it_names_every_stream_and_the_id_after_which_to_read(self) -> None:
        """Contract 6.1: with the defaults nothing but XREAD is sent."""
        made = opened(["a", "b"], start=b"5-1")
        assert made.take_outgoing() == b""
        made.ask(0.0, 1000)
        read = asked(made)
        assert read.positions == {b"a": b"5-1", b"b": b"5-1"}
        assert (read.count, read.block) == (2, 1000)
        assert made.take_outgoing() == b""

    def test_a_stream_with_enough_waiting_is_left_out(self) -> None:
        """Contract 3.4: at most `2 * count` messages per stream are held."""
        made = opened(["a", "b"])
        made.ask(0.0, 1000)
        tell(made, reply(block(b"a", "1-0", "2-0"), block(b"b", "8-0", "9-0")))
        assert handed_over(made) == [("a", b"1-0"), ("a", b"2-0")]
        made.take_outgoing()
        made.ask(0.0, 1000)
        read = asked(made)
        assert read.positions == {b"a": b"2-0"}
        assert read.block is None

    def test_it_does_not_block_while_messages_wait(self) -> None:
        """Contract 3.3: its very answer may release them."""
        made = opened(["a", "b"])
        made.ask(0.0, 1000)
        tell(made, reply(block(b"a", "1-0", "2-0"), block(b"b", "9-0")))
        release(made.cursors)
        made.take_outgoing()
        made.ask(0.0, 1000)
        read = asked(made)
        assert read.positions == {b"a": b"2-0", b"b": b"9-0"}
        assert read.block is None

    def test_it_blocks_once_nothing_waits(self) -> None:
        """Contract 4.1."""
        made = opened()
        made.ask(0.0, None)
        tell(made, reply(block(b"a", "1-0")))
        release(made.cursors)
        made.ask(0.0, 250)
        assert asked(made).block == 250


class TestAnswers:
    """What a reply means."""

    @settings(deadline=None)
    @given(st.sampled_from([2, 3]), st.sampled_from([2, 3]), st.data())
    def test_replies_of_both_protocols_are_read_whichever_was_asked_for(
        self, resp: int, protocol: int, data: st.DataObject
    ) -> None:
        """Contract 6.3; in pieces of any size."""
        made = opened(["a", "b"], count=5, protocol=protocol)
        if protocol == 3:
            tell(made, encode(Bulk([[b"proto", b"3"]]), 3))
        made.ask(0.0, None)
        raw = reply(block(b"a", "1-0", "3-0"), block(b"b", "2-0"), resp=resp)
        while raw:
            size = data.draw(st.integers(1, len(raw)))
            tell(made, raw[:size])
            raw = raw[size:]
        assert made.failure is None
        assert handed_over(made) == [("a", b"1-0"), ("b", b"2-0"), ("a", b"3-0")]

    @pytest.mark.parametrize("nil", [b"*-1\r\n", b"_\r\n", b"*0\r\n", b"%0\r\n", b"$-1\r\n"])
    def test_nothing_new_is_an_answer(self, nil: bytes) -> None:
        """Contract 6.3, 4.2: nil in every form."""
        made = opened()
        made.ask(7.0, None)
        tell(made, nil)
        assert made.failure is None
        assert made.answered is not None
        assert made.answered.due == 7.0
        assert made.cursors[0].complete
        assert made.is_idle

    def test_pushes_and_attributes_are_skipped_wherever_they_come(self) -> None:
        """Contract 6.3."""
        noise = b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n|1\r\n+ttl\r\n:5\r\n"
        made = opened(protocol=3)
        tell(made, noise + encode(Bulk([[b"proto", b"3"]]), 3) + noise[: noise.index(b"|")])
        assert made.is_idle
        made.ask(0.0, None)
        tell(made, noise + reply(block(b"a", "1-0"), resp=3))
        assert made.failure is None
        assert handed_over(made) == [("a", b"1-0")]

    @pytest.mark.parametrize("flood", [b">1\r\n+a\r\n>1\r\n", b"|1\r\n+k\r\n+v\r\n|1\r\n+k"])
    def test_a_flood_of_pushes_or_attributes_is_silence(self, flood: bytes) -> None:
        """Contract 5.5: even if it never stops, so that there is no pause to notice it in."""
        made = opened(socket_timeout=5.0)
        made.ask(0.0, 1000)
        made.take_outgoing(0.0)
        tell(made, flood, 5.9)
        assert made.failure is None
        tell(made, b"+b\r\n", 6.1)
        assert isinstance(made.failure, TimeoutError)
        assert not made.is_open

    def test_a_reply_that_comes_late_all_at_once_is_taken(self) -> None:
        """Contract 5.5: after the machine has slept, say: it is there."""
        made = opened(socket_timeout=5.0)
        made.ask(0.0, 1000)
        made.take_outgoing(0.0)
        tell(made, reply(block(b"a", "1-0")), 600.0)
        assert made.failure is None
        assert handed_over(made) == [("a", b"1-0")]

    def test_a_push_between_two_reads_is_no_answer(self) -> None:
        """Contract 6.3."""
        made = opened()
        tell(made, b">1\r\n+hello\r\n")
        assert made.failure is None
        assert made.answered is None

    @pytest.mark.parametrize("raw", [b"+OK\r\n", b"*-1\r\n", b"-ERR idle for too long\r\n"])
    def test_a_reply_that_nobody_asked_for_is_none(self, raw: bytes) -> None:
        """Contract 5.1: every later reply would be taken for another one's."""
        made = opened()
        tell(made, raw)
        assert isinstance(made.failure, ProtocolError)
        assert str(made.failure) == "localhost:6379 sent a reply that nobody asked for"
        assert not made.is_open

    def test_a_stream_that_was_not_asked_for_is_none(self) -> None:
        """Contract 5.1, 7."""
        made = opened()
        made.ask(0.0, None)
        tell(made, reply(block(b"z", "1-0")))
        assert isinstance(made.failure, ProtocolError)

    def test_a_stream_that_a_read_left_out_may_hold_more_than_is_known(self) -> None:
        """Contract 3.2: though it was read to its end before, 52-0 may be there by now."""
        made = opened(["a", "b"], hold=1)  # so that nothing is asked on a guess
        handed = []
        for blocks in (
            (block(b"a", "50-0"), block(b"b", "1-0", "2-0")),
            (block(b"a", "51-0"), block(b"b", "3-0", "4-0")),
            (block(b"b", "60-0"),),
        ):
            made.ask(0.0, None)
            made.take_outgoing()
            tell(made, reply(*blocks))
            made.take_outgoing()
            handed.append([entry_id for _, entry_id in handed_over(made)])
        assert handed == [[b"1-0", b"2-0"], [b"3-0", b"4-0"], [b"50-0", b"51-0"]]

    def test_a_stream_that_was_dropped_meanwhile_is_passed_over(self) -> None:
        """Contract 2.5: the reply to the read before still has it."""
        made = opened(["a", "b"])
        made.ask(0.0, None)
        del made.cursors[0]
        tell(made, reply(block(b"a", "1-0"), block(b"b", "2-0")))
        assert made.failure is None
        assert handed_over(made) == [("b", b"2-0")]

    @pytest.mark.parametrize(
        ("ids", "told"),
        [
            (["5-0"], "entry b'5-0' of stream 'a', expected one after b'5-0'"),
            (["4-9", "6-0"], "entry b'4-9' of stream 'a', expected one after b'5-0'"),
            (["6-0", "5-0"], "b'5-0' of stream 'a' after b'6-0', expected the larger ID later"),
            (["7-0", "7-0"], "b'7-0' of stream 'a' after b'7-0', expected the larger ID later"),
        ],
    )
    def test_entries_out_of_order_are_refused_and_none_is_kept(
        self, ids: list[str], told: str
    ) -> None:
        """Contract 3.1: messages of one stream come in ID order, each exactly once."""
        made = opened(start=b"5-0")
        made.ask(0.0, None)
        tell(made, reply(block(b"a", *ids)))
        assert isinstance(made.failure, ProtocolError)
        assert told in str(made.failure)
        assert made.cursors[0].waiting == []
        assert made.cursors[0].fetched == b"5-0"

    def test_text_is_decoded_and_positions_stay_what_the_server_understands(self) -> None:
        """Contract 1.3: with `decode_responses=True` both are text."""
        made = opened(decode_responses=True)
        made.ask(0.0, None)
        tell(made, reply(block(b"a", "1-0")))
        assert next_batch(release(made.cursors)).messages == [("a", "1-0", {"f": "v", "g": "w"})]
        made.ask(0.0, None)
        assert asked(made).positions == {b"a": b"1-0"}


class TestReadsOnAGuess:
    """Full replies of streams that had more before: the next XREAD leaves before the parse."""

    FIRST = reply(block(b"a", "1-0", "2-0"))
    SECOND = reply(block(b"a", "3-0", "4-0"))

    def start(self) -> Conversation:
        """Come to where a guess is made."""
        made = opened()
        made.ask(0.0, 1000)
        assert asked(made).ids == [b"0-0"]
        assert tell(made, self.FIRST) == b""
        assert handed_over(made) == [("a", b"1-0"), ("a", b"2-0")]
        made.ask(1.0, 1000)
        assert asked(made).ids == [b"2-0"]
        return made

    def test_a_right_guess_is_the_next_read(self) -> None:
        """Contract 6.4: it is not sent again, and does not block."""
        made = self.start()
        (command,) = commands_in(tell(made, self.SECOND, 2.0))
        assert Read(command).positions == {b"a": b"4-0"}
        assert Read(command).block is None
        assert handed_over(made) == [("a", b"3-0"), ("a", b"4-0")]
        made.ask(3.0, 1000)
        assert made.take_outgoing() == b""
        assert not made.is_idle
        tell(made, reply(), 4.0)
        assert made.failure is None
        assert made.answered is not None
        assert made.answered.due == 2.0

    def test_streams_that_come_amid_one_are_welcomed_after_its_answer(self) -> None:
        """Contract 2.5: else the answer would be taken for one about them, and nothing end."""
        cursors = [Cursor("a", b"a", b"0-0")]
        made = Conversation(ConnectionOptions(), reading(count=2), cursors, is_divided=True)
        made.opened(0.0)
        made.ask(0.0, 1000)
        tell(made, self.FIRST)
        handed_over(made)
        made.ask(1.0, 1000)
        made.take_outgoing()
        (guess,) = commands_in(tell(made, self.SECOND, 2.0))
        assert Read(guess).positions == {b"a": b"4-0"}
        made.follow([*cursors, Cursor("b", b"b", None)])
        made.welcome()
        assert made.take_outgoing() == b""
        assert made.silent_at == 7.0
        tell(made, reply(block(b"a", "5-0")), 3.0)
        made.welcome()
        assert asked(made).positions == {b"b": b"+"}
        assert made.failure is None

    def test_the_answer_to_a_guess_may_come_with_the_end_of_the_reply_before(self) -> None:
        """Contract 3.1, 5.1: however the bytes are cut, there is no failure in them."""
        for cut in range(1, len(self.SECOND)):
            made = self.start()
            answer = b""
            if tell(made, self.SECOND[:cut], 2.0):
                answer = reply()
            tell(made, self.SECOND[cut:] + answer, 3.0)
            assert made.failure is None, cut
            assert handed_over(made) == [("a", b"3-0"), ("a", b"4-0")]

    def test_it_goes_on_while_streams_hold_messages_back(self) -> None:
        """Contract 3.4: who has more than `count` messages waiting is not asked for more."""
        made = opened(["a", "b"])
        made.ask(0.0, None)
        asked(made)
        tell(made, reply(block(b"a", "1-0", "2-0"), block(b"b", "90-0", "91-0")))
        assert handed_over(made) == [("a", b"1-0"), ("a", b"2-0")]
        made.ask(1.0, None)
        assert asked(made).positions == {b"a": b"2-0"}

        (command,) = commands_in(tell(made, reply(block(b"a", "3-0", "4-0"))))
        assert Read(command).positions == {b"a": b"4-0", b"b": b"91-0"}
        assert handed_over(made) == [("a", b"3-0"), ("a", b"4-0")]
        made.ask(2.0, None)
        assert made.take_outgoing() == b""

        full = reply(block(b"a", "5-0", "6-0"), block(b"b", "92-0", "93-0"))
        (command,) = commands_in(tell(made, full))
        assert Read(command).positions == {b"a": b"6-0"}
        assert handed_over(made) == [("a", b"5-0"), ("a", b"6-0")]
        made.ask(3.0, None)
        assert made.take_outgoing() == b""
        assert len(made.cursors[1].waiting) == 4

        (command,) = commands_in(tell(made, reply(block(b"a", "7-0", "8-0"))))
        assert Read(command).positions == {b"a": b"8-0"}
        assert handed_over(made) == [("a", b"7-0"), ("a", b"8-0")]
        made.ask(4.0, None)

        (command,) = commands_in(tell(made, reply(block(b"a", "98-0", "99-0"))))
        assert Read(command).positions == {b"a": b"99-0", b"b": b"93-0"}
        assert [entry_id for _, entry_id in handed_over(made)] == [
            b"90-0",
            b"91-0",
            b"92-0",
            b"93-0",
        ]

    def test_it_reckons_with_what_those_hold_back_that_are_not_asked(self) -> None:
        """Contract 3.2, 3.4: here only `b` can tell what is between 91-0 and 95-0."""
        made = opened(["a", "b", "c"])
        made.ask(0.0, None)
        asked(made)
        first = block(b"a", "2-0", "95-0"), block(b"b", "90-0", "91-0"), block(b"c", "1-0", "3-0")
        tell(made, reply(*first))
        assert [entry_id for _, entry_id in handed_over(made)] == [b"1-0", b"2-0", b"3-0"]
        made.ask(1.0, None)
        assert asked(made).positions == {b"a": b"95-0", b"c": b"3-0"}
        full = reply(block(b"a", "96-0", "97-0"), block(b"c", "98-0", "99-0"))
        (command,) = commands_in(tell(made, full))
        assert Read(command).positions == {b"b": b"91-0", b"c": b"99-0"}

    def test_a_guess_that_leaves_out_what_can_be_asked_by_now_is_wrong(self) -> None:
        made = opened(["a", "b"])
        made.ask(0.0, None)
        tell(made, reply(block(b"a", "1-0", "2-0"), block(b"b", "90-0", "91-0")))
        handed_over(made)
        made.ask(1.0, None)
        tell(made, reply(block(b"a", "3-0", "4-0")))
        handed_over(made)
        made.ask(2.0, None)
        assert tell(made, reply(block(b"a", "5-0", "6-0"), block(b"b", "92-0", "93-0")))
        release(made.cursors)
        made.cursors[1].waiting = []  # as if they had been handed over
        made.take_outgoing()
        made.ask(3.0, None)
        assert asked(made).positions == {b"a": b"6-0", b"b": b"93-0"}

    def test_a_guess_for_a_stream_that_was_discarded_is_wrong(self) -> None:
        """Contract 2.5."""
        made = opened(["a", "b"])
        for first, second in ("1", "2"), ("3", "4"):
            made.ask(0.0, None)
            made.take_outgoing()
            ids = f"{first}-0", f"{second}-0"
            sent = tell(made, reply(block(b"a", *ids), block(b"b", *ids)))
            release(made.cursors)
        assert sent
        del made.cursors[1]
        made.ask(1.0, None)
        assert asked(made).positions == {b"a": b"4-0"}

    def test_a_wrong_guess_is_read_and_thrown_away(self) -> None:
        """Contract 3.1: that answer is asked for again."""
        made = self.start()
        assert tell(made, self.SECOND, 2.0)
        release(made.cursors)
        made.cursors[0].fetched = b"3-0"  # as if it had been forged
        made.ask(3.0, 1000)
        assert asked(made).ids == [b"3-0"]
        tell(made, reply(block(b"a", "7-0")) + reply(block(b"a", "4-0", "5-0")), 4.0)
        assert made.failure is None
        assert handed_over(made) == [("a", b"4-0"), ("a", b"5-0")]

    def go_on(self, made: Conversation, number: int, *, is_right: bool) -> bool:
        """Answer a read, and tell whether the next one was sent on a guess; then send it."""
        was_sent = bool(tell(made, reply(block(b"a", f"{number}-0", f"{number}-1"))))
        release(made.cursors)
        if not is_right:
            made.cursors[0].fetched = b"%d-9" % number  # as if it had been forged
        made.ask(0.0, None)
        made.take_outgoing()
        if was_sent and not is_right:
            tell(made, reply())
        return was_sent

    def test_where_guesses_are_wrong_there_are_no_more_until_many_were_right(self) -> None:
        made = self.start()
        guesses = [self.go_on(made, number, is_right=False) for number in range(3, 7)]
        assert guesses == [True, True, False, False]
        made = self.start()
        assert all(self.go_on(made, number, is_right=True) for number in range(3, 19))
        guesses = [self.go_on(made, number, is_right=False) for number in range(19, 23)]
        assert guesses == [True, True, True, False]

    def test_a_wrong_guess_that_was_refused_is_thrown_away_as_well(self) -> None:
        """Contract 5.6: if it is not for the guess alone, the next answer says so again."""
        made = self.start()
        assert tell(made, self.SECOND, 2.0)
        release(made.cursors)
        made.cursors[0].fetched = b"3-0"
        made.ask(3.0, 1000)
        tell(made, b"-ERR Invalid stream ID\r\n" + reply(), 4.0)
        assert made.failure is None
        assert made.is_idle


class TestSilence:
    """Until when silence is fine."""

    def test_nothing_is_awaited_before_anything_was_sent(self) -> None:
        """Contract 5.5: of when it was due; nothing is."""
        assert opened().silent_at is None

    def test_a_read_may_take_as_long_as_it_blocks_and_socket_timeout(self) -> None:
        """Contract 5.5: `socket_timeout` never cuts a blocking read short."""
        made = opened(socket_timeout=3)
        made.ask(100.0, 2000)
        assert made.silent_at == 105.0
        tell(made, reply()[:1], 104.0)
        assert made.silent_at == 107.0

    def test_every_byte_shows_that_the_peer_lives(self) -> None:
        """Contract 5.5: a peer that is silent, not one that is slow."""
        made = opened(["a"], start=None, socket_timeout=3)
        assert made.silent_at == 3.0
        tell(made, b"*", 2.0)
        assert made.silent_at == 5.0

    def test_each_answer_within_the_login_shows_that_the_peer_lives(self) -> None:
        """Contract 5.5."""
        made = opened(password="pw", db=1, socket_timeout=3)
        made.take_outgoing(0.0)
        assert made.silent_at == 3.0
        tell(made, b"+OK\r\n", 2.0)
        assert made.silent_at == 5.0

    def test_it_may_last_for_ever_if_that_is_wanted(self) -> None:
        made = opened(socket_timeout=None)
        made.ask(0.0, 1000)
        assert made.silent_at is None

    def test_a_read_on_a_guess_is_awaited_like_any_other(self) -> None:
        """Contract 5.5."""
        made = TestReadsOnAGuess().start()
        assert tell(made, TestReadsOnAGuess.SECOND, 9.0)
        assert made.silent_at == 14.0
        made.ask(10.0, 1000)
        assert made.silent_at == 14.0


class TestStates:
    """Open, ready, idle, and back."""

    def test_it_begins_closed(self) -> None:
        made = conversation()
        assert (made.is_open, made.is_ready, made.is_idle) == (False, False, False)

    def test_without_anything_to_set_up_it_is_ready_at_once(self) -> None:
        """Contract 6.1."""
        made = opened()
        assert (made.is_open, made.is_ready, made.is_idle) == (True, True, True)
        made.ask(0.0, None)
        assert (made.is_ready, made.is_idle) == (True, False)

    def test_a_connection_is_told_of_once_the_server_has_answered_a_read(self) -> None:
        made = opened()
        assert made.notices == []
        for now in (0.0, 1.0):
            made.ask(now, None)
            tell(made, reply(), now)
            assert made.notices == [(INFO, "connected to localhost:6379")]

    def test_no_connection_in_time_is_a_timeout_and_a_connection_error(self) -> None:
        """Contract 5.1, 5.5."""
        for cause, kind in (
            (OSError("refused"), ConnectionError),
            (builtins.TimeoutError(), TimeoutError),
        ):
            made = conversation()
            made.not_opened(0.0, cause)
            assert type(made.failure) is kind
            assert made.failure.__cause__ is cause

    def test_hello_that_was_answered_is_not_to_blame_for_the_end_of_the_connection(self) -> None:
        """Contract 6.2: only where it is closed over HELLO, another try goes without."""
        made = opened(protocol=3)
        made.take_outgoing()
        made.closed(1.0)
        assert (made.failure, made.is_open) == (None, False)
        made.opened(2.0)
        assert made.take_outgoing() == b""
        made = opened(protocol=3)
        tell(made, encode(Bulk([[b"proto", b"3"]]), 3))
        made.closed(1.0)
        assert isinstance(made.failure, ConnectionError)

    @pytest.mark.parametrize("protocol", [2, 3])
    def test_what_is_no_resp_is_not_shown_where_it_may_be_the_password(self, protocol: int) -> None:
        """Contract 7: until the login has been answered."""
        made = opened(password="open sesame", protocol=protocol)
        tell(made, b"what is open sesame\r\n")
        assert isinstance(made.failure, ProtocolError)
        assert "sesame" not in f"{made.failure} {made.failure.__cause__} {made.notices}"
        made.opened(1.0)
        tell(made, b"+OK\r\n", 1.0)
        made.ask(1.0, None)
        tell(made, b"what is this\r\n", 1.0)
        assert "what is this" in str(made.failure)

    def test_it_is_not_ready_before_every_start_is_known(self) -> None:
        """Contract 2.3: a concrete ID."""
        made = opened(start=None)
        assert (made.is_open, made.is_ready) == (True, False)
        assert asked(made).ids == [b"+"]
        tell(made, reply(block(b"a", "5-0")))
        assert made.is_idle
        assert made.cursors[0].start == made.cursors[0].fetched == b"5-0"

    def test_a_server_that_ends_it_before_any_answer_may_want_tls(self) -> None:
        advice = "(if it is a port for TLS: ssl=True, or rediss://)"
        at_once, answered, over_tls = opened(), opened(), opened(ssl=True)
        answered.ask(0.0, None)
        tell(answered, reply(block(b"a", "1-0")))
        for made in (at_once, answered, over_tls):
            made.closed(1.0)
        assert str(at_once.failure) == f"localhost:6379 closed the connection {advice}"
        assert str(answered.failure) == "localhost:6379 closed the connection"
        assert str(over_tls.failure) == "localhost:6379 closed the connection"
        at_once.opened(2.0)
        at_once.closed(3.0, ConnectionResetError("reset"))
        assert str(at_once.failure).endswith(f": reset {advice}")

    def test_a_server_that_has_answered_before_does_not_want_tls(self) -> None:
        """It was ended, and once more before its first answer."""
        reading, starting = opened(), opened(start=None)
        reading.ask(0.0, None)
        tell(reading, reply(block(b"a", "1-0")))
        tell(starting, reply(block(b"a", "5-0")))
        for made in (reading, starting):
            made.closed(1.0)
            made.opened(2.0)
            made.closed(3.0)
            assert str(made.failure) == "localhost:6379 closed the connection"

    def test_a_handshake_without_an_answer_may_be_with_a_server_without_tls(self) -> None:
        plain, over_tls = conversation(), conversation(ssl=True)
        for made in (plain, over_tls):
            made.not_opened(5.0, builtins.TimeoutError("no answer within 5 s"))
        assert str(plain.failure) == "cannot connect to localhost:6379: no answer within 5 s"
        assert str(over_tls.failure) == f"{plain.failure} (is it a port for TLS?)"

    def test_what_was_not_sent_or_read_of_one_connection_is_not_of_the_next(self) -> None:
        """Contract 5.2: a conversation begins anew with each connection."""
        made = opened(["a"])
        made.ask(0.0, None)
        tell(made, reply(block(b"a", "1-0"))[:-9])
        made.closed(0.5)
        assert isinstance(made.failure, ConnectionError)
        assert "closed the connection after" in str(made.failure)
        assert not made.is_open
        made.failure = None
        made.opened(1.0)
        assert made.take_outgoing() == b""
        made.ask(1.0, None)
        assert asked(made).ids == [b"0-0"]
        tell(made, reply(block(b"a", "1-0")))
        assert made.failure is None
        assert handed_over(made) == [("a", b"1-0")]

    def test_a_connection_that_was_dropped_on_purpose_is_no_failure(self) -> None:
        made = opened()
        made.ask(0.0, None)
        made.abandon()
        assert made.failure is None
        assert not made.is_open
        assert made.take_outgoing() == b""

    def test_bytes_after_a_failure_are_not_read(self) -> None:
        """Contract 5.2: once per failure."""
        made = opened()
        made.ask(0.0, None)
        tell(made, b"!!\r\n" + reply(block(b"a", "1-0")))
        assert isinstance(made.failure, ProtocolError)
        assert made.answered is None
        assert handed_over(made) == []

    def test_a_refusal_that_is_no_streams_fault_is_told_at_once(self) -> None:
        """Contract 5.6."""
        made = opened(["a", "b"])
        made.ask(0.0, None)
        made.take_outgoing()
        tell(made, b"-NOPERM this user has no permissions to run the 'xread' command\r\n")
        assert isinstance(made.failure, ResponseError)
        assert made.failure.stream is None
        assert made.take_outgoing() == b""

    def test_a_refusal_for_good_leaves_it_open(self) -> None:
        """Contract 5.6: the stream at fault is asked for, then it goes on."""
        made = opened(["a", "b"])
        made.ask(0.0, None)
        made.take_outgoing()
        tell(made, b"-WRONGTYPE no\r\n")
        assert not made.is_ready
        assert [Read(command).keys for command in commands_in(made.take_outgoing())] == [
            [b"a"],
            [b"b"],
        ]
        tell(made, reply(block(b"a", "1-0")) + b"-WRONGTYPE no\r\n")
        assert isinstance(made.failure, ResponseError)
        assert (made.failure.code, made.failure.stream) == ("WRONGTYPE", "b")
        assert made.is_idle
        assert made.cursors[0].fetched == b"0-0"


def warnings(made: Conversation) -> list[str]:
    """Take out what was told of streams."""
    told = [text for level, text in made.notices if level == WARNING]
    made.notices.clear()
    return told


def look(made: Conversation, now: float, *blocks: Any) -> list[bytes]:
    """Let it look after streams, and have that answered; return the keys that it asked for."""
    assert made.look_back(now)
    assert not made.is_ready
    keys = asked(made).keys
    tell(made, reply(*blocks), now)
    assert made.is_idle
    return keys


class TestLookingBack:
    """Whether streams have lost what was to be read next."""

    TRIMMED = (
        "stream 'a' at localhost:6379: the oldest entry is 8-0 now, newer than the position 5-1: "
        "it was trimmed, and messages may have been missed"
    )
    REWOUND = (
        "stream 'a' at localhost:6379: there are entries from 1-0 on, but none at the position "
        "5-1 or after it: it may have begun again, and messages may be missed until its IDs pass "
        "the position"
    )

    def test_streams_that_are_silent_for_30_s_are_looked_after_by_one_read(self) -> None:
        made = opened(["a", "b"], start=b"5-1")
        assert not made.look_back(29.9)
        assert not made.look_back(37.3)  # it is not looked whether to look at each read
        assert made.take_outgoing() == b""
        assert look(made, 37.5) == [b"a", b"b", b"a", b"b"]
        assert not made.look_back(67.4)
        assert look(made, 75.0) == [b"a", b"b", b"a", b"b"]

    def test_the_silence_begins_with_the_connection(self) -> None:
        made = conversation(start=b"5-1")
        made.opened(100.0)
        assert not made.look_back(129.9)
        assert look(made, 137.5) == [b"a", b"a"]

    def test_those_that_entries_came_of_are_left_out(self) -> None:
        made = opened(["a", "b"], start=b"5-1")
        made.ask(20.0, None)
        made.take_outgoing()
        tell(made, reply(block(b"a", "6-0")), 20.0)
        release(made.cursors)
        assert look(made, 45.0) == [b"b", b"b"]
        assert look(made, 60.0) == [b"a", b"a"]

    def test_those_that_were_never_at_an_entry_are_left_out(self) -> None:
        """What lies before a point in time was not asked for."""
        made = opened(["a", "b"], start=before(7))
        assert not made.look_back(99.0)
        assert made.is_idle
        assert made.take_outgoing() == b""

    def test_it_waits_for_a_read_on_a_guess(self) -> None:
        made = TestReadsOnAGuess().start()
        assert tell(made, TestReadsOnAGuess.SECOND, 2.0)
        assert not made.look_back(99.0)

    def test_before_the_first_connection_nothing_can_have_been_missed(self) -> None:
        made = opened(start=b"5-1")
        assert made.take_outgoing() == b""
        made.closed(1.0)
        made.failure = None
        made.opened(2.0)
        assert asked(made).keys == [b"a", b"a"]

    @pytest.mark.parametrize(
        ("seen", "text"),
        [(["8-0", "8-0"], TRIMMED), (["1-0"], REWOUND)],
        ids=["trimmed", "rewound"],
    )
    def test_a_gap_is_told_once_until_entries_come_again(self, seen: list[str], text: str) -> None:
        """In words that claim no more than is known."""
        made = opened(start=b"5-1")
        blocks = [block(b"a", entry_id) for entry_id in seen]
        look(made, 100.0, *blocks)
        assert warnings(made) == [text]
        look(made, 200.0, *blocks)
        assert warnings(made) == []
        made.ask(200.0, None)
        made.take_outgoing()
        tell(made, reply(block(b"a", "9-0")), 200.0)
        release(made.cursors)
        look(made, 300.0, *(block(b"a", f"1{entry_id}") for entry_id in seen))
        assert len(warnings(made)) == 1

    def test_another_kind_of_gap_is_told_as_well(self) -> None:
        made = opened(start=b"5-1")
        look(made, 100.0, block(b"a", "8-0"), block(b"a", "8-0"))
        look(made, 200.0, block(b"a", "1-0"))
        assert warnings(made) == [self.TRIMMED, self.REWOUND]

    @pytest.mark.parametrize("on_rewind", ["keep", "restart"])
    def test_a_rewind_restarts_a_stream_of_which_something_was_read_where_told_so(
        self, on_rewind: str
    ) -> None:
        made = opened(["a", "b"], start=b"5-1", on_rewind=on_rewind)
        made.ask(0.0, None)
        made.take_outgoing()
        tell(made, reply(block(b"a", "6-0")))
        release(made.cursors)
        assert made.find_unsettled() == []
        look(made, 100.0, block(b"a", "1-0"), block(b"b", "1-0"))
        assert len(warnings(made)) == 2
        assert len(made.find_unsettled()) == (on_rewind == "restart")
        made.ask(100.0, None)
        start = b"0-0" if on_rewind == "restart" else b"6-0"
        assert asked(made).positions == {b"a": start, b"b": b"5-1"}

    def test_a_stream_that_was_trimmed_is_never_restarted(self) -> None:
        made = opened(start=b"5-1", on_rewind="restart")
        made.ask(0.0, None)
        made.take_outgoing()
        tell(made, reply(block(b"a", "6-0")))
        release(made.cursors)
        look(made, 100.0, block(b"a", "8-0"), block(b"a", "8-0"))
        made.ask(100.0, None)
        assert asked(made).positions == {b"a": b"6-0"}

    def test_a_refusal_that_passes_is_a_failure_and_another_is_left_to_the_next_read(self) -> None:
        """Contract 5.1, 5.6."""
        made = opened(start=b"5-1")
        assert made.look_back(100.0)
        tell(made, b"-WRONGTYPE no\r\n", 100.0)
        assert made.failure is None
        assert made.look_back(200.0)
        tell(made, b"-LOADING wait\r\n", 200.0)
        assert isinstance(made.failure, ConnectionError)
        assert str(made.failure) == "localhost:6379 refused XREAD: LOADING wait"
        assert not made.is_open
