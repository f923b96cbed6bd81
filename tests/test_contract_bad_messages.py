"""Contract 3.5: a message that cannot be made is raised in its place, and stops no other."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, MessageError, Redis, RedisError, Streams
from tests.answers import Nodes, Store, positions_of, send_plainly
from tests.peer import Peer
from tests.scripted import at
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Pairs = Iterable[tuple[bytes, bytes]]

COUNTS = pytest.mark.parametrize("count", [1, 2, 3, 100])


class Custom(Exception):
    """What the library knows nothing about."""


def numbers(pairs: Pairs) -> dict[bytes, int]:
    """Raise a ValueError for what is no number."""
    return {field: int(value) for field, value in pairs}


def first_digit(pairs: Pairs) -> bytes:
    """Raise a StopIteration where no value is a digit."""
    return next(value for _, value in pairs if value.isdigit())


def customized(pairs: Pairs) -> dict[bytes, bytes]:
    """Raise an exception of one's own."""
    data = dict(pairs)
    if data[b"n"] == b"bad":
        raise Custom(data)
    return data


CAUSES: list[tuple[Callable[[Pairs], Any], type[Exception]]] = [
    (numbers, ValueError),
    (first_digit, StopIteration),
    (customized, Custom),
]
EACH = pytest.mark.parametrize(("fields", "cause"), CAUSES, ids=lambda it: it.__name__)


def history(length: int, *bad: int, sequence: int = 0) -> list[tuple[str, list[bytes]]]:
    """Return entries with the IDs 1-0, 2-0 and so on, some of them bad."""
    return [
        (f"{n}-{sequence}", [b"n", b"bad" if n in bad else b"%d" % n]) for n in range(1, length + 1)
    ]


def drain(streams: Any, times: int) -> list[str]:
    """Return what comes of so many calls of next()."""
    found = []
    for _ in range(times):
        try:
            message = next(streams)
        except StopIteration:
            found.append("end")
        except MessageError as error:
            found.append(described(error))
        else:
            found.append(f"{message[0]} {text_of(message[1])}")
    return found


def described(error: MessageError) -> str:
    """Return the error as `drain` has it."""
    name: Any = error.stream
    return f"bad {name} {text_of(error.id)}"


def text_of(entry_id: str | bytes) -> str:
    """Return an ID as text."""
    return entry_id if isinstance(entry_id, str) else entry_id.decode()


def expected_of(length: int, *bad: int, name: str = "s") -> list[str]:
    """Return what `drain` makes of such a history."""
    return [f"{'bad ' if n in bad else ''}{name} {n}-0" for n in range(1, length + 1)]


PLACES = [(1,), (3,), (6,), (1, 2, 3), (2, 3, 5), (5, 6), (1, 2, 3, 4, 5, 6)]


@COUNTS
@pytest.mark.parametrize("bad", PLACES)
@EACH
def test_a_bad_message_is_raised_in_its_place(
    fields: Callable[[Pairs], Any], cause: type[Exception], bad: tuple[int, ...], count: int
) -> None:
    """Contract 3.5, 3.4: what is before it comes first, what is after it comes then."""
    peer = Peer(Store({"s": history(6, *bad)}))
    with peer, Streams(**at(peer), s=0, block=20, count=count, fields=fields) as streams:
        assert drain(streams, 8) == [*expected_of(6, *bad), "end", "end"]
        # The connection is as good as before.
        assert peer.connections == 1
        assert positions_of(streams) == {"s": "6-0"}


@pytest.mark.parametrize("raising", [True, False])
@EACH
def test_the_error_says_which_message_it_was(
    fields: Callable[[Pairs], Any], cause: type[Exception], raising: bool
) -> None:
    """Contract 3.5: raised where failures are returned, too; it is no failure of a connection."""
    with (
        Peer(Store({"s": history(3, 2)})) as peer,
        Streams(
            **at(peer), s=0, block=20, fields=fields, raise_connection_exceptions=raising
        ) as streams,
    ):
        next(streams)
        with pytest.raises(MessageError) as caught:
            next(streams)
        error = caught.value
        assert isinstance(error, RedisError)
        assert not isinstance(error, ConnectionError)
        assert (error.stream, error.id) == ("s", b"2-0")
        assert [tuple(pair) for pair in error.pairs] == [(b"n", b"bad")]
        assert isinstance(error.__cause__, cause)
        assert "'s'" in str(error)
        assert "2-0" in str(error)
        # The next one is the last that has come, or the bad one: it goes on after it either way.
        assert positions_of(streams)["s"] in ("1-0", "2-0")
        assert next(streams)[1] == b"3-0"
        assert positions_of(streams) == {"s": "3-0"}


@COUNTS
@pytest.mark.parametrize("where", ["value", "field"])
def test_strict_decoding_fails_for_one_message_alone(count: int, where: str) -> None:
    """Contract 3.5, 1.2: with the raw pairs, which may be decoded in another way."""
    spoilt = [b"n", b"\xff"] if where == "value" else [b"\xff", b"n"]
    held = [("1-0", [b"n", b"1"]), ("2-0", spoilt), ("3-0", spoilt), ("4-0", [b"n", b"4"])]
    options: dict[str, Any] = {"decode_responses": True, "encoding_errors": "strict"}
    with (
        Peer(Store({"s": held})) as peer,
        Streams(**at(peer), s=0, block=2000, count=count, **options) as streams,
    ):
        assert next(streams) == ("s", "1-0", {"n": "1"})
        for entry_id in ("2-0", "3-0"):
            with pytest.raises(MessageError) as caught:
                next(streams)
            assert (caught.value.stream, caught.value.id) == ("s", entry_id)
            assert [tuple(pair) for pair in caught.value.pairs] == [tuple(spoilt)]
            assert isinstance(caught.value.__cause__, UnicodeDecodeError)
        assert next(streams) == ("s", "4-0", {"n": "4"})
        assert streams.positions == {"s": "4-0"}
        assert peer.connections == 1


@COUNTS
@pytest.mark.parametrize("bad", [(1,), (3,), (5,), (2, 3), (1, 2, 3, 4, 5)])
def test_other_streams_are_merged_with_the_bad_messages(count: int, bad: tuple[int, ...]) -> None:
    """Contract 3.5, 3.2: a bad message has its place in the order."""
    held = {"s": history(5, *bad), "t": history(5, sequence=5), "u": history(5, 4, sequence=7)}
    expected = []
    for n in range(1, 6):
        expected.append(f"{'bad ' if n in bad else ''}s {n}-0")
        expected.append(f"t {n}-5")
        expected.append(f"{'bad ' if n == 4 else ''}u {n}-7")
    with (
        Peer(Store(held)) as peer,
        Streams(**at(peer), s=0, t=0, u=0, block=20, count=count, fields=numbers) as streams,
    ):
        assert drain(streams, 17) == [*expected, "end", "end"]
        assert peer.connections == 1
        assert positions_of(streams) == {"s": "5-0", "t": "5-5", "u": "5-7"}


@COUNTS
@EACH
def test_a_for_loop_goes_on_after_the_error(
    fields: Callable[[Pairs], Any], cause: type[Exception], count: int
) -> None:
    """Contract 3.5: each loop ends with the error, never silently; the next one is after it."""
    bad = (3, 4, 40, 250)
    rounds: list[list[int]] = []
    errors = []
    with (
        Peer(Store({"s": history(300, *bad)})) as peer,
        Streams(**at(peer), s=0, block=20, count=count, fields=fields) as streams,
    ):
        for _ in range(len(bad) + 1):
            rounds.append([])
            try:
                for message in streams:
                    rounds[-1].append(int(message[1].partition(b"-")[0]))
            except MessageError as error:
                errors.append(error.id)
        assert errors == [b"%d-0" % n for n in bad]
        assert rounds == [
            list(range(1, 3)),
            [],
            list(range(5, 40)),
            list(range(41, 250)),
            list(range(251, 301)),
        ]


@pytest.mark.parametrize("stop_on_timeout", [True, False])
@pytest.mark.parametrize("hold", [0, 30])
def test_a_bad_message_that_is_written_is_raised_when_its_turn_comes(
    hold: int, stop_on_timeout: bool
) -> None:
    """Contract 3.5, 4.2, 3.3: live, with ends or timeouts in between, and kept back by `hold`."""
    store = Store({"s": [], "t": []})
    options: dict[str, Any] = {"stop_on_timeout": stop_on_timeout, "timeout_response": ("", b"end")}
    found: list[str] = []
    with (
        Peer(store) as peer,
        Streams(**at(peer), s=0, t=0, block=20, hold=hold, fields=numbers, **options) as streams,
    ):
        assert len(drain(streams, 2)) == 2
        for n in range(1, 7):
            store.add("st"[n % 2], f"{n}-0", b"n", b"bad" if n in (2, 5) else b"1")
            for _ in range(100):
                found += [item for item in drain(streams, 1) if "end" not in item]
                if len(found) == n:
                    break
        assert found == ["t 1-0", "bad s 2-0", "t 3-0", "s 4-0", "bad t 5-0", "s 6-0"]
        assert peer.connections == 1


def test_a_bad_message_wakes_who_waits_without_end() -> None:
    """Contract 3.5, 4.1: `block=0`."""
    store = Store({"s": []})
    found: list[str] = []
    ends: list[BaseException] = []

    def read(streams: Any) -> None:
        try:
            for _ in range(2):
                found.extend(drain(streams, 1))
        except BaseException as error:  # noqa: BLE001  # it is looked at below
            ends.append(error)

    with Peer(store) as peer, Streams(**at(peer), s=0, block=0, fields=numbers) as streams:
        reader = Thread(target=read, args=(streams,))
        reader.start()
        wait_until(lambda: store.requests)
        store.add("s", "1-0", b"n", b"bad")
        wait_until(lambda: found or ends)
        store.add("s", "2-0", b"n", b"2")
        reader.join(LONG)
    assert (found, ends) == (["bad s 1-0", "s 2-0"], [])


def test_bad_messages_of_one_source_disturb_no_other() -> None:
    """Contract 3.5: neither its messages nor its connection."""
    with (
        Peer(Store({"s": history(5, 1, 3, 5)})) as one,
        Peer(Store({"s": history(5, sequence=1)})) as two,
        Streams.from_sources(
            {"one": Redis(**at(one)), "two": Redis(**at(two))}, {"s": 0}, block=50, fields=numbers
        ) as streams,
    ):
        found = drain(streams, 11)
        assert (one.connections, two.connections) == (1, 1)
    first, second = ("one", "s"), ("two", "s")
    assert [item for item in found if str(first) in item] == [
        f"{'bad ' if n % 2 else ''}{first} {n}-0" for n in range(1, 6)
    ]
    assert [item for item in found if str(second) in item] == [
        f"{second} {n}-1" for n in range(1, 6)
    ]
    assert found[-1] == "end"


@pytest.mark.parametrize("connections", [1, 2])
def test_bad_messages_disturb_no_other_connection(connections: int) -> None:
    """Contract 3.5: several connections, and several nodes of a cluster."""
    held = {"s0": history(20, 1, 7, 20), "s1": history(20, sequence=1), "s2": history(20, 9)}
    with (
        Peer(Store(held)) as peer,
        Streams(
            **at(peer),
            streams=dict.fromkeys(held, 0),
            block=50,
            count=3,
            fields=numbers,
            connections=connections,
        ) as streams,
    ):
        alone = drain(streams, 61)
        assert peer.connections == connections
    with (
        Nodes(held, {"s0": 0, "s1": 0, "s2": 1}, send_plainly) as nodes,
        Streams(
            **nodes.options,
            streams=dict.fromkeys(held, 0),
            block=50,
            count=3,
            fields=numbers,
            connections=connections,
        ) as streams,
    ):
        of_cluster = drain(streams, 61)
    for found in (alone, of_cluster):
        assert found[-1] == "end"
        for name, bad, sequence in (("s0", (1, 7, 20), 0), ("s1", (), 1), ("s2", (9,), 0)):
            assert [item for item in found if name in item] == [
                f"{'bad ' if n in bad else ''}{name} {n}-{sequence}" for n in range(1, 21)
            ]


def test_reading_on_from_positions_after_an_error_loses_nothing() -> None:
    """Contract 3.5, 2.4: the bad message is met again at most; all that are good come once."""
    with Peer(Store({"s": history(6, 3), "t": history(6, sequence=1)})) as peer:
        positions: dict[str, Any] = {"s": 0, "t": 0}
        found: list[str] = []
        for _ in range(4):
            with Streams(**at(peer), streams=positions, block=20, fields=numbers) as streams:
                while (item := drain(streams, 1)[0]) != "end":
                    found.append(item)
                    if item.startswith("bad"):
                        break
                positions = streams.positions
                if item == "end":
                    break
                # By one message more, it is passed even where it was met again.
                found += drain(streams, 1)
                positions = streams.positions
    assert [item for item in found if "bad" not in item] == [
        f"{name} {n}-{sequence}"
        for n in range(1, 7)
        for name, sequence in (("s", 0), ("t", 1))
        if (name, n) != ("s", 3)
    ]


def test_discarding_drops_the_bad_messages_too() -> None:
    """Contract 3.5, 2.5: those that were not raised yet."""
    with (
        Peer(Store({"s": history(5, 2, 3, 4), "t": history(5, sequence=1)})) as peer,
        Streams(**at(peer), s=0, t=0, block=20, fields=numbers) as streams,
    ):
        assert drain(streams, 3) == ["s 1-0", "t 1-1", "bad s 2-0"]
        streams.discard("s")
        assert drain(streams, 5) == ["t 2-1", "t 3-1", "t 4-1", "t 5-1", "end"]


def test_the_connection_breaks_after_a_bad_message() -> None:
    """Contract 3.5, 5.2: what was raised already is not raised again."""

    def send(conversation: Any, request: Any, answer: Callable[[], bytes]) -> None:
        conversation.send(answer())
        if request.number == 1:
            conversation.close()

    with (
        Peer(Store({"s": history(6, 2, 3)}, send)) as peer,
        Streams(
            **at(peer), s=0, block=20, count=3, fields=numbers, raise_connection_exceptions=False
        ) as streams,
    ):
        found: list[str] = []
        while len(found) < 6:
            try:
                item = next(streams)
            except MessageError as error:
                found.append(described(error))
                continue
            if isinstance(item, tuple):
                found.append(f"{item[0]} {text_of(item[1])}")
        assert found == expected_of(6, 2, 3)


@pytest.mark.parametrize("name", [b"\xff", b"n\xff"])
@pytest.mark.parametrize("value", [b"1", b"\xff"])
def test_field_names_that_are_not_text_stop_no_others(name: bytes, value: bytes) -> None:
    """Contract 3.5: also where so many entries have them that a pattern would be made."""
    bad = [(f"{n}-0", [name, value]) for n in range(1, 101)]
    good = [(f"{n}-1", [b"n", b"%d" % n]) for n in range(1, 101)]
    options: dict[str, Any] = {"decode_responses": True, "encoding_errors": "strict", "block": None}
    with (
        Peer(Store({"bad": bad, "good": good})) as peer,
        Streams(**at(peer), bad=0, good=0, **options) as streams,
    ):
        found: list[tuple[Any, str]] = []
        unmade = []
        while len(found) < 200:
            try:
                message = next(streams)
            except MessageError as error:
                unmade.append(error.pairs)
                found.append((error.stream, str(error.id)))
            else:
                found.append(message[:2])
        assert found == [
            (stream, f"{n}-{at}")
            for n in range(1, 101)
            for at, stream in enumerate(("bad", "good"))
        ]
        assert peer.connections == 1
