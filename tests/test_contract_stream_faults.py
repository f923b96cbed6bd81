"""Streams that are at fault one by one: refused, trimmed, or begun again."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from pystreamredis import ConnectionError, ResponseError, Streams
from pystreamredis.core import exchanges
from tests.proxy import Proxy
from tests.scripted import at, next_item, take
from tests.servers import LONG, wait_until

if TYPE_CHECKING:
    from tests.servers import Endpoint, Server

LOGGER = "pystreamredis"
TIME = 1_530_403_200_000  # ms


def follow(server: Endpoint, **options: Any) -> Streams:
    """Follow streams of a server, without long waits."""
    return Streams(**(server.options | {"block": 30} | options))


def write(server: Endpoint, stream: str, *ids: str) -> None:
    for entry_id in ids:
        server.command("XADD", stream, entry_id, "f", "v")


def names_and_ids(messages: list[Any]) -> list[tuple[str, bytes]]:
    return [(name, entry_id) for name, entry_id, _ in messages]


def read_on(streams: Streams, found: list[Any]) -> None:
    """Read until it raises: a read that was on its way already may have passed."""
    for _ in range(5):
        for message in streams:
            found.append(message)  # noqa: PERF402  # kept when it raises


def reconnect(server: Endpoint, streams: Streams) -> list[Any]:
    """Break the connection; return what comes until there is nothing more."""
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    found: list[Any] = []
    deadline = monotonic() + LONG
    failed = False
    while monotonic() < deadline:
        try:
            found += streams
        except ConnectionError:
            failed = True
        else:
            if failed:
                return found
    raise AssertionError("the connection did not break")


class Log:
    """The warnings of the library, but for those of the connection."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def warnings(self) -> list[str]:
        records = [record for record in self._caplog.records if record.name == LOGGER]
        texts = [record.getMessage() for record in records if record.levelno == logging.WARNING]
        return [text for text in texts if text.startswith("stream ")]

    def take(self, *words: str) -> None:
        """Look that there is one warning, with these words, and forget it."""
        (warning,) = self.warnings
        assert [word for word in words if word not in warning] == [], warning
        self._caplog.clear()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.DEBUG, LOGGER)
    return Log(caplog)


# One key that is at fault.


@pytest.mark.parametrize("raising", [True, False])
def test_set_over_a_followed_key_names_it_and_the_others_go_on_without_it(
    embedded: Endpoint, raising: bool
) -> None:
    """Contract 5.6, 2.5: it is raised in either mode; dropped, and followed again once repaired."""
    write(embedded, "a", "1-0")
    write(embedded, "b", "2-0")
    with follow(embedded, a=0, b=0, c=0, raise_connection_exceptions=raising) as streams:
        found = take(streams, 2)
        embedded.command("SET", "b", "no stream")
        write(embedded, "a", "3-0")
        with pytest.raises(ResponseError, match="'b'") as caught:
            read_on(streams, found)
        assert (caught.value.code, caught.value.stream) == ("WRONGTYPE", "b")
        with pytest.raises(ResponseError, match="'b'"):
            read_on(streams, found)
        streams.discard("b")
        write(embedded, "c", "4-0")
        found += streams
        embedded.command("DEL", "b")
        write(embedded, "b", "5-0")
        streams.add(b=0)
        found += streams
    assert names_and_ids(found) == [
        ("a", b"1-0"),
        ("b", b"2-0"),
        ("a", b"3-0"),
        ("c", b"4-0"),
        ("b", b"5-0"),
    ]


def test_a_set_key_that_is_mended_is_followed_without_more_ado(embedded: Endpoint) -> None:
    """Contract 5.6, 5.2: the position is kept, and the object stays good."""
    write(embedded, "a", "1-0")
    with follow(embedded, a=0, b=0) as streams:
        next(streams)
        embedded.command("SET", "a", "no stream")
        with pytest.raises(ResponseError, match="'a'"):
            read_on(streams, [])
        embedded.command("DEL", "a")
        write(embedded, "a", "2-0")
        assert names_and_ids(_rest(streams)) == [("a", b"2-0")]


def _rest(streams: Streams) -> list[Any]:
    """What comes, by way of a refusal that was on its way already."""
    try:
        return [next(streams)]
    except ResponseError:
        return [next(streams)]


def test_rights_taken_from_one_key_name_it_and_the_others_go_on(embedded: Server) -> None:
    """Contract 5.6: NOPERM, for a connection that is open already."""
    embedded.command("ACL", "SETUSER", "someone", "on", ">secret", "~a", "~b", "+xread")
    try:
        write(embedded, "a", "1-0")
        with follow(embedded, a=0, b=0, username="someone", password="secret") as streams:
            found = [next(streams)]
            embedded.command("ACL", "SETUSER", "someone", "resetkeys", "~a")
            with pytest.raises(ResponseError, match="'b'") as caught:
                read_on(streams, found)
            assert (caught.value.code, caught.value.stream) == ("NOPERM", "b")
            streams.discard("b")
            write(embedded, "a", "2-0")
            assert names_and_ids([*found, *_rest(streams)]) == [("a", b"1-0"), ("a", b"2-0")]
    finally:
        embedded.command("ACL", "DELUSER", "someone")


# Gaps, after a reconnect. The rules for it are in the README; contract 2.3 and 3.1 need it told
# where the server alone can break them.


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_stream_that_was_trimmed_past_the_position_is_told_of_once(
    embedded: Endpoint, log: Log, protocol: Any
) -> None:
    """It names the stream, the position and what is there; then it goes on from there."""
    write(embedded, "a", "1-0", "2-0")
    write(embedded, "b", "2-0")
    with (
        Proxy(embedded.host, embedded.port) as proxy,
        Streams(**at(proxy), a=0, b=0, block=30, protocol=protocol) as streams,
    ):
        take(streams, 3)
        proxy.refuse()
        proxy.drop_all()
        write(embedded, "a", *[f"{i}-0" for i in range(3, 10)])
        embedded.command("XTRIM", "a", "MAXLEN", "=", 2)
        assert isinstance(next_item(streams), ConnectionError)
        proxy.heal()
        assert names_and_ids(list(streams)) == [("a", b"8-0"), ("a", b"9-0")]
        log.take("'a'", "2-0", "8-0", "may have been missed")
        reconnect(embedded, streams)
        assert log.warnings == []


@pytest.mark.parametrize("decode_responses", [False, True])
def test_a_stream_that_begins_again_is_told_of_once_and_the_position_kept(
    embedded: Endpoint, log: Log, decode_responses: bool
) -> None:
    """Nothing is repeated, whatever the stream holds now; what passes the position comes."""
    write(embedded, "a", "5-0")
    with follow(embedded, a=0, b=0, decode_responses=decode_responses) as streams:
        next(streams)
        embedded.command("DEL", "a")
        write(embedded, "a", "1-0", "2-0")
        assert reconnect(embedded, streams) == []
        log.take("'a'", "5-0", "1-0", "may")
        for _ in range(3):
            assert reconnect(embedded, streams) == []
        assert log.warnings == []
        write(embedded, "a", "6-0")
        assert [str(message[1]).strip("b'") for message in streams] == ["6-0"]


def test_another_gap_is_another_event(embedded: Endpoint, log: Log) -> None:
    """Once entries have come again, the next rewind is told of as well."""
    write(embedded, "a", "5-0")
    with follow(embedded, a=0) as streams:
        next(streams)
        for i in range(3):
            embedded.command("DEL", "a")
            write(embedded, "a", "1-0")
            assert reconnect(embedded, streams) == []
            log.take("'a'", f"{5 + i}-0", "1-0")
            write(embedded, "a", f"{6 + i}-0")
            assert names_and_ids(list(streams)) == [("a", b"%d-0" % (6 + i))]


def test_gaps_of_several_streams_are_told_of_one_by_one(embedded: Endpoint, log: Log) -> None:
    """Each warning is about one stream; those that are well are not mentioned."""
    names = ["trimmed", "rewound", "well", "idle"]
    for name in names:
        write(embedded, name, "4-0", "5-0")
    with (
        Proxy(embedded.host, embedded.port) as proxy,
        Streams(**at(proxy), streams=dict.fromkeys(names, 0), block=30) as streams,
    ):
        take(streams, 8)
        proxy.refuse()
        proxy.drop_all()
        embedded.command("DEL", "rewound")
        write(embedded, "rewound", "1-0")
        write(embedded, "trimmed", "6-0", "7-0")
        embedded.command("XTRIM", "trimmed", "MAXLEN", "=", 1)
        write(embedded, "well", "6-0")
        assert isinstance(next_item(streams), ConnectionError)
        proxy.heal()
        assert names_and_ids(list(streams)) == [("well", b"6-0"), ("trimmed", b"7-0")]
    told = [[name for name in names if repr(name) in text] for text in log.warnings]
    assert sorted(told) == [["rewound"], ["trimmed"]]


def test_on_rewind_restart_follows_the_stream_from_its_beginning(
    embedded: Endpoint, log: Log
) -> None:
    """It is told of all the same, and only the stream that was rewound begins again."""
    write(embedded, "a", "5-0")
    write(embedded, "b", "5-0")
    with follow(embedded, a=0, b=0, on_rewind="restart") as streams:
        take(streams, 2)
        embedded.command("DEL", "a")
        write(embedded, "a", "1-0", "2-0")
        assert names_and_ids(reconnect(embedded, streams)) == [("a", b"1-0"), ("a", b"2-0")]
        log.take("'a'", "5-0", "1-0")
        assert streams.positions == {"a": b"2-0", "b": b"5-0"}
        write(embedded, "a", "3-0")
        assert names_and_ids(list(streams)) == [("a", b"3-0")]
        assert log.warnings == []


def test_a_restarted_stream_that_is_interrupted_resumes_where_it_is(embedded: Endpoint) -> None:
    """Contract 2.4: its position is that of the last message handed over, a smaller one now."""
    write(embedded, "a", "5-0")
    with follow(embedded, a=0, on_rewind="restart", count=1) as streams:
        next(streams)
        embedded.command("DEL", "a")
        write(embedded, "a", "1-0", "2-0", "3-0")
        embedded.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        first = next_item(streams)
        while isinstance(first, ConnectionError):
            first = next_item(streams)
        assert first[1] == b"1-0"
        assert streams.positions == {"a": b"1-0"}
        positions = streams.positions
    with follow(embedded, streams=positions) as streams:
        assert names_and_ids(list(streams)) == [("a", b"2-0"), ("a", b"3-0")]


# What is no gap.


def _leave(server: Endpoint) -> None:
    """Do nothing to the stream."""


def _trim_behind(server: Endpoint) -> None:
    server.command("XTRIM", "a", "MAXLEN", "=", 1)


def _trim_all(server: Endpoint) -> None:
    server.command("XTRIM", "a", "MAXLEN", "=", 0)


def _delete(server: Endpoint) -> None:
    server.command("DEL", "a")


def _delete_and_go_on(server: Endpoint) -> None:
    server.command("XDEL", "a", "1-0")


NO_GAPS = [_leave, _trim_behind, _trim_all, _delete, _delete_and_go_on]


@pytest.mark.parametrize("change", NO_GAPS)
def test_a_stream_of_which_nothing_can_be_missed_is_not_told_of(
    embedded: Endpoint, log: Log, change: Any
) -> None:
    """Idle, trimmed up to the position at most, or empty: that is not known to be a gap."""
    write(embedded, "a", "1-0", "2-0")
    with follow(embedded, a=0, b=0, new=None, later="7-0") as streams:
        take(streams, 2)
        change(embedded)
        for _ in range(3):
            assert reconnect(embedded, streams) == []
        write(embedded, "a", "3-0")
        write(embedded, "b", "1-0")
        assert sorted(names_and_ids(list(streams))) == [("a", b"3-0"), ("b", b"1-0")]
    assert log.warnings == []


def test_a_stream_that_was_never_read_is_not_told_of(embedded: Endpoint, log: Log) -> None:
    """What lies before a time was not asked for; and what is trimmed before it is no gap."""
    write(embedded, "old", f"{TIME - 2}-0", f"{TIME - 1}-0")
    write(embedded, "trimmed", "5-0")
    with follow(embedded, old=TIME, trimmed=None, other="3-0") as streams:
        assert list(streams) == []
        embedded.command("XTRIM", "trimmed", "MAXLEN", "=", 0)
        for _ in range(3):
            assert reconnect(embedded, streams) == []
    assert log.warnings == []


def test_a_rewind_is_told_of_a_stream_that_was_resumed(embedded: Endpoint, log: Log) -> None:
    """The ID of a resume is a position, also before the first message after it."""
    write(embedded, "s", "1-0", "2-0")
    with follow(embedded, s="9-0") as streams:
        assert list(streams) == []  # the server knows the connection from here on
        assert log.warnings == []
        reconnect(embedded, streams)
        assert len(log.warnings) == 1
        assert "'s'" in log.warnings[0]
        assert "9-0" in log.warnings[0]


# Without a reconnect: after a stream's silence.


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "SILENCE", 0.15)


def wait_for(streams: Streams, log: Log) -> list[Any]:
    """Iterate until there is a warning."""
    found: list[Any] = []

    def is_told() -> bool:
        found.extend(streams)
        return bool(log.warnings)

    wait_until(is_told)
    return found


@pytest.mark.usefixtures("short_silence")
def test_a_rewind_is_told_of_after_a_silence(embedded: Endpoint, log: Log) -> None:
    """Nothing comes of such a stream: a read alone would wait for ever without a word."""
    write(embedded, "a", "5-0")
    with follow(embedded, a=0, b=0) as streams:
        next(streams)
        embedded.command("DEL", "a")
        write(embedded, "a", "1-0")
        assert wait_for(streams, log) == []
        log.take("'a'", "5-0", "1-0", "may")
        began = monotonic()
        while monotonic() - began < 0.6:
            assert list(streams) == []
        assert log.warnings == []


@pytest.mark.usefixtures("short_silence")
def test_a_rewind_is_told_of_although_other_streams_keep_coming(
    embedded: Endpoint, log: Log
) -> None:
    """The silence is the stream's own, not the connection's."""
    write(embedded, "a", "5-0")
    write(embedded, "b", "1-0")
    with follow(embedded, a=0, b=0) as streams:
        take(streams, 2)
        embedded.command("DEL", "a")
        write(embedded, "a", "1-0")
        deadline, i = monotonic() + LONG, 1
        while not log.warnings:
            assert monotonic() < deadline
            i += 1
            write(embedded, "b", f"{i}-0")
            assert names_and_ids([next(streams)]) == [("b", b"%d-0" % i)]
        log.take("'a'", "5-0", "1-0")


@pytest.mark.usefixtures("short_silence")
def test_on_rewind_restart_restarts_after_a_silence(embedded: Endpoint, log: Log) -> None:
    """Within the same connection, too."""
    write(embedded, "a", "5-0")
    with follow(embedded, a=0, b=0, on_rewind="restart") as streams:
        next(streams)
        embedded.command("DEL", "a")
        write(embedded, "a", "1-0", "2-0")
        found = wait_for(streams, log) + list(streams)
        assert names_and_ids(found) == [("a", b"1-0"), ("a", b"2-0")]
        log.take("'a'", "5-0", "1-0")


@pytest.mark.usefixtures("short_silence")
@pytest.mark.parametrize("change", NO_GAPS)
def test_a_stream_that_is_merely_silent_is_never_told_of(
    embedded: Endpoint, log: Log, change: Any
) -> None:
    """Looked at several times, and found well."""
    write(embedded, "a", "1-0", "2-0")
    with (
        Proxy(embedded.host, embedded.port) as proxy,
        Streams(**at(proxy), a=0, b=0, block=30) as streams,
    ):
        take(streams, 2)
        change(embedded)
        began, looks = monotonic(), 0
        while monotonic() - began < 0.5 or not looks:
            assert list(streams) == []
            # By one read for all streams, which names each of them twice.
            looks = sum(command.count(b"a") == 2 for command in proxy.commands)
        # But not often.
        assert looks <= 2 + (monotonic() - began) / exchanges.SILENCE
    assert log.warnings == []


@pytest.mark.usefixtures("short_silence")
def test_looking_ends_no_wait_and_hides_no_message(embedded: Endpoint) -> None:
    """Contract 4.1, 3.3: with a long `block` a message comes at once, before and after a look."""
    write(embedded, "a", "1-0")
    with follow(embedded, a=0, b=0, block=600) as streams:
        next(streams)
        began = monotonic()
        assert list(streams) == []
        assert 0.6 <= monotonic() - began < LONG
        write(embedded, "b", "1-0")
        write(embedded, "a", "2-0")
        assert names_and_ids(take(streams, 2)) == [("b", b"1-0"), ("a", b"2-0")]
