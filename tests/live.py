"""A scripted server whose streams grow, whose connections can be cut and whose slots can move."""

from __future__ import annotations

from binascii import crc_hqx
from time import monotonic
from typing import TYPE_CHECKING

from tests.resp import Error, Simple
from tests.scripted import block_of, read

if TYPE_CHECKING:
    from typing import NoReturn

    from tests.peer import Conversation

_TICK = 0.005  # seconds between two looks of a read that blocks


class LiveServer:
    """The script of a `Peer`: it lets everybody log in, and answers XREAD as servers do.

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
