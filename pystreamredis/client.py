"""`Redis`: an address and credentials to hold, for ``r.streams(...)``."""

from __future__ import annotations

from .options import ConnectionOptions, ReadOptions
from .streams import Streams
from .url import parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext
    from typing import Any

    from typing_extensions import Self

    from .options import Host, Password
    from .starts import Start, StreamsArgument


class Redis:
    """A server's address, and how to log in. It is no general client.

    It connects to nothing by itself: each `streams` makes a connection of its own.

    Args:
        host: As all the others, like the connection options of `Streams`.
    """

    def __init__(
        self,
        host: Host = "localhost",
        port: int = 6379,
        *,
        username: str | bytes | None = None,
        password: Password | None = None,
        db: int = 0,
        protocol: int = 2,
        client_name: str | bytes | None = None,
        unix_socket_path: str | bytes | None = None,
        ssl: bool | SSLContext = False,
        ssl_ca_certs: str | None = None,
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
        ssl_check_hostname: bool = True,
        socket_timeout: float | None = 5.0,
        socket_connect_timeout: float | None = None,
        socket_keepalive: bool = True,
        decode_responses: bool = False,
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
    ) -> None:
        self._connection = ConnectionOptions(
            host,
            port,
            username=username,
            password=password,
            db=db,
            protocol=protocol,
            client_name=client_name,
            unix_socket_path=unix_socket_path,
            ssl=ssl,
            ssl_ca_certs=ssl_ca_certs,
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
            ssl_check_hostname=ssl_check_hostname,
            socket_timeout=socket_timeout,
            socket_connect_timeout=socket_connect_timeout,
            socket_keepalive=socket_keepalive,
            decode_responses=decode_responses,
            encoding=encoding,
            encoding_errors=encoding_errors,
        )

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Hold the server that a URL names; see `Streams.from_url`.

        Args:
            url: The URL.
            options: Connection options; they take precedence.
        """
        return cls(**(parse_url(url) | options))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._connection.address}, db {self._connection.db}>"

    def streams(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: bool = False,
        timeout_response: object = None,
        raise_connection_exceptions: bool = True,
        fields: Callable[[Iterable[tuple[Any, Any]]], Any] = dict,
        hold: int = 0,
        on_rewind: str = "keep",
        **named_streams: Start,
    ) -> Streams:
        """Follow streams on this server; see `Streams` for what is given and raised.

        Every other keyword names a stream here, also those of connection options.
        """
        reading = ReadOptions(
            count=count,
            block=block,
            stop_on_timeout=stop_on_timeout,
            timeout_response=timeout_response,
            raise_connection_exceptions=raise_connection_exceptions,
            fields=fields,
            hold=hold,
            on_rewind=on_rewind,
        )
        return Streams._of(self._connection, reading, streams, named_streams)


StrictRedis = Redis
