"""The writers of the campaign: what counts as written is what the server has."""

from __future__ import annotations

from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING

from tests.resp import Client, CommandError
from tests.soak.messages import add, last_on

if TYPE_CHECKING:
    from random import Random

    from tests.servers import Server

# What one transaction writes at most: the rest of what is due is written later.
_MOST = 400
# Longer than a server stands still here. A writer must not give up a connection of which
# the server may still read a command: then the next one would write that number again.
_PATIENCE = 60.0


class Writer(Thread):
    """Writes numbered messages to streams of one server, from when they are opened.

    Attributes:
        written: How many messages were acknowledged.
    """

    def __init__(self, server: Server, streams: list[str], rate: float, random: Random) -> None:
        super().__init__(daemon=True, name=f"writer to {server.kind}")
        self.written = 0
        self._server = server
        self._streams = list(streams)
        self._rate = rate
        self._random = random
        self._next = dict.fromkeys(streams, 0)
        self._ending = Event()

    @property
    def streams(self) -> list[str]:
        """All streams that it has written to."""
        return list(self._next)

    def open(self, stream: str) -> None:
        """Write to one more stream; from any thread."""
        self._next.setdefault(stream, 0)
        # The oldest of those that came later are left alone: there is no end of them.
        self._streams = self._streams[:4] + [*self._streams[4:], stream][-6:]

    def finish(self) -> None:
        """Write no more, and come to an end."""
        self._ending.set()
        self.join(2 * _PATIENCE)

    def run(self) -> None:
        began, done = monotonic(), 0
        while not self._ending.is_set():
            try:
                with Client(self._server.unix_socket, timeout=_PATIENCE) as client:
                    self._find_out(client)
                    while not self._ending.is_set():
                        due = int((monotonic() - began) * self._rate) - done
                        if due > 0:
                            done += self._write(client, min(due, _MOST))
                        sleep(0.002)
            except (OSError, CommandError):
                # Killed, loading, a replica: it passes.
                sleep(0.01)

    def _find_out(self, client: Client) -> None:
        """Learn which messages are there: the last ones may or may not have been written."""
        for stream in list(self._next):
            self._next[stream] = last_on(client, stream)[0] + 1

    def _write(self, client: Client, due: int) -> int:
        """Write about that many messages, to all streams at once or one by one."""
        if self._random.random() < 0.2:
            for stream in self._random.choices(self._streams, k=min(due, 5)):
                client.command(*add(stream, self._next[stream]))
                self._next[stream] += 1
                self.written += 1
            return min(due, 5)
        streams, commands = self._streams, []
        numbers = dict(self._next)
        for stream in self._random.choices(streams, k=due):
            commands.append(add(stream, numbers[stream]))
            numbers[stream] += 1
        # All or nothing: no number may be left out.
        client.pipeline([("MULTI",), *commands, ("EXEC",)])
        self._next |= numbers
        self.written += due
        return due
