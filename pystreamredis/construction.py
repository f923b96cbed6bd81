"""How `Streams` and `Redis` are made of their options: what all shells have in common."""

from __future__ import annotations

from collections.abc import Mapping

from .follower import Follower
from .options import ConnectionOptions, ReadOptions
from .url import parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext
    from typing import Any, Protocol, TypeAlias, TypeVar

    from typing_extensions import Self

    from .options import Host, Password
    from .starts import Start, StreamsArgument

    # How to get to them, and what callers call them; None where there is only one.
    Servers: TypeAlias = Mapping[str | None, ConnectionOptions]
    Kind = TypeVar("Kind", bound="StreamsBase", covariant=True)

    class Holder(Protocol[Kind]):
        """What makes `Streams` of some kind."""

        @property
        def _servers(self) -> Servers: ...

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
        self._follow({None: connection}, reading, streams, named_streams)

    def _follow(
        self,
        servers: Servers,
        reading: ReadOptions,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
    ) -> None:
        self._follower = Follower(servers, reading, _KEYWORDS)
        if not self._follower.add(streams, named_streams):
            raise ValueError("no streams are given, expected one at least")
        self._begin()

    def _begin(self) -> None:
        """Do what is to be done as soon as it is known what to follow."""
        raise NotImplementedError

    @classmethod
    def _of(
        cls,
        servers: Servers,
        reading: ReadOptions,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
    ) -> Self:
        """Make one of options that were checked already, which `Redis` does."""
        self = cls.__new__(cls)
        self._follow(servers, reading, streams, named_streams)
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

    @classmethod
    def from_sources(
        cls,
        sources: Mapping[str, RedisBase],
        /,
        streams: StreamsArgument | None = None,
        **options: Any,
    ) -> Self:
        """Follow streams on several servers, with one merge.

        The name in a message is a tuple of the source's name and the stream's:
        ``(('fra', 'Stream0'), b'1529416095111-4', {b'index': b'21'})``.

        Args:
            sources: Names for servers or clusters, and where these are:
                ``{"fra": Redis("fra.example"), "lon": Redis("lon.example")}``.
            streams: As in the constructor; each is followed on all of them. What is of one alone
                stands under its name: ``{"fra": {"Stream0": 0}}``, as in `positions`.
            options: Options that are not about connecting, and streams, as in the constructor.

        Raises:
            ValueError, TypeError: As the constructor, or sources that cannot be.
            ConnectionError, ResponseError: As the constructor.
        """
        following: Self = RedisBase.streams(_Sources(cls, sources), streams, **options)
        return following

    @property
    def positions(self) -> dict[Any, Any]:
        """For each stream the ID of the last message that was handed over: bytes or str.

        Before the first one it is the ID that the stream starts after (None if "now"
        could not be fixed yet). ``Streams(streams=positions)`` goes on exactly there. Of several
        sources it is a dict of such dicts.
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

    @property
    def _servers(self) -> Servers:
        return {None: self._connection}

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
        return self._kind._of(self._servers, reading, streams, named_streams)


class _Sources:
    """Several servers, and what kind of `Streams` is to follow streams there."""

    def __init__(self, kind: type[StreamsBase], sources: Mapping[str, RedisBase]) -> None:
        self._kind: Any = kind
        self._servers = _read_sources(sources)


def _read_sources(sources: Mapping[str, RedisBase]) -> Servers:
    if not isinstance(sources, Mapping):
        raise TypeError(f"sources is {type(sources).__name__}, expected a dict of names to Redis()")
    if not sources:
        raise ValueError("no sources are given, expected one at least")
    servers: dict[str | None, ConnectionOptions] = {}
    for name, redis in sources.items():
        if not isinstance(name, str):
            raise TypeError(f"source {name!r} is {type(name).__name__}, expected str for a name")
        if not isinstance(redis, RedisBase):
            raise TypeError(f"source {name!r} is {type(redis).__name__}, expected Redis()")
        servers[name] = redis._connection
    # Else their IDs could not be compared.
    if len({options.decode_responses for options in servers.values()}) > 1:
        raise ValueError("decode_responses is not the same for all sources, expected that")
    return servers


# What errors of Python's own are to say: the names of those that callers know.
StreamsBase.__init__.__qualname__ = "Streams.__init__"
RedisBase.__init__.__qualname__ = "Redis.__init__"
RedisBase.streams.__qualname__ = "Redis.streams"

# What names no stream in `Streams(...)`.
_KEYWORDS = ("host", "port", "streams", *(StreamsBase.__init__.__kwdefaults__ or ()))
