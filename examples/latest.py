"""The last message of each stream, as JSON over HTTP.

    python examples/latest.py redis://localhost:6379 Stream0 Stream1
    curl http://127.0.0.1:8000/

The streams are followed in a thread of their own, from an hour ago on, while the main one
does something else. SIGTERM and Ctrl-C end it. Outages are told on stderr.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pystreamredis import ConnectionError, RedisError, Streams

_HOUR = 3600


class Server(ThreadingHTTPServer):
    """Answers every request with the last messages."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.latest: dict[str, dict[str, Any]] = {}


class Handler(BaseHTTPRequestHandler):
    """Answers one of them."""

    server: Server

    def do_GET(self) -> None:
        """Send all there is: a stream's message is replaced as a whole, never in part."""
        body = json.dumps(self.server.latest.copy()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of single requests."""


def follow(streams: Streams, server: Server) -> None:
    """Take messages in until the streams are closed, or something is wrong for good."""
    try:
        for message in streams:
            # Another try comes by itself, and the logger has told of this one.
            if not isinstance(message, ConnectionError):
                name, entry_id, data = message
                server.latest[name] = {"id": entry_id, "data": data}
    finally:
        server.shutdown()


def main() -> None:
    """Follow and serve until told to stop."""
    parser = argparse.ArgumentParser(description="Serve the last message of each stream.")
    parser.add_argument("url", help="redis://..., rediss://... or unix://...")
    parser.add_argument("streams", nargs="+")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    start = int((time.time() - _HOUR) * 1000)
    streams = Streams.from_url(
        arguments.url,
        dict.fromkeys(arguments.streams, start),
        block=0,
        decode_responses=True,
        raise_connection_exceptions=False,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        # This ends the thread's wait, which ends the server, which ends the program.
        signal.signal(number, lambda *_: streams.close())
    with streams, Server(arguments.port) as server, ThreadPoolExecutor(1) as pool:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        following = pool.submit(follow, streams, server)
        server.serve_forever()
        following.result()  # raises what was wrong for good


if __name__ == "__main__":
    try:
        main()
    except (OSError, RedisError) as error:
        sys.exit(f"latest: {error}")
