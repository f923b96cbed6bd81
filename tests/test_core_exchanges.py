"""`pystreamredis.core.exchanges`: short dialogues with a server, driven by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystreamredis.core.assignment import Assignment, wants_hello
from pystreamredis.core.exchanges import (
    Gap,
    Refused,
    describe,
    find_failing_stream,
    find_ids_before_last,
    find_last_ids,
    handshake,
    look_back,
)
from pystreamredis.core.session import Session
from pystreamredis.core.stream import StreamState
from pystreamredis.core.topology import Upstream
from pystreamredis.exceptions import (
    AuthenticationError,
    ConnectionError,
    ResponseError,
)
from pystreamredis.options import ConnectionOptions
from pystreamredis.protocol import ProtocolError as WireError
from pystreamredis.protocol import ServerError, encode_xread
from tests.exchanges import Rounds, raised_by, run_with, serving
from tests.simulation import MAX_ID, Server, commands_in, number, reading, written

if TYPE_CHECKING:
    from pystreamredis.core.exchanges import Exchange

ZERO = b"0-0"
SECRET = "open sesame"
# Sixteen probes between two bounds divide what is left of 128 bits by 16 in each
# round trip; to find the order of magnitude first, and to see the end, takes two more.
MOST_ROUNDS = 128 // 4 + 2


def login(*, hello: bool | None = None, **connection: Any) -> Exchange[bool]:
    """The handshake that options ask for."""
    options = ConnectionOptions(**connection)
    hello = wants_hello(options) if hello is None else hello
    return handshake(options, options.address, options.credentials(), hello=hello)


class TestHandshake:
    """Connection set-up: only what was asked for is sent."""

    @pytest.mark.parametrize(
        ("connection", "rounds"),
        [
            ({}, []),
            ({"password": "pw"}, [[[b"AUTH", b"pw"]]]),
            ({"username": "me", "password": "pw"}, [[[b"AUTH", b"me", b"pw"]]]),
            ({"username": "me"}, [[[b"AUTH", b"me", b""]]]),
            # Empty ones are none (contract 6.7).
            ({"username": "", "password": "pw"}, [[[b"AUTH", b"pw"]]]),
            ({"username": ""}, []),
            ({"password": ""}, []),
            ({"client_name": ""}, []),
            ({"protocol": 3, "username": "me"}, [[[b"HELLO", b"3", b"AUTH", b"me", b""]]]),
            ({"password": b"\xff"}, [[[b"AUTH", b"\xff"]]]),
            ({"password": lambda: "asked"}, [[[b"AUTH", b"asked"]]]),
            ({"db": 3}, [[[b"SELECT", b"3"]]]),
            ({"db": 3, "password": "pw"}, [[[b"AUTH", b"pw"], [b"SELECT", b"3"]]]),
            ({"protocol": 3}, [[[b"HELLO", b"3"]]]),
            ({"client_name": "c"}, [[[b"HELLO", b"2", b"SETNAME", b"c"]]]),
            (
                {"protocol": 3, "client_name": "c", "username": "me", "password": "pw"},
                [[[b"HELLO", b"3", b"AUTH", b"me", b"pw", b"SETNAME", b"c"]]],
            ),
            (
                {"protocol": 3, "password": "pw", "db": 1},
                [[[b"HELLO", b"3", b"AUTH", b"default", b"pw"]], [[b"SELECT", b"1"]]],
            ),
        ],
    )
    def test_it_sends_what_was_asked_for_and_no_more(
        self, connection: Any, rounds: list[list[list[bytes]]]
    ) -> None:
        """Contract 6.1: HELLO, AUTH, SELECT; with the defaults nothing."""
        driven = Rounds(Server())
        assert driven.run(login(**connection)) is False
        assert driven.sent == rounds

    @pytest.mark.parametrize(
        "refusal",
        [
            "ERR unknown command 'HELLO', with args beginning with: '3'",
            "NOPROTO unsupported protocol version",
            "ERR unknown command `HELLO`",
            "ERR Protocol version is not an integer or out of range",
        ],
    )
    def test_without_hello_the_login_uses_its_own_commands(self, refusal: str) -> None:
        """Contract 6.2: falls back to RESP2."""
        exchange = login(protocol=3, username="me", password="pw", db=2)
        next(exchange)
        commands = commands_in(b"".join(exchange.send([ServerError(refusal)])))
        assert commands == [[b"AUTH", b"me", b"pw"], [b"SELECT", b"2"]]
        with pytest.raises(StopIteration) as stop:
            exchange.send([b"OK", b"OK"])
        assert stop.value.value is True

    def test_hello_alone_needs_no_other_command_instead(self) -> None:
        """Contract 6.2."""
        assert run_with(login(protocol=3), [ServerError("ERR unknown command")]) is True

    def test_hello_is_not_said_to_a_server_that_does_not_know_it(self) -> None:
        """Contract 6.2: or a closed connection, after which it is not said again."""
        driven = Rounds(Server())
        driven.run(login(hello=False, protocol=3, password="pw"))
        assert driven.sent == [[[b"AUTH", b"pw"]]]

    @pytest.mark.parametrize(
        ("refusal", "kind"),
        [
            ("NOAUTH HELLO must be called with the client authenticated", AuthenticationError),
            ("WRONGPASS invalid username-password pair", AuthenticationError),
            ("DENIED Redis is running in protected mode", ResponseError),
            ("NOPERM this user has no permissions", ResponseError),
            ("LOADING Redis is loading", ConnectionError),
            ("ERR max number of clients reached", ConnectionError),
        ],
    )
    @pytest.mark.parametrize("connection", [{"protocol": 3}, {"password": "pw"}, {"db": 1}])
    def test_a_refusal_that_is_not_about_the_command_is_raised(
        self, refusal: str, kind: type[Exception], connection: Any
    ) -> None:
        """Contract 5.6 and 5.1: for good or for now."""
        error = raised_by(login(**connection), [ServerError(refusal)])
        if connection.get("password"):
            kind = kind if kind is ConnectionError else AuthenticationError
        assert type(error) is kind
        assert str(error).startswith("localhost:6379 refused ")
        assert str(error).endswith(f": {refusal}")

    def test_the_refused_command_is_named(self) -> None:
        """Contract 5.6."""
        error = raised_by(
            login(password="pw", db=99), [b"OK", ServerError("ERR DB index is out of range")]
        )
        assert str(error) == "localhost:6379 refused SELECT 99: ERR DB index is out of range"
        assert type(error) is ResponseError

    @pytest.mark.parametrize(
        ("unknown", "protocol"),
        [({b"AUTH"}, 2), ({b"AUTH", b"HELLO"}, 2), ({b"AUTH", b"HELLO"}, 3)],
    )
    def test_no_password_is_shown_where_a_server_repeats_it(
        self, unknown: set[bytes], protocol: int
    ) -> None:
        """Contract 7: passwords are in no error text; `rename-command AUTH ""` has it there."""
        server = Server()
        server.unknown = unknown
        exchange = login(protocol=protocol, username="me", password=SECRET)
        with pytest.raises(AuthenticationError) as caught:
            Rounds(server).run(exchange)
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("password", [SECRET, SECRET.encode(), lambda: SECRET])
    @pytest.mark.parametrize("connection", [{}, {"protocol": 3, "username": "me"}])
    def test_a_password_is_removed_wherever_it_is_in_an_error(
        self, password: Any, connection: Any
    ) -> None:
        """Contract 7: proxies word their errors in their own ways."""
        error = ServerError(f"NOPERM cannot log in with {SECRET}: no")
        told = str(raised_by(login(password=password, **connection), [error]))
        assert told.endswith("NOPERM cannot log in with (not shown): no")

    def test_no_part_of_a_password_is_shown_where_a_server_cuts_what_it_repeats(self) -> None:
        """Contract 7."""
        error = ServerError(f"ERR unknown command 'AUTH', with args beginning with: '{SECRET[:6]}")
        assert SECRET[:6] not in str(raised_by(login(password=SECRET), [error]))

    @pytest.mark.parametrize("password", ["", None])
    def test_without_a_password_errors_stay_as_they_are(self, password: str | None) -> None:
        exchange = login(password=password, username="me", db=2)
        told = str(raised_by(exchange, [ServerError("ERR no"), b"OK"]))
        assert told == "localhost:6379 refused AUTH: ERR no"


keys = st.sampled_from([b"a", b"b", b"\xff", b"long name"])
# Anywhere in 128 bits; where time is; close to each other; at either end.
entries = st.one_of(
    st.integers(1, MAX_ID),
    st.integers(1_500_000_000_000, 1_900_000_000_000).map(lambda ms: ms << 64),
    st.tuples(st.integers(0, 3), st.integers(0, 3)).map(
        lambda pair: (1_529_416_095_111 + pair[0] << 64) + pair[1]
    ),
    st.integers(1, 40),
    st.integers(MAX_ID - 5, MAX_ID),
    st.integers(0, 127).map(lambda exponent: 1 << exponent),
)
streams = st.dictionaries(keys, st.sets(entries, max_size=12), min_size=1)


def last_of(content: dict[bytes, set[int]]) -> dict[bytes, bytes]:
    return {key: written(max(ids, default=0)) for key, ids in content.items()}


class TestFindLastIds:
    """The search for "now" by XREAD alone."""

    @settings(deadline=None, max_examples=60)
    @given(streams, st.sampled_from([2, 3]))
    def test_one_round_is_enough_on_servers_that_know_plus(
        self, content: dict[bytes, set[int]], resp: int
    ) -> None:
        """Contract 2.3: now is a concrete ID, on Redis >= 7.4 and Valkey >= 8.0."""
        content = {key: ids or {1} for key, ids in content.items()}
        driven = Rounds(serving(content), resp=resp)
        assert driven.run(find_last_ids(list(content))) == last_of(content)
        ((command,),) = driven.sent
        assert command[:4] == [b"XREAD", b"COUNT", b"1", b"STREAMS"]
        assert command[4:] == [*content, *[b"+"] * len(content)]

    @settings(deadline=None, max_examples=150)
    @given(streams, st.sampled_from([2, 3]))
    @example({b"a": {1, MAX_ID}}, 2)
    @example({b"a": {MAX_ID}, b"b": set()}, 2)
    @example({b"a": {1}, b"b": {MAX_ID - 1}, b"long name": {1 << 64}}, 3)
    def test_older_servers_are_searched(self, content: dict[bytes, set[int]], resp: int) -> None:
        """Contract 2.3 and 6.1: "+" is an error there, and nothing but XREAD is sent."""
        driven = Rounds(serving(content, takes_plus=False), resp=resp)
        assert driven.run(find_last_ids(list(content))) == last_of(content)
        assert len(driven.sent) <= 2 + MOST_ROUNDS
        sent = [command for commands in driven.sent for command in commands]
        # Of an entry there is more than its ID. Two are read from the largest ID of a ms on.
        counts = {tuple(command[:4]) for command in sent}
        assert counts <= {(b"XREAD", b"COUNT", count, b"STREAMS") for count in (b"1", b"2")}
        asked = {after for command in sent for after in command[4 + len(command[4:]) // 2 :]}
        assert all(number(after) <= MAX_ID for after in asked - {b"+"})

    @settings(deadline=None, max_examples=100)
    @given(streams, st.data())
    def test_a_server_whose_last_entry_was_deleted_is_searched(
        self, content: dict[bytes, set[int]], data: st.DataObject
    ) -> None:
        """Contract 2.3: Redis 7.4.0, where "+" finds nothing after XDEL of the tail."""
        server = serving(content, loses_tail=True)
        for key, ids in content.items():
            gone: bool = data.draw(st.booleans())
            if ids and gone:
                server.delete(key, max(ids))
                ids.remove(max(ids))
        driven = Rounds(server)
        assert driven.run(find_last_ids(list(content))) == last_of(content)
        assert len(driven.sent) <= 2 + MOST_ROUNDS

    def test_nil_for_plus_does_not_prove_that_a_stream_is_empty(self) -> None:
        """Contract 2.3: otherwise the whole history would be delivered."""
        server = serving({b"a": {5, 9}}, loses_tail=True)
        server.delete(b"a", 9)
        assert Rounds(server).run(find_last_ids([b"a"])) == {b"a": b"0-5"}

    def test_an_empty_stream_starts_at_its_beginning(self) -> None:
        """Contract 2.3: the first message added later has some ID above 0-0."""
        driven = Rounds(Server())
        assert driven.run(find_last_ids([b"a", b"b"])) == {b"a": ZERO, b"b": ZERO}
        assert [commands[0][-1] for commands in driven.sent] == [b"+", ZERO]

    def test_only_streams_without_an_answer_are_searched(self) -> None:
        """One stream with an answer to "+" costs no probes because another has none."""
        driven = Rounds(serving({b"full": {7}}))
        assert driven.run(find_last_ids([b"full", b"none"])) == {b"full": b"0-7", b"none": ZERO}
        assert [command[4:] for command in driven.sent[1]] == [[b"none", ZERO]]

    @settings(deadline=None, max_examples=100)
    @given(streams, st.data())
    def test_an_entry_added_meanwhile_is_on_either_side_of_now(
        self, content: dict[bytes, set[int]], data: st.DataObject
    ) -> None:
        """Contract 2.3: no message that was there before comes after now, and no round too many.

        What is added between two probes may count as before or after; what is added
        once the search is over comes after it in any case, having a larger ID.
        """
        server = serving(content, takes_plus=False)
        before = last_of(content)
        steps = data.draw(st.lists(st.tuples(st.sampled_from([*content]), entries), max_size=30))

        def add() -> None:
            if steps:
                key, step = steps.pop()
                entry = max(content[key], default=0) + step
                if entry <= MAX_ID:
                    content[key].add(server.add(key, entry))

        server.before_each = add
        driven = Rounds(server)
        found = driven.run(find_last_ids(list(content)))
        for key, entry_id in found.items():
            assert number(before[key]) <= number(entry_id)
            assert entry_id == ZERO or number(entry_id) in content[key]
        assert len(driven.sent) <= 2 + MOST_ROUNDS

    @pytest.mark.parametrize("after", [1, 2, 3, 4])
    @pytest.mark.parametrize(
        "text", ["NOPERM no", "WRONGTYPE no", "LOADING wait", "ERR max number of clients"]
    )
    def test_a_refusal_at_any_point_is_raised(self, after: int, text: str) -> None:
        """Contract 5.6: the streams may have to be asked one by one, so it is passed on."""
        server = serving({b"a": {1, 1 << 70}}, takes_plus=False)
        countdown = iter(range(after - 1, -1, -1))

        def refuse() -> None:
            if next(countdown, None) == 0:
                server.refusals.append(f"-{text}")

        server.before_each = refuse
        with pytest.raises(Refused, match=rf"^{text}$") as caught:
            Rounds(server).run(find_last_ids([b"a"]))
        assert caught.value.error == ServerError(text)

    @pytest.mark.parametrize("reply", [b"OK", 5, [[b"other", []]], [[b"a", [[b"x", []]]]]])
    def test_a_reply_that_does_not_answer_xread_is_a_protocol_error(self, reply: Any) -> None:
        """Contract 5.1: a reply that is not RESP, or not to what was asked."""
        assert isinstance(raised_by(find_last_ids([b"a"]), [reply]), WireError)

    def test_an_entry_before_the_id_asked_for_ends_the_search(self) -> None:
        """Contract 7: or a peer could have it go on for as many rounds as there may be."""
        exchange = find_last_ids([b"a"])
        next(exchange)
        exchange.send([ServerError("ERR Invalid stream ID")])
        probes = commands_in(b"".join(exchange.send([[[b"a", [[b"5-0", []]]]]])))
        after = probes[0][-1]
        replies: list[Any] = [[[b"a", [[after, []]]]], *[None] * (len(probes) - 1)]
        with pytest.raises(WireError, match=r"entry b'5-0', expected one after b'5-0'"):
            exchange.send(replies)


class TestFindIdsBeforeLast:
    """The search for the n-th message from the end by XREAD alone."""

    @settings(deadline=None, max_examples=150)
    @given(streams, st.integers(1, 14), st.sampled_from([2, 3]), st.booleans())
    @example({b"a": {1, MAX_ID}}, 1, 2, False)
    @example({b"a": {MAX_ID - 1, MAX_ID}, b"b": set()}, 2, 2, True)
    @example({b"a": {2**64 - 1, 2**64, 2**64 + 1}}, 2, 3, True)
    def test_the_entry_before_them_is_found_in_any_history(
        self, content: dict[bytes, set[int]], n: int, resp: int, takes_plus: bool
    ) -> None:
        """Contract 2.2: dense, sparse or empty; 0-0 where there are no more than n entries."""
        driven = Rounds(serving(content, takes_plus=takes_plus), resp=resp)
        last = driven.run(find_last_ids(list(content)))
        driven.sent.clear()
        assert driven.run(find_ids_before_last(last, n)) == {
            key: written(sorted(ids)[-n - 1] if len(ids) > n else 0) for key, ids in content.items()
        }
        # The probe midway halves what is left of 128 bits.
        assert len(driven.sent) <= 128
        sent = [command for commands in driven.sent for command in commands]
        assert {tuple(command[:4]) for command in sent} <= {
            (b"XREAD", b"COUNT", b"%d" % count, b"STREAMS") for count in (2 * n + 2, n + 1)
        }

    @pytest.mark.parametrize(
        "ids",
        [
            {(1_700_000_000_000 + 100 * at) << 64 for at in range(3000)},
            {(1_700_000_000_000 << 64) + at for at in range(3000)},
            {1_700_000_000_000 + 3_600_000 * (at // 50) + at % 50 << 64 for at in range(3000)},
            set(range(1, 3000)),
        ],
        ids=["a rate", "one ms", "bursts", "small"],
    )
    @pytest.mark.parametrize("n", [1, 10, 100])
    def test_few_rounds_are_enough_where_entries_lie_as_they_do(
        self, ids: set[int], n: int
    ) -> None:
        driven = Rounds(serving({b"a": ids}))
        found = driven.run(find_ids_before_last({b"a": written(max(ids))}, n))
        assert found == {b"a": written(sorted(ids)[-n - 1])}
        assert len(driven.sent) <= 8

    @pytest.mark.parametrize("n", [999, 1000, 1001, 2500, 4999, 5000, 10**9])
    def test_many_entries_are_counted_in_small_replies(self, n: int) -> None:
        """Contract 2.2, 3.4."""
        driven = Rounds(serving({b"a": set(range(1, 5001)), b"b": {7}}))
        found = driven.run(find_ids_before_last({b"a": written(5000), b"b": written(7)}, n))
        assert found == {b"a": written(max(0, 5000 - n)), b"b": ZERO}
        counts = [int(command[2]) for commands in driven.sent for command in commands]
        assert max(counts) <= 2002

    @pytest.mark.parametrize("length", [9, 10, 1000])
    @pytest.mark.parametrize("n", [1, 4])
    def test_replies_as_long_as_count_allows_are_not_at_the_end(self, length: int, n: int) -> None:
        """Contract 2.2: so many entries close together that no reply has all of them."""
        driven = Rounds(serving({b"a": set(range(1, length + 1))}))
        found = driven.run(find_ids_before_last({b"a": written(length)}, n))
        assert found == {b"a": written(length - n)}

    def test_a_stream_without_more_entries_takes_one_round_and_a_look(self) -> None:
        """The first round reads it from its beginning, and the look counts again."""
        driven = Rounds(serving({b"a": set(range(1, 6)), b"b": {1 << 70}}))
        last = {b"a": b"0-5", b"b": b"64-0"}
        assert driven.run(find_ids_before_last(last, 5)) == {b"a": ZERO, b"b": ZERO}
        assert len(driven.sent) == 2

    @settings(deadline=None, max_examples=100)
    @given(streams, st.integers(1, 8), st.data())
    def test_no_fewer_entries_come_and_no_more_than_were_added_meanwhile(
        self, content: dict[bytes, set[int]], n: int, data: st.DataObject
    ) -> None:
        """Contract 2.2, 2.3: what is added during the search takes nothing away."""
        before = {key: sorted(ids) for key, ids in content.items()}
        server = serving(content, takes_plus=False)
        driven = Rounds(server)
        last = driven.run(find_last_ids(list(content)))
        steps = data.draw(st.lists(st.tuples(st.sampled_from([*content]), entries), max_size=30))

        def add() -> None:
            if steps:
                key, step = steps.pop()
                entry = max(content[key], default=0) + step
                if entry <= MAX_ID:
                    content[key].add(server.add(key, entry))

        server.before_each = add
        for key, entry_id in driven.run(find_ids_before_last(last, n)).items():
            come = [entry for entry in sorted(content[key]) if entry > number(entry_id)]
            fresh = content[key].difference(before[key])
            assert min(n, len(before[key])) <= len(come) <= n + len(fresh)

    @pytest.mark.parametrize("text", ["NOPERM no", "LOADING wait"])
    def test_a_refusal_is_raised(self, text: str) -> None:
        """Contract 5.6: the streams may have to be asked one by one, so it is passed on."""
        server = serving({b"a": {1, 2, 3}})
        server.refusals.append(f"-{text}")
        with pytest.raises(Refused, match=rf"^{text}$"):
            Rounds(server).run(find_ids_before_last({b"a": b"0-3"}, 1))

    def test_an_entry_before_the_id_asked_for_ends_the_search(self) -> None:
        """Contract 7: or a peer could have it go on for as many rounds as there may be."""
        exchange = find_ids_before_last({b"a": b"9-0"}, 1)
        probes = commands_in(b"".join(next(exchange)))
        after = probes[0][-1]
        replies: list[Any] = [[[b"a", [[after, []]]]], *[None] * (len(probes) - 1)]
        with pytest.raises(WireError, match=r"expected one after"):
            exchange.send(replies)


class TestFindFailingStream:
    """The search for the stream that has an XREAD over several refused."""

    @pytest.mark.parametrize("guilty", [b"a", b"b", b"c"])
    def test_the_stream_that_is_refused_by_itself_is_found(self, guilty: bytes) -> None:
        """Contract 5.6: the stream's name where one stream is at fault."""
        server = Server()
        server.at_fault[guilty] = "-WRONGTYPE Operation against a key"
        driven = Rounds(server)
        positions = {b"a": b"1-1", b"b": b"2-2", b"c": ZERO}
        error = ServerError("WRONGTYPE Operation against a key")
        assert driven.run(find_failing_stream(positions, error)) == guilty
        (commands,) = driven.sent
        assert commands == [
            [b"XREAD", b"COUNT", b"1", b"STREAMS", key, at] for key, at in positions.items()
        ]

    def test_a_stream_with_another_error_is_passed_over(self) -> None:
        """Contract 5.6."""
        server = Server()
        server.at_fault = {b"a": "-WRONGTYPE no", b"b": "-NOPERM no"}
        exchange = find_failing_stream({b"a": ZERO, b"b": ZERO}, ServerError("NOPERM no"))
        assert Rounds(server).run(exchange) == b"b"

    def test_an_error_that_has_passed_belongs_to_no_stream(self) -> None:
        exchange = find_failing_stream({b"a": ZERO, b"b": ZERO}, ServerError("WRONGTYPE no"))
        assert Rounds(Server()).run(exchange) is None


class TestDialogue:
    """All that a session asks besides reads."""

    def test_replies_are_passed_on_all_at_once(self) -> None:
        passed: list[Any] = []

        def exchange() -> Exchange[None]:
            passed.append((yield [b"1", b"2"]))
            passed.append((yield [b"3"]))

        session = opened()
        dialogue = session.dialogue
        dialogue.run(exchange())
        assert session.outgoing == [b"1", b"2"]
        assert not session.is_ready
        assert not dialogue.take("one")
        assert dialogue.take("two")
        dialogue.advance()
        assert session.outgoing == [b"1", b"2", b"3"]
        assert dialogue.take("three")
        dialogue.advance()
        assert session.is_ready
        assert dialogue.exchange is None
        assert passed == [["one", "two"], ["three"]]

    def test_nothing_is_under_way_where_no_login_is_needed(self) -> None:
        dialogue = opened().dialogue
        assert dialogue.exchange is None
        assert not dialogue.is_hello
        assert (dialogue.received_before, dialogue.max_entries) == (0, 0)
        assert dialogue.newcomers == []

    def test_close_ends_the_exchange(self) -> None:
        ended: list[bool] = []

        def exchange() -> Exchange[None]:
            try:
                yield [b"1"]
            finally:
                ended.append(True)

        dialogue = opened().dialogue
        dialogue.run(exchange())
        dialogue.close()
        assert ended == [True]
        assert dialogue.exchange is None


def opened() -> Session:
    """Open a session that has nothing to log in with, and nothing to pin."""
    upstream = Upstream(None, ConnectionOptions(), reading())
    assignment = Assignment(upstream, upstream.options, None)
    assignment.assign([StreamState("a", b"a", ZERO)])
    return Session(assignment, "localhost:6379", 0.0)


def _entry(entry_id: bytes) -> list[Any]:
    return [entry_id, [b"f", b"v"]]


class TestLookBack:
    """The check whether streams still hold the entries that were read last."""

    def test_one_read_asks_for_the_oldest_entry_and_the_last_one_read(self) -> None:
        driven = Rounds(serving({b"a": {5 << 64}, b"b": {7}}))
        assert driven.run(look_back({b"a": b"5-0", b"b": b"0-7"}, 1000)) == {}
        ((command,),) = driven.sent
        assert command[:4] == [b"XREAD", b"COUNT", b"1", b"STREAMS"]
        before = b"4-18446744073709551615"
        assert command[4:] == [b"a", b"b", b"a", b"b", ZERO, ZERO, before, b"0-6"]

    @pytest.mark.parametrize(
        ("seen", "kind", "oldest"),
        [
            # The oldest entry, and the first from the position on.
            ([b"1-0", b"5-0"], None, None),
            ([b"5-0", b"5-0"], None, None),
            ([b"1-0", b"9-0"], None, None),  # it was deleted: by itself that is no gap
            ([b"1-0"], "rewound", b"1-0"),
            ([b"4-18446744073709551615"], "rewound", b"4-18446744073709551615"),
            ([b"5-1", b"5-1"], "trimmed", b"5-1"),
            ([b"9-0", b"10-0"], "trimmed", b"9-0"),
            ([b"10-0", b"9-0"], "trimmed", b"9-0"),  # in whichever order they come
            ([b"9-0"], "trimmed", b"9-0"),
            ([b"5-0"], None, None),
            ([], None, None),  # empty, or not there: it is not known that anything was missed
        ],
    )
    def test_the_entries_found_say_what_may_have_happened(
        self, seen: list[bytes], kind: str | None, oldest: bytes | None
    ) -> None:
        blocks: list[Any] = [[b"a", [_entry(entry_id)]] for entry_id in seen]
        gaps = run_with(look_back({b"a": b"5-0"}, 1000), [blocks or None])
        assert {key: (gap.kind, gap.oldest) for key, gap in gaps.items()} == (
            {} if kind is None else {b"a": (kind, oldest)}
        )

    def test_each_stream_is_checked_by_itself(self) -> None:
        reply = [
            [b"a", [_entry(b"1-0")]],
            [b"b", [_entry(b"1-0")]],
            [b"c", [_entry(b"8-0")]],
            [b"b", [_entry(b"5-0")]],
            [b"c", [_entry(b"8-0")]],
        ]
        gaps = run_with(look_back(dict.fromkeys([b"a", b"b", b"c", b"d"], b"5-0"), 1000), [reply])
        assert {key: gap.kind for key, gap in gaps.items()} == {b"a": "rewound", b"c": "trimmed"}

    def test_no_reply_holds_more_entries_than_allowed(self) -> None:
        exchange = look_back({b"a": b"5-0", b"b": b"5-0"}, 3)
        assert next(exchange) == [
            encode_xread([b"a", b"b", b"a"], [b"0-0", b"0-0", b"4-18446744073709551615"], count=1),
            encode_xread([b"b"], [b"4-18446744073709551615"], count=1),
        ]
        with pytest.raises(StopIteration) as ended:
            exchange.send(
                [[[b"a", [_entry(b"1-0")]], [b"b", [_entry(b"1-0")]]], [[b"b", [_entry(b"5-0")]]]]
            )
        assert {key: gap.kind for key, gap in ended.value.value.items()} == {b"a": "rewound"}

    def test_only_a_temporary_refusal_is_raised(self) -> None:
        error = ServerError("LOADING wait")
        exchange = look_back({b"a": b"5-0"}, 1000)
        next(exchange)
        with pytest.raises(Refused) as caught:
            exchange.send([error])
        assert caught.value.error is error
        assert run_with(look_back({b"a": b"5-0"}, 1000), [ServerError("WRONGTYPE no")]) == {}


class TestDescribe:
    """The line for the log: all that is known, and no more."""

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            (
                "trimmed",
                "stream 'a\\nb' at here:1: the oldest entry is 8-0 now, newer than the position "
                "5-1: it was most likely trimmed, and messages may have been missed",
            ),
            (
                "rewound",
                "stream 'a\\nb' at here:1: there are entries from 8-0 on, but none at the position "
                "5-1 or after it: it may have begun again, and messages may be missed until its "
                "IDs pass the position",
            ),
        ],
    )
    def test_it_names_the_stream_the_position_and_the_oldest_entry(
        self, kind: str, text: str
    ) -> None:
        stream = StreamState("a\nb", b"a\nb", b"5-1")
        assert describe(stream, Gap(kind, b"8-0"), "here:1") == text
