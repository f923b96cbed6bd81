"""How `Streams` and `Redis` are made of their options: what all shells have in common."""

from __future__ import annotations

from .follower import Follower
from .options import ConnectionOptions, ReadOptions
from .url import parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from ssl import SSLContext
    from typing import Any, Protocol, TypeVar

    from typing_extensions import Self

    from .options import Host, Password
    from .starts import Name, Start, StreamsArgument

    Kind = TypeVar("Kind", bound="StreamsBase", covariant=True)

    class Holder(Protocol[Kind]):
        """What makes `Streams` of some kind."""

        _connection: ConnectionOptions

        @property
        def _kind(self) -> type[Kind]: ...


class StreamsBase:
    """Streams to follow, and what was handed over of them."""

    def __init__(
        self,
        /,
        host: Host = "localhost",
        port: int = 6379,
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
        connections: int | None = None,
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
        **named_streams: Start,
    ) -> None:
        reading = ReadOptions(
            count=count,
            block=block,
            stop_on_timeout=stop_on_timeout,
            timeout_response=timeout_response,
            raise_connection_exceptions=raise_connection_exceptions,
            fields=fields,
            hold=hold,
            on_rewind=on_rewind,
            connections=connections,
        )
        connection = ConnectionOptions(
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
        self._follow(connection, reading, streams, named_streams)

    def _follow(
        self,
        connection: ConnectionOptions,
        reading: ReadOptions,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
    ) -> None:
        self._follower = Follower(connection, reading, _KEYWORDS)
        if not self._follower.add(streams, named_streams):
            raise ValueError("no streams are given, expected one at least")
        self._begin()

    def _begin(self) -> None:
        """Do what is to be done as soon as it is known what to follow."""
        raise NotImplementedError

    @classmethod
    def _of(
        cls,
        connection: ConnectionOptions,
        reading: ReadOptions,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
    ) -> Self:
        """Make one of options that were checked already, which `Redis` does."""
        self = cls.__new__(cls)
        self._follow(connection, reading, streams, named_streams)
        return self

    @classmethod
    def from_url(cls, url: str, /, streams: StreamsArgument | None = None, **options: Any) -> Self:
        """Follow streams on the server that a URL names.

        Args:
            url: ``redis://user:password@host:port/db``, ``rediss://`` for TLS,
                ``unix://user:password@/path?db=0``; connection options may be query
                parameters.
            streams: As in the constructor.
            options: Options and streams as in the constructor; they take precedence.
        """
        return cls(streams=streams, **(parse_url(url) | options))

    @property
    def positions(self) -> dict[Name, bytes | str | None]:
        """For each stream the ID of the last message that was handed over.

        Before the first one it is the ID that the stream starts after (None if "now"
        could not be fixed yet). ``Streams(streams=positions)`` goes on exactly there.
        """
        return self._follower.positions

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._follower!r}>"


class RedisBase:
    """A server's address, and how to log in."""

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
        self: Holder[Kind],
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
        connections: int | None = None,
        **named_streams: Start,
    ) -> Kind:
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
            connections=connections,
        )
        return self._kind._of(self._connection, reading, streams, named_streams)


# What names no stream in `Streams(...)`.
_KEYWORDS = ("host", "port", "streams", *(StreamsBase.__init__.__kwdefaults__ or ()))
