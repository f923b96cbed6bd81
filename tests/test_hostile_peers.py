"""Contract 7, last paragraph: replies that lie, that never end, or that are no replies."""

from __future__ import annotations

import builtins
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis import ConnectionError, ProtocolError, ResponseError, Streams, TimeoutError
from tests.feeding import FedReader
from tests.peer import Conversation, Expect, Peer
from tests.resp import Error, encode
from tests.scripted import at, entries, ids_of, next_item, serve, take
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator

# The front of a reply up to where one entry is to come, to where its fields are, and to
# where its one value is.
ENTRY = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n"
FIELDS = ENTRY + b"*2\r\n$3\r\n1-0\r\n"
VALUE = FIELDS + b"*2\r\n$1\r\nf\r\n"


def entry(entry_id: bytes) -> bytes:
    """A reply with one entry of that ID."""
    return ENTRY + b"*2\r\n$%d\r\n%b\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n" % (len(entry_id), entry_id)


REPLIES: dict[str, bytes] = {
    # Lengths that lie, and lengths that are none.
    "a bulk longer than it says": VALUE + b"$5\r\nhello world\r\n",
    "a bulk shorter than it says": VALUE + b"$11\r\nhello\r\n*1\r\n$1\r\n",
    "a bulk without its CRLF": VALUE + b"$5\r\nhelloXY",
    "a bulk with LF alone": VALUE + b"$5\r\nhello\n$",
    "a bulk of -5": VALUE + b"$-5\r\n",
    "a bulk of -2": b"$-2\r\n",
    "an array of -2": b"*-2\r\n",
    "an array of -1 entries": b"*1\r\n*2\r\n$1\r\ns\r\n*-1\r\n",
    "a map of -1": b"%-1\r\n",
    "no length": VALUE + b"$\r\n",
    "a length with a sign": VALUE + b"$+1\r\nv\r\n",
    "a length with a space": VALUE + b"$ 1\r\nv\r\n",
    "a length with an underscore": VALUE + b"$1_0\r\n0123456789\r\n",
    "a length with leading zeros": VALUE + b"$01\r\nv\r\n",
    "a length in other digits": VALUE + "$٣\r\n123\r\n".encode(),
    "a length in hexadecimal": VALUE + b"$0x1\r\nv\r\n",
    "a length that is no whole number": b"*1.0\r\n",
    "fewer fields than values": FIELDS + b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
    "more parts of an entry": ENTRY + b"*3\r\n$3\r\n1-0\r\n*0\r\n*0\r\n",
    "fewer parts of an entry": ENTRY + b"*1\r\n$3\r\n1-0\r\n",
    "more parts of a stream": b"*1\r\n*3\r\n$1\r\ns\r\n*0\r\n*0\r\n",
    "an entry that is none": ENTRY + b"$3\r\n1-0\r\n",
    # Gigabytes, announced.
    "a bulk of 2 GB": VALUE + b"$2147483647\r\n",
    "a bulk of 10**18": VALUE + b"$1000000000000000000\r\n",
    "a bulk of 10**30": VALUE + b"$1000000000000000000000000000000\r\n",
    "an array of 10**30": b"*1000000000000000000000000000000\r\n",
    "an array of 2147483647 that holds something else": b"*2147483647\r\n+OK\r\n",
    "2147483647 entries that are none": b"*1\r\n*2\r\n$1\r\ns\r\n*2147483647\r\n+OK\r\n",
    # What has no end.
    "digits without end": b"*" + b"1" * 200_000,
    "digits of a length without end": VALUE + b"$" + b"1" * 200_000,
    "digits of a number without end": VALUE + b":" + b"1" * 200_000,
    "a simple string without end": b"+" + b"x" * 200_000,
    "an error without end": b"-ERR " + b"x" * 200_000,
    "arrays without end": b"*1\r\n" * 50_000,
    "arrays without end in an entry": ENTRY + b"*1\r\n" * 50_000,
    "maps without end": ENTRY + b"%1\r\n" * 50_000,
    "attributes without end": b"|1\r\n" * 50_000,
    "pushes without end, one in another": b">1\r\n" * 50_000,
    "sets without end in a value": VALUE + b"~1\r\n" * 50_000,
    # Types where they cannot be.
    "a simple string for a reply": b"+OK\r\n",
    "a number for a reply": b":1\r\n",
    "a bulk string for a reply": b"$2\r\nOK\r\n",
    "a boolean for a reply": b"#t\r\n",
    "a set for a reply": b"~1\r\n$1\r\ns\r\n",
    "a double for an ID": ENTRY + b"*2\r\n,1.0\r\n*0\r\n",
    "a null for an ID": ENTRY + b"*2\r\n_\r\n*0\r\n",
    "a map for the fields": FIELDS + b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n",
    "a number for a value": VALUE + b":1\r\n",
    "a null for a value": VALUE + b"$-1\r\n",
    "an error for a value": VALUE + b"-ERR no\r\n",
    "an array for a value": VALUE + b"*1\r\n$1\r\nv\r\n",
    "an error for an entry": ENTRY + b"-ERR no\r\n",
    "a push for an entry": ENTRY + b">2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n",
    "a null for the entries": b"*1\r\n*2\r\n$1\r\ns\r\n_\r\n",
    "a set for the entries": b"%1\r\n$1\r\ns\r\n~0\r\n",
    "a stream that is none": b"*1\r\n+s\r\n",
    "an unknown type": b"&1\r\n",
    "no boolean": VALUE + b"#x\r\n",
    "an end of nothing": b".\r\n",
    "a part of nothing": b";1\r\nx\r\n",
    "an empty line": b"\r\n",
    "zero bytes": b"\0" * 200_000,
    "a request": b"GET / HTTP/1.1\r\n",
    "a greeting": b"220 mail.example ESMTP\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x46\r\n",
    # Names and IDs.
    "a stream that was not asked for": b"*1\r\n*2\r\n$1\r\nx\r\n*0\r\n",
    **{
        f"{entry_id!r} for an ID": entry(entry_id)
        for entry_id in (
            *(b"", b"-", b"1", b"1-", b"-1", b"abc", b"1-2-3", b"-1-1", b"1-0 ", b"+1-0", b"1_0-1"),
            *(b"\xd9\xa3-0", b"1-0\n", b"18446744073709551616-0", b"1-18446744073709551616"),
            b"0" * 30 + b"1-0",
        )
    },
    "the ID 0-0": entry(b"0-0"),
    "entries out of order": encode(entries("s", "2-0", "1-0")),
    "entries out of order within": encode(entries("s", "1-0", "3-0", "2-0", "4-0")),
    "an entry twice": encode(entries("s", "1-0", "1-0")),
    "an entry twice within": encode(entries("s", "1-0", "2-0", "2-0", "3-0")),
    "entries in the order of text": encode(entries("s", "1-10", "1-9")),
    "a stream twice, the second time before": encode([*entries("s", "2-0"), *entries("s", "1-0")]),
    "more entries than asked for": encode(entries("s", *(f"{i}-0" for i in range(1, 5002)))),
}


# The same after entries that were good, which have made the reader expect more such.
GOOD_ENTRIES = [
    encode([f"0-{i}", ["f", "v"]]) + encode([f"0-{i + 1}", ["g", "v", "h", "w"]])
    for i in range(1, 40, 2)
]
LATE = {
    f"{name}, after good ones": ENTRY[:-4]
    + b"*41\r\n"
    + b"".join(GOOD_ENTRIES)
    + data[len(ENTRY) :]
    for name, data in REPLIES.items()
    if data.startswith(ENTRY)
}
REPLIES |= LATE


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_reply_that_is_none_is_a_protocol_error_and_no_more(reply: bytes) -> None:
    """Contract 7, 5.1, 5.2: a connection error, from which the next call recovers."""
    with (
        Peer([Expect("XREAD"), reply], lambda it: serve(it, {"s": ["1-0", "2-0"]})) as peer,
        Streams(**at(peer), socket_timeout=LONG, s=0) as streams,
    ):
        with pytest.raises(ProtocolError) as caught:
            next(streams)
        assert isinstance(caught.value, ConnectionError)
        assert isinstance(caught.value, builtins.ConnectionError)
        assert caught.value.__cause__ is not None
        assert f"{peer.host}:{peer.port}" in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert streams.positions == {"s": b"0-0"}
        assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]


@pytest.mark.parametrize(
    "reply",
    [
        REPLIES["a bulk of 10**18"],
        REPLIES["arrays without end"],
        REPLIES["a stream that was not asked for"],
        b"$5\r\nhello world\r\n",
        b"+OK\r\n",
    ],
)
def test_a_hostile_answer_to_the_question_what_now_is(reply: bytes) -> None:
    """Contract 7: raised by the constructor that has asked."""
    with Peer([Expect("XREAD"), reply]) as peer, pytest.raises(ProtocolError):
        Streams(**at(peer), socket_timeout=LONG, s=None)


@pytest.mark.parametrize("reply", [b"*1\r\n" * 50_000, b"$-7\r\n", b"%" + b"9" * 100_000])
def test_a_hostile_answer_to_hello(reply: bytes) -> None:
    """Contract 7: here, too, it is no reason to fall back."""
    with Peer([Expect("HELLO"), reply]) as peer, pytest.raises(ProtocolError):
        Streams(**at(peer), protocol=3, socket_timeout=LONG, s=0)


def test_entries_that_are_not_after_the_position_are_refused() -> None:
    """Contract 3.1, 7: nothing is delivered twice, whatever the peer says."""
    for again in ("1-0", "2-0"):
        script = [
            *(Expect("XREAD"), entries("s", "1-0", "2-0")),
            *(Expect("XREAD"), entries("s", again, "3-0")),
        ]
        with Peer(script) as peer, Streams(**at(peer), s=0) as streams:
            assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]
            assert isinstance(next_item(streams), ProtocolError)
            assert streams.positions == {"s": b"2-0"}


@pytest.mark.parametrize("more", [b"+OK\r\n", b"*-1\r\n*-1\r\n:1\r\n", b"$-5\r\n"])
def test_what_nobody_asked_for_comes_after_the_messages_that_were(more: bytes) -> None:
    """Contract 7, 5.4."""
    script = [Expect("XREAD"), encode(entries("s", "1-0", "2-0")) + more]
    with Peer(script) as peer, Streams(**at(peer), block=50, socket_timeout=LONG, s=0) as streams:
        assert ids_of(take(streams, 2)) == [b"1-0", b"2-0"]
        assert isinstance(next_item(streams), ConnectionError)


def test_a_peer_that_talks_and_never_answers_is_found_out() -> None:
    """Contract 5.5, 7: pushes are no reply, however many of them there are."""

    def push(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        while True:
            conversation.send(b">1\r\n$4\r\npush\r\n")
            conversation.pause(0.05)

    with Peer(push) as peer, Streams(**at(peer), block=50, socket_timeout=0.5, s=0) as streams:
        # In case it never is.
        end = threading.Timer(LONG, streams.close)
        end.start()
        try:
            with pytest.raises(TimeoutError):
                next(streams)
        finally:
            end.cancel()


def test_the_search_for_now_ends_whatever_the_peer_answers() -> None:
    """Contract 7: one that always has another entry could have it go on for ever."""
    sent = 0

    def one_more(conversation: Conversation) -> None:
        nonlocal sent
        conversation.expect("XREAD")
        conversation.reply(Error("ERR Invalid stream ID specified as stream command argument"))
        while sent < 5000:
            conversation.expect("XREAD")
            sent += 1
            conversation.reply(entries("s", f"1-{sent}"))
        conversation.close()

    with Peer(one_more) as peer:
        try:
            with Streams(**at(peer), s=None):
                pass
        except ProtocolError:
            pass
        assert sent < 5000


# Memory.

# The most memory that the process has ever held, in bytes. Not `ru_maxrss` where there is
# another way: on Linux a process inherits that of the one that has started it.
READER = """\
import sys
from pystreamredis import Streams

def most():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if "VmHWM" in line) * 1024
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = most()
with Streams("127.0.0.1", int(sys.argv[1]), socket_timeout=1, block=10, s=0) as streams:
    try:
        for _ in range(1000):
            next(streams)
    except Exception as error:
        print(type(error).__name__, most() - before)
"""


def endless(data: bytes, head: bytes = b"") -> Any:
    """A script that sends `data` again and again after `head`, up to a gigabyte."""

    def script(conversation: Conversation) -> None:
        conversation.expect()
        conversation.send(head)
        chunk = data * (1 + 1_000_000 // len(data))
        for _ in range(1000):
            conversation.send(chunk)

    return script


def growing(conversation: Conversation) -> None:
    """A reply with 2147483647 entries, in order."""
    conversation.expect()
    conversation.send(b"*1\r\n*2\r\n$1\r\ns\r\n*2147483647\r\n")
    for start in range(1, 2_000_000, 10_000):
        ids = (b"%07d-0" % i for i in range(start, start + 10_000))
        conversation.send(
            b"".join(b"*2\r\n$9\r\n%b\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n" % i for i in ids)
        )


SCRIPTS = {
    "one reply of entries without end": growing,
    "garbage without end": endless(bytes(range(256))),
    "zeros without end": endless(b"\0"),
    "digits without end": endless(b"1"),
    "arrays without end": endless(b"*1\r\n"),
    "attributes without end": endless(b"|1\r\n"),
    "arrays of much without end": endless(b"*2147483647\r\n"),
    "2147483647 announced": [Expect(), b"*2147483647\r\n"],
    "2147483647 entries announced": [Expect(), b"*1\r\n*2\r\n$1\r\ns\r\n*2147483647\r\n"],
    "2147483647 fields announced": [Expect(), FIELDS + b"*2147483647\r\n"],
    "2 GB announced": [Expect(), VALUE + b"$2147483648\r\n"],
    "500 MB announced": [Expect(), VALUE + b"$500000000\r\n"],
    "a map of 2147483647 announced": [Expect(), b"%2147483647\r\n"],
    "an attribute of 2147483647 announced": [Expect(), b"|2147483647\r\n"],
    "a streamed string without end": endless(b"$?\r\n;5\r\nhello\r\n"),
    "a million arrays, one in another": [Expect(), b"*1\r\n" * 1_000_000],
    "a million arrays, one in another, in a value": [Expect(), VALUE + b"*1\r\n" * 1_000_000],
    "maps without end, in a value": endless(VALUE + b"%1\r\n" * 100),
    "a push of values without end": endless(b":1\r\n" * 10_000, b">2147483647\r\n"),
    "an attribute of values without end": endless(b":1\r\n" * 10_000, b"|2147483647\r\n"),
    "streams without end": endless(b"*2\r\n$1\r\ns\r\n*0\r\n" * 1000, b"*2147483647\r\n"),
    "numbers without end": endless(b":1\r\n" * 10_000, b"*2147483647\r\n"),
    "small pushes without end": endless(b">1\r\n+push\r\n" * 9_999),
    "small attributes without end": endless(b"|1\r\n+key\r\n+value\r\n" * 9_999),
    "arrays of values without end in a push": endless(b":1\r\n" * 10_000, b">1\r\n*2147483647\r\n"),
    "a push of 500 MB": [Expect(), b">1\r\n$500000000\r\n", b"x" * 1_000_000],
    "a bulk without its CRLF": [Expect(), VALUE + b"$20000000\r\n" + b"x" * 20_000_100],
    "a bulk of -5": [Expect(), VALUE + b"$-5\r\n"],
    "errors without end": endless(b"-ERR no\r\n" * 10_000),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_there_is_no_memory_for_what_was_only_announced(script: Any) -> None:
    """Contract 7: nor for what has no end. A reader of its own, so that nothing else counts."""
    with Peer(script) as peer:
        done = subprocess.run(
            (sys.executable, "-c", READER, str(peer.port)),
            capture_output=True,
            check=True,
            cwd=Path(__file__).parent.parent,
            text=True,
            timeout=LONG * 3,
        )
    error, grown = done.stdout.split()
    assert error in ("ProtocolError", "TimeoutError")
    assert int(grown) < 50_000_000


# Anything at all, without sockets.


GOOD = [
    encode([*entries("s", "1-0", "2-0"), *entries("t", "1-0", "3-0")]),
    encode({"s": [["1-0", ["f", "v" * 100]]], "t": [["1-1", ["f", "\r\n"] * 3]]}),
    encode(entries("s", *(f"{i}-0" for i in range(1, 40)))),
]


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A good reply with some of it left out, put in twice, or changed."""
    data = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 20)))
        new = draw(
            st.one_of(
                st.binary(max_size=6),
                st.just(data[start:end] * 2),
                st.sampled_from([b"\r\n", b"*", b"$-1\r\n", b"9999999999", b"*0\r\n", b"1-0"]),
            )
        )
        data = data[:start] + new + data[end:]
    return data


@given(
    data=st.one_of(spoiled(), st.binary(max_size=200)),
    sizes=st.lists(st.integers(1, 60), max_size=20),
    decode=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_whatever_comes_ends_in_messages_in_order_or_in_a_connection_error(
    data: bytes, sizes: list[int], decode: bool
) -> None:
    """Contract 7, 3.1: no other error comes out, and no message comes twice."""
    fed = FedReader(
        {"s": 0, "t": 0},
        {"decode_responses": decode},
        raise_connection_exceptions=False,
    )
    fed.ask(0.0)
    found: list[Any] = []
    for piece in pieces(data, sizes):
        if not fed.is_open:
            break
        fed.feed(piece, 0.0)
        try:
            found += fed.take(0.0)
        except ResponseError:
            return  # the data was an error reply, which is raised and not returned
    failures = [item for item in found if isinstance(item, Exception)]
    assert all(isinstance(failure, ConnectionError) for failure in failures)
    for name in "st":
        ids = [number(item[1]) for item in found if isinstance(item, tuple) and item[0] == name]
        assert ids == sorted(set(ids))


def number(entry_id: bytes | str) -> tuple[int, ...]:
    text = entry_id if isinstance(entry_id, str) else entry_id.decode()
    return tuple(int(part) for part in text.split("-"))


def pieces(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def test_close_ends_a_read_from_a_peer_that_never_ends() -> None:
    """Contract 4.4, 7: pushes keep it busy, and yet it can be closed."""

    def push(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        while True:
            conversation.send(b">1\r\n$4\r\npush\r\n" * 1000)

    with Peer(push) as peer, Streams(**at(peer), s=0) as streams:
        timer = threading.Timer(0.3, streams.close)
        timer.start()
        assert list(streams) == []
        timer.join()
