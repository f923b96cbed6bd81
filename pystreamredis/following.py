"""`Hub`: the base that both shells share."""

from __future__ import annotations

from types import GenericAlias
from weakref import WeakSet

from . import construction
from .core.follower import Follower
from .core.hub import Hub as Core
from .exceptions import RedisError
from .io.engine import Engine
from .options import READ, ReadOptions, pick
from .secret import conceal, conceal_keywords, conceal_url
from .starts import check_keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Never, Self

    from .options import Host, RetryDelay
    from .starts import Start, StreamsArgument


class Hub:
    """The servers, and the connections to them that all followers share."""

    __class_getitem__: Any = classmethod(GenericAlias)
    # The kind of `Streams` that followers get.
    _followed_class: Any

    def __init__(
        self,
        /,
        host: Host = "localhost",
        port: int = 6379,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        **options: Any,
    ) -> None:
        # Reports with local variables show what a frame has: from here on no secrets.
        host = conceal_url(host)
        conceal_keywords(options)
        redis = construction.Redis(host, port, **options)
        self._share({None: redis._connection}, connections, max_bytes)

    @classmethod
    def from_url(
        cls,
        url: str,
        /,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        **options: Any,
    ) -> Self:
        """Share connections to the server that a URL names; see `Streams.from_url`.

        Args:
            url: The URL.
            connections: As in the constructor.
            max_bytes: As in the constructor.
            options: Connection options; they take precedence.
        """
        url = conceal(url)
        conceal_keywords(options)
        redis = construction.Redis.from_url(url, **options)
        return cls._of({None: redis._connection}, connections, max_bytes)

    @classmethod
    def from_sources(
        cls,
        sources: Mapping[str, construction.Redis],
        /,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
    ) -> Self:
        """Share connections to several servers; see `Streams.from_sources`.

        Args:
            sources: Names for servers or clusters, and their addresses.
            connections: As in the constructor, for each of them.
            max_bytes: As in the constructor, for each of them.

        Raises:
            ValueError, TypeError: Bad sources or options.
        """
        return cls._of(construction.read_sources(sources), connections, max_bytes)

    @classmethod
    def _of(cls, servers: construction.Servers, connections: int | None, max_bytes: int) -> Self:
        self = cls.__new__(cls)
        self._share(servers, connections, max_bytes)
        return self

    def _share(
        self, servers: construction.Servers, connections: int | None, max_bytes: int
    ) -> None:
        self._servers = servers
        self._forks = Engine.forks
        self._core = Core(servers, connections, max_bytes)
        self._followers: WeakSet[Any] = WeakSet()

    def follow(
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
        hold: int = 0,
        on_rewind: str = "keep",
        **named_streams: Start,
    ) -> Any:
        """Follow streams over the shared connections; see `Streams` for arguments and errors.

        Every other keyword names a stream, but for the names of connection options, which are
        refused.

        Returns:
            `Streams` of this hub, with positions of their own. Closing them disturbs no others.
        """
        conceal_keywords(named_streams)
        if self._forks != Engine.forks:
            raise RuntimeError("this hub belongs to the parent of this process; make one in each")
        arguments = locals()
        check_keywords("Hub.follow()", named_streams)
        reading = ReadOptions(**pick(READ, arguments))
        if reading.hold == "exact":
            raise ValueError("hold is 'exact', but must be a number of ms for a follower of a hub")
        messages = self._followed_class.__new__(self._followed_class)
        messages._hub = self
        messages._follow(self._servers, reading, streams, named_streams)
        self._followers.add(messages)
        return messages

    def _make_follower(self, _: object, reading: ReadOptions) -> Follower:
        return Follower(self._core, reading)

    def _fail(self, error: Exception) -> None:
        """Report an error that nobody expected to all followers, which may ask again."""
        failure = RedisError(f"the hub has failed, which is a bug: {error!r}")
        failure.__cause__ = error
        self._core.fail_all(failure)

    def __repr__(self) -> str:
        followers = len(self._core.followers)
        addresses = ", ".join(options.address for options in self._servers.values())
        return f"<{type(self).__name__} at {addresses}, {followers} followers>"

    def __reduce__(self) -> Never:
        raise TypeError("Hub cannot be pickled or copied, since it has connections")
