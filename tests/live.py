"""A scripted server whose streams grow, whose connections can be cut and whose slots can move."""

from __future__ import annotations

from binascii import crc_hqx
from time import monotonic
from typing import TYPE_CHECKING, Any

from pystreamredis import ConnectionError
from tests.resp import Error, Simple
from tests.scripted import block_of, read

if TYPE_CHECKING:
    from typing import NoReturn

    from pystreamredis import Streams
    from tests.peer import Conversation

_TICK = 0.005  # seconds between two looks of a read that blocks


class LiveServer:
    """The script of a `Peer`: it lets everybody log in, and answers XADD and XREAD.

    Attributes:
        streams: The IDs of each stream, which may be changed at any time.
        moved: The streams that live elsewhere, with host and port: then it is a cluster's node.
        refusal: The error that answers each XREAD, if any.
        is_cluster: Whether it refuses to read streams of several slots at once.
    """

    def __init__(self, **streams: list[str]) -> None:
        self.streams = streams
        self.moved: dict[str, tuple[str, int]] = {}
        self.refusal = ""
        self.is_cluster = False
        self._conversations: list[Conversation] = []

    def __call__(self, conversation: Conversation) -> NoReturn:
        self._conversations.append(conversation)
        while True:
            command = conversation.expect()
            if command[0] == b"XREAD":
                self._read(conversation, command)
            elif command[0] == b"XADD":
                name, entry_id = command[1].decode(), command[2].decode()
                self.streams.setdefault(name, []).append(entry_id)
                conversation.reply(entry_id)
            else:
                conversation.reply({"proto": 3} if command[0] == b"HELLO" else Simple("OK"))

    def cut(self) -> None:
        """End all connections; new ones are accepted."""
        conversations, self._conversations = self._conversations, []
        for conversation in conversations:
            conversation.end()

    def _read(self, conversation: Conversation, command: list[bytes]) -> None:
        deadline = monotonic() + block_of(command) / 1000
        while True:
            if refusal := self.refusal or self._redirection(command):
                return conversation.reply(Error(refusal))
            reply = read(command, self.streams)
            if reply or monotonic() >= deadline:
                return conversation.reply(reply)
            conversation.pause(_TICK)

    def _redirection(self, command: list[bytes]) -> str:
        keys_and_ids = command[command.index(b"STREAMS") + 1 :]
        keys = [key.decode() for key in keys_and_ids[: len(keys_and_ids) // 2]]
        slots = {crc_hqx(key.encode(), 0) % 16384 for key in keys}
        if self.is_cluster and len(slots) > 1:
            return "CROSSSLOT Keys in request don't hash to the same slot"
        for key in keys:
            if key in self.moved:
                host, port = self.moved[key]
                return f"MOVED {slots.pop()} {host}:{port}"
        return ""


_PATIENCE = 20.0  # seconds until a message is missed that is there


def next_live(
    streams: Streams, *, tries: int | None = None
) -> tuple[tuple[Any, ...], list[ConnectionError]]:
    """Take the next message: what is raised or returned before it is passed over.

    On a busy machine a wait may be over before the message has come.

    Returns:
        The message, and the failures before it.
    """
    failures: list[ConnectionError] = []
    deadline = monotonic() + _PATIENCE
    while (tries is None or len(failures) < tries) and monotonic() < deadline:
        item = next_outcome(streams)
        if isinstance(item, tuple):
            return item, failures
        failures.append(item)
    raise AssertionError(f"no message after {len(failures)} failures: {failures[-3:]}")


def next_failure(streams: Streams) -> ConnectionError:
    """Take what comes next, expecting a failure of the connection."""
    item = next_outcome(streams)
    assert isinstance(item, ConnectionError), item
    return item


def next_outcome(streams: Streams) -> Any:
    """Take the next message or failure, raised or returned, passing over timeouts."""
    deadline = monotonic() + _PATIENCE
    while monotonic() < deadline:
        try:
            item = next(streams)
        except StopIteration:
            continue
        except ConnectionError as error:
            return error
        if item is not None:
            return item
    raise AssertionError(f"neither a message nor a failure within {_PATIENCE:g} s")
