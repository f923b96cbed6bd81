"""A stream in the browser, by server-sent events that resume.

    python examples/events.py redis://localhost:6379 Stream0

Open http://127.0.0.1:8000/. The ID of each event is that of the message. A browser that has lost
its connection sends the last one, ``Last-Event-ID``; a page that is loaded again sends the last one
that it has kept, ``?after=``. So neither a reload nor an outage nor a restart of this program loses
a message or shows one twice. All browsers share a few connections. SIGTERM and Ctrl-C end it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

from pystreamredis import ConnectionError, Last, RedisError
from pystreamredis.asyncio import Hub

_FIRST = 20  # messages that a new browser gets of those that are there
_QUIET = 15_000  # ms after which a comment is sent, so that no proxy closes a quiet connection
_RETRY = 1000  # ms after which a browser connects again
_find_id = re.compile(r"\d{1,20}-\d{1,20}").fullmatch

PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>Messages</title>
<ol id="messages"></ol>
<script>
const stream = STREAM;
// What was shown, and the last ID, are kept together: each message is in both or in neither.
const kept = JSON.parse(localStorage.getItem(stream)) || {last: "", lines: []};
const list = document.getElementById("messages");

function show(line) {
    const item = document.createElement("li");
    item.textContent = line;
    list.append(item);
}

kept.lines.forEach(show);
const events = new EventSource("/events?after=" + kept.last);
events.onmessage = (event) => {
    const line = event.lastEventId + " " + event.data;
    kept.last = event.lastEventId;
    kept.lines.push(line);
    kept.lines = kept.lines.slice(-1000);
    localStorage.setItem(stream, JSON.stringify(kept));
    show(line);
};
</script>
"""


async def events(hub: Hub, name: str, after: str) -> AsyncIterator[str]:
    """Yield the events after an ID, and comments while none come.

    A stream that is refused for good, or was closed, ends them.
    """
    streams = hub.follow(
        {name: after or Last(_FIRST)},
        block=_QUIET,
        stop_on_timeout=True,
        raise_connection_exceptions=False,
    )
    yield f"retry: {_RETRY}\n\n"
    async with streams:
        async for message in streams:
            if message is None or isinstance(message, ConnectionError):
                yield ": nothing new\n\n"
            else:
                _, entry_id, data = message
                # JSON has no line ends, which would end the event.
                yield f"id: {entry_id}\ndata: {json.dumps(data)}\n\n"


def start_of(head: str) -> str:
    """Return the ID after which a browser wants messages; nothing for a new browser.

    The header is newer than the address, and neither is trusted: what is no ID is not taken.
    """
    header = re.search(r"^last-event-id: *(\S+)", head, re.IGNORECASE | re.MULTILINE)
    query = re.match(r"GET /events\?after=([\w-]*) ", head)
    for found in (header, query):
        if found is not None and _find_id(found[1]):
            return found[1]
    return ""


class Server:
    """Answers browsers: with the page, or with events that never end."""

    def __init__(self, hub: Hub, name: str) -> None:
        self._hub = hub
        self._name = name
        self._is_stopped = asyncio.Event()
        self._serving: set[asyncio.Task[None] | None] = set()
        # Within a script "</script>" would end it.
        self._page = PAGE.replace("STREAM", json.dumps(name).replace("<", "\\u003c")).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        task = asyncio.current_task()
        self._serving.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if head.startswith("GET /events"):
                writer.write(_head("200 OK", "text/event-stream"))
                await self._send_events(head, reader, writer)
            elif head.startswith("GET / "):
                writer.write(_head("200 OK", "text/html; charset=utf-8") + self._page)
                await writer.drain()
            else:
                writer.write(_head("404 Not Found", "text/plain"))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the browser has gone
        except RedisError as error:
            print(f"events: {error}", file=sys.stderr)
        finally:
            self._serving.discard(task)
            writer.close()

    def stop(self) -> None:
        """End all responses that are being sent."""
        self._is_stopped.set()

    async def wait(self) -> None:
        """Wait until it was stopped, and no response is being sent."""
        await self._is_stopped.wait()
        while tasks := [task for task in self._serving if task is not None]:
            await asyncio.wait(tasks)

    async def _send_events(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        sending = asyncio.ensure_future(self._send(start_of(head), writer))
        leaving = asyncio.ensure_future(_leaves(reader))
        stopping = asyncio.ensure_future(self._is_stopped.wait())
        tasks: list[asyncio.Future[Any]] = [sending, leaving, stopping]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        # The follower has left before this ends.
        await asyncio.wait(tasks)
        if not sending.cancelled():
            sending.result()  # raises what was wrong

    async def _send(self, after: str, writer: asyncio.StreamWriter) -> None:
        async for event in events(self._hub, self._name, after):
            writer.write(event.encode())
            await writer.drain()  # a slow browser slows its own follower only


async def _leaves(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


def _head(status: str, kind: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode()


async def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description="Show a stream in the browser.")
    parser.add_argument("url", help="redis://..., rediss://... or unix://...")
    parser.add_argument("stream")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    hub = Hub.from_url(arguments.url, decode_responses=True)
    server = Server(hub, arguments.stream)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", arguments.port)
    port = listener.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/", flush=True)
    await server.wait()
    listener.close()
    await hub.aclose()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (OSError, ValueError) as error:
        sys.exit(f"events: {error}")
