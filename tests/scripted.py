"""What tests with scripted peers share: replies to XREAD, and ways to look at the outcome."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from pystreamredis import ConnectionError
from tests.servers import LONG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pystreamredis import Streams
    from tests.peer import Conversation, Peer
    from tests.proxy import Proxy


def entries(stream: str, *ids: str) -> list[Any]:
    """An XREAD reply in the shape of RESP2, with entries of one stream."""
    return [[stream, [[entry_id, ["f", "v"]] for entry_id in ids]]]


def at(peer: Peer | Proxy) -> dict[str, Any]:
    """The options that lead there."""
    return {"host": peer.host, "port": peer.port}


def serve(conversation: Conversation, streams: Mapping[str, Sequence[str]]) -> NoReturn:
    """Do what a server does that has these entries and will get no more."""
    while True:
        command = conversation.expect("XREAD")
        reply = read(command, streams)
        if reply is None:
            conversation.pause(block_of(command) / 1000)
        conversation.reply(reply)


def serve_until_all_is_read(
    conversation: Conversation, streams: Mapping[str, Sequence[str]]
) -> None:
    """The same, until everything was sent."""
    missing = {(stream, entry_id) for stream, ids in streams.items() for entry_id in ids}
    while missing:
        reply = read(conversation.expect("XREAD"), streams)
        missing -= {(stream, entry[0]) for stream, found in reply or () for entry in found}
        conversation.reply(reply)


def read(command: list[bytes], streams: Mapping[str, Sequence[str]]) -> list[Any] | None:
    """Make the reply to an XREAD, in the shape of RESP2."""
    words = [word.decode() for word in command]
    count = int(words[words.index("COUNT") + 1])
    keys_and_ids = words[words.index("STREAMS") + 1 :]
    keys, ids = keys_and_ids[: len(keys_and_ids) // 2], keys_and_ids[len(keys_and_ids) // 2 :]
    reply = []
    for key, after in zip(keys, ids, strict=True):
        held = streams.get(key, ())
        found = held[-1:] if after == "+" else [i for i in held if parts(i) > parts(after)]
        if found:
            reply.append([key, [[entry_id, ["f", "v"]] for entry_id in found[:count]]])
    return reply or None


def parts(entry_id: str) -> list[int]:
    """An ID as the numbers that it is compared by."""
    return [int(part) for part in entry_id.split("-")]


def block_of(command: list[bytes]) -> int:
    """How long an XREAD may block, in ms; 0 if not at all."""
    return int(command[command.index(b"BLOCK") + 1]) if b"BLOCK" in command else 0


def take(streams: Streams, count: int) -> list[Any]:
    """Take what comes next, `count` times."""
    return [next(streams) for _ in range(count)]


def next_item(streams: Streams) -> Any:
    """What `next` gives or, if it raises a failure of the connection, that failure."""
    try:
        return next(streams)
    except ConnectionError as error:
        return error


def next_message(streams: Streams) -> tuple[Any, list[ConnectionError]]:
    """What comes next but failures, and these: a busy machine may look like a silent peer."""
    failures: list[ConnectionError] = []
    deadline = monotonic() + LONG
    while isinstance(item := next_item(streams), ConnectionError):
        failures.append(item)
        assert monotonic() < deadline, failures[-3:]
    return item, failures


def ids_of(messages: Iterable[Any]) -> list[Any]:
    """The IDs alone."""
    return [message[1] for message in messages]
