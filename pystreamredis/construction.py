"""The making of `Streams` and `Redis` from their options: the bases that both shells share.

The bases have the names of the classes below them, which errors of Python's own then show.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from types import GenericAlias

from .io.log import write
from .options import CONNECTION, OPTIONS, READ, ConnectionOptions, ReadOptions, is_async, pick
from .secret import conceal, conceal_keywords, conceal_url
from .starts import check_keywords, check_names, find_doubtful_starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext
    from typing import Any, Literal, Never, Self, TypeAlias

    from .core.reader import Reader
    from .options import AddressRemap, Host, Password, RetryDelay
    from .starts import Followed, Start, StreamsArgument
    from .tls import File

    # The servers by the names that the caller gives them; None for the only one.
    Servers: TypeAlias = Mapping[str | None, ConnectionOptions]


class Streams:
    """Streams to follow, and the positions of what was delivered."""

    # Their types are in the stubs of the shells.
    __class_getitem__: Any = classmethod(GenericAlias)
    # The shell's classes, and its driver: None before there is one to close, and after.
    _reader_class: type[Reader]
    _batches_class: type[Batches]
    _driver: Any = None
    # True if the shell can await the caller's functions.
    _awaits = False

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
        retry_delay: RetryDelay | None = None,
        fields: Callable[[Iterable[tuple[Any, Any]]], Any] = dict,
        hold: int | Literal["exact"] = 0,
        on_rewind: str = "keep",
        connections: int | None = None,
        max_bytes: int = 67108864,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: int = 2,
        client_name: str | bytes | None = None,
        unix_socket_path: str | bytes | None = None,
        address_remap: AddressRemap | None = None,
        ssl: bool | SSLContext = False,
        ssl_ca_certs: File | None = None,
        ssl_certfile: File | None = None,
        ssl_keyfile: File | None = None,
        ssl_check_hostname: bool = True,
        socket_timeout: float | None = 5.0,
        socket_connect_timeout: float | None = None,
        socket_keepalive: bool = True,
        decode_responses: bool = False,
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
        **named_streams: Start,
    ) -> None:
        # Reports with local variables show what a frame has: from here on no secrets.
        password = conceal(password)
        host = conceal_url(host)
        conceal_keywords(named_streams)
        arguments = locals()
        check_keywords("Streams()", named_streams)
        reading = ReadOptions(**pick(READ, arguments))
        connection = ConnectionOptions(**pick(CONNECTION, arguments))
        self._follow({None: connection}, reading, streams, named_streams)

    def _follow(
        self,
        servers: Servers,
        reading: ReadOptions,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
    ) -> None:
        for options in servers.values():
            if not self._awaits and options.ask_credentials and is_async(options.ask_credentials):
                raise TypeError(
                    "password is an async function, which only pystreamredis.asyncio and "
                    "pystreamredis.trio can await; give a plain one"
                )
        self._reader = self._reader_class(servers, reading)
        self._reader.add(streams, named_streams)
        if not self._reader.has_streams:
            raise ValueError(f"no streams are given{_hint_at_host(servers)}")
        write(find_doubtful_starts(streams, named_streams))
        self._begin()

    def _check_added(
        self, streams: StreamsArgument | None, named_streams: dict[str, Start]
    ) -> None:
        """Check the arguments of `add`, as far as this needs no server; log doubtful starts."""
        conceal_keywords(named_streams)
        check_keywords("add()", named_streams)
        write(find_doubtful_starts(streams, named_streams))

    def _begin(self) -> None:
        """Make the driver, now that the streams are known."""
        raise NotImplementedError

    @property
    def _is_closed(self) -> bool:
        """True once nothing more is delivered."""
        return self._driver is None

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
        from .url import parse_url  # here alone, so that a copy can do without

        url = conceal(url)
        conceal_keywords(options)
        return cls(streams=streams, **parse_url(url) | options)

    @classmethod
    def from_sources(
        cls,
        sources: Mapping[str, Redis],
        /,
        streams: StreamsArgument | None = None,
        **options: Any,
    ) -> Self:
        """Follow streams on several servers, with one merge.

        The name in a message is a tuple of the source's name and the stream's:
        ``(('fra', 'Stream0'), b'1529416095111-4', {b'index': b'21'})``.

        Args:
            sources: Names for servers or clusters, and their addresses:
                ``{"fra": Redis("fra.example"), "lon": Redis("lon.example")}``.
            streams: As in the constructor; each is followed on all of them. Streams of one
                source alone stand under its name: ``{"fra": {"Stream0": 0}}``, as in `positions`.
            options: Options of reading, and streams, as in the constructor.

        Raises:
            ValueError, TypeError: As the constructor, or bad sources.
            ConnectionError, ResponseError: As the constructor.
        """
        conceal_keywords(options)
        given = pick(READ, options)
        named = {name: value for name, value in options.items() if name not in given}
        check_keywords("from_sources()", named)
        return cls._of(read_sources(sources), ReadOptions(**given), streams, named)

    @classmethod
    def _of(
        cls,
        servers: Servers,
        reading: ReadOptions,
        streams: StreamsArgument | None,
        named_streams: Mapping[str, Start],
    ) -> Self:
        """Make one from options that were checked already."""
        self = cls.__new__(cls)
        self._follow(servers, reading, streams, named_streams)
        return self

    def batches(self, n: int) -> Any:
        """Iterate over lists of messages: those that are there now, in order.

        A list is returned as soon as there is a message. Waiting, timeouts and failures are as
        without lists; ``[]`` stands for `timeout_response`, and a `ConnectionError` that is
        returned comes instead of a list. `positions` are those at the end of the last list.
        ``__next__`` (``__anext__``) is not called, if a subclass has another one.

        Args:
            n: The most messages of a list, at least 1.

        Raises:
            ValueError, TypeError: `n` is not such a number.
        """
        return self._batches_class(self, OPTIONS["count"].check("n", n))

    @property
    def positions(self) -> dict[Any, Any]:
        """For each stream the ID of the last message that was delivered: bytes or str.

        Before the first one it is the ID that the stream starts after (None if "now"
        could not be fixed yet). ``Streams(streams=positions)`` goes on exactly there. Of several
        sources it is a dict of such dicts.
        """
        return self._reader.positions

    @property
    def complete_until(self) -> int | None:
        """The ms up to which all messages of all streams were delivered; None before the first.

        It is known with ``hold="exact"`` only, and moves on with each ms of which a message comes.

        Raises:
            ValueError: `hold` is not ``"exact"``.
        """
        return self._reader.complete_until

    @property
    def caught_up(self) -> bool:
        """True if the last reads found no more than the messages that were delivered since.

        A message that was added later is found by the next read only.
        """
        return self._reader.caught_up

    def stats(self) -> dict[str, Any]:
        """Return figures about the reading so far, from any thread; nothing is sent for them.

        Returns:
            ``connected``: True while every connection that is needed is made, logged in, and
            was not found to be lost; ``outages``: the number of times that a connection was
            lost or could not be made, each counted once until it is answered again;
            ``answered``: seconds since the last answer to a read was taken in, None before the
            first; ``delivered``: the number of messages that were delivered; ``gaps``: the
            number of times that a stream was found to be trimmed beyond its position, or to
            have begun again, each with a warning in the log; ``late``: the number of messages
            that came too late for ``hold="exact"``; and ``streams``: for each by its
            name ``position``, as in `positions`, ``last``, the ID of the newest entry received,
            and ``lag_ms``, the ms between these two IDs.
        """
        found = self._reader.stats(monotonic())
        found["connected"] = found["connected"] and not self._is_closed
        return found

    def discard(self, *names: Followed) -> None:
        """Drop streams, with their messages that were not delivered yet.

        Names that are not followed are ignored. A stream of several sources is dropped
        from each, unless a tuple names one.

        Raises:
            TypeError: An argument is not a name.
            RuntimeError: It is called amid the work of this very thread or task, by `fields`, say.
        """
        check_names(names)
        if self._driver is None:
            self._reader.discard(names)
        else:
            self._driver.drop(names)

    def __repr__(self) -> str:
        reader = getattr(self, "_reader", None)
        if reader is None:
            return f"<{type(self).__name__} that is not complete>"
        return f"<{type(self).__name__} {reader!r}{', closed' if self._is_closed else ''}>"

    def __reduce__(self) -> Never:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied, since it has connections; "
            "pickle its positions, and make another one: Streams(streams=positions)"
        )


class Batches:
    """The lists of messages of `Streams.batches`, which share one place in the streams.

    Like the streams themselves it goes on after its end, and after an exception.
    """

    def __init__(self, streams: Any, n: int) -> None:
        self._streams = streams
        self._n = n


class Redis:
    """A server's address and credentials."""

    __class_getitem__: Any = classmethod(GenericAlias)
    _streams_class: type[Streams]

    def __init__(
        self,
        /,
        host: Host = "localhost",
        port: int = 6379,
        *,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: int = 2,
        client_name: str | bytes | None = None,
        unix_socket_path: str | bytes | None = None,
        address_remap: AddressRemap | None = None,
        ssl: bool | SSLContext = False,
        ssl_ca_certs: File | None = None,
        ssl_certfile: File | None = None,
        ssl_keyfile: File | None = None,
        ssl_check_hostname: bool = True,
        socket_timeout: float | None = 5.0,
        socket_connect_timeout: float | None = None,
        socket_keepalive: bool = True,
        decode_responses: bool = False,
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
        **unknown: Never,
    ) -> None:
        # Reports with local variables show what a frame has: from here on no secrets.
        password = conceal(password)
        host = conceal_url(host)
        conceal_keywords(unknown)
        arguments = locals()
        check_keywords("Redis()", unknown)
        for name in unknown:
            raise TypeError(
                f"Redis() got an unknown option {name!r}; streams go into Redis(...).streams(...)"
            )
        self._connection = ConnectionOptions(**pick(CONNECTION, arguments))

    @classmethod
    def from_url(cls, url: str, /, **options: Any) -> Self:
        """Hold the server that a URL names; see `Streams.from_url`.

        Args:
            url: The URL.
            options: Connection options; they take precedence.
        """
        from .url import parse_url  # here alone, so that a copy can do without

        url = conceal(url)
        conceal_keywords(options)
        return cls(**parse_url(url) | options)

    def __repr__(self) -> str:
        connection = getattr(self, "_connection", None)
        if connection is None:
            return f"<{type(self).__name__} that is not complete>"
        return f"<{type(self).__name__} at {connection.address}, db {connection.db}>"

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
        retry_delay: RetryDelay | None = None,
        fields: Callable[[Iterable[tuple[Any, Any]]], Any] = dict,
        hold: int | Literal["exact"] = 0,
        on_rewind: str = "keep",
        connections: int | None = None,
        max_bytes: int = 67108864,
        **named_streams: Start,
    ) -> Any:
        """Follow streams on this server; see `Streams` for the arguments and errors.

        Every other keyword names a stream here, but for the names of connection options, which
        are refused.
        """
        conceal_keywords(named_streams)
        arguments = locals()
        check_keywords("Redis.streams()", named_streams)
        reading = ReadOptions(**pick(READ, arguments))
        return self._streams_class._of({None: self._connection}, reading, streams, named_streams)


def read_sources(sources: Mapping[str, Redis]) -> Servers:
    """Return the options of several servers by their names.

    Raises:
        ValueError, TypeError: Bad sources.
    """
    if not isinstance(sources, Mapping):
        raise TypeError(
            f"sources is of type {type(sources).__name__}, but must be a dict of names to Redis()"
        )
    if not sources:
        raise ValueError("no sources are given; give at least one")
    servers: dict[str | None, ConnectionOptions] = {}
    for name, redis in sources.items():
        if not isinstance(name, str):
            raise TypeError(
                f"source {name!r} is of type {type(name).__name__}, but a name must be a str"
            )
        if not isinstance(redis, Redis):
            raise TypeError(
                f"source {name!r} is of type {type(redis).__name__}, but must be a Redis()"
            )
        servers[name] = redis._connection
    # Else their IDs could not be compared.
    if len({options.decode_responses for options in servers.values()}) > 1:
        raise ValueError("all sources must use the same decode_responses")
    return servers


def _hint_at_host(servers: Servers) -> str:
    """Say what else was given, which may have been meant for a stream."""
    only = servers.get(None)
    if only is None or only.host in ("", OPTIONS["host"].default) or not only.host.isidentifier():
        return "; give at least one"
    return f"; {only.host!r} was taken as the host: for a stream, give streams={only.host!r}"
