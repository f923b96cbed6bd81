"""Types of this package's `hub`, made by tools/stubs.py."""

# A dict of data comes before any other type, whatever the rest.
# mypy: disable-error-code="overload-overlap"
from collections.abc import Callable, Iterable, Mapping
from ssl import SSLContext
from typing import Any, Generic, Literal, Never, overload

from typing_extensions import Self, TypeVar

from .exceptions import ConnectionError
from .options import AddressRemap, Host, Password, RetryDelay
from .starts import Followed, Start, StreamsArgument
from .tls import File
from .streams import Redis, Streams

_Text = TypeVar("_Text", covariant=True, default=Any)
_Response = TypeVar("_Response", default=None)
_Data = TypeVar("_Data", default=Any)
_Of = TypeVar("_Of")

class Hub(Generic[_Text]):
    @overload
    def __init__(
        self: Hub[bytes],
        /,
        host: Host = "localhost",
        port: int = 6379,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: Literal[2, 3] = 2,
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
        decode_responses: Literal[False] = False,
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
    ) -> None: ...
    @overload
    def __init__(
        self: Hub[str],
        /,
        host: Host = "localhost",
        port: int = 6379,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: Literal[2, 3] = 2,
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
        decode_responses: Literal[True],
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
    ) -> None: ...
    @overload
    def __init__(
        self: Hub[Any],
        /,
        host: Host = "localhost",
        port: int = 6379,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: Literal[2, 3] = 2,
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
        decode_responses: bool,
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
    ) -> None: ...
    @overload
    @classmethod
    def from_url(
        cls,
        url: str,
        /,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        host: Host = "localhost",
        port: int = 6379,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: Literal[2, 3] = 2,
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
        decode_responses: Literal[False] = False,
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
    ) -> Hub[bytes]: ...
    @overload
    @classmethod
    def from_url(
        cls,
        url: str,
        /,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        host: Host = "localhost",
        port: int = 6379,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: Literal[2, 3] = 2,
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
        decode_responses: Literal[True],
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
    ) -> Hub[str]: ...
    @overload
    @classmethod
    def from_url(
        cls,
        url: str,
        /,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
        host: Host = "localhost",
        port: int = 6379,
        username: str | bytes | None = None,
        password: Password | None = None,
        credentials_max_age: float | None = None,
        db: int = 0,
        protocol: Literal[2, 3] = 2,
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
        decode_responses: bool,
        encoding: str = "utf-8",
        encoding_errors: str = "surrogateescape",
    ) -> Hub[Any]: ...
    @classmethod
    def from_sources(
        cls,
        sources: Mapping[str, Redis[_Of]],
        /,
        *,
        connections: int | None = None,
        max_bytes: int = 67108864,
    ) -> Hub[_Of]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: Literal[False] = False,
        timeout_response: object = None,
        raise_connection_exceptions: Literal[True] = True,
        retry_delay: RetryDelay | None = None,
        fields: type[dict[Any, Any]] = dict,
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, dict[_Text, _Text]]]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: Literal[False] = False,
        timeout_response: object = None,
        raise_connection_exceptions: bool,
        retry_delay: RetryDelay | None = None,
        fields: type[dict[Any, Any]] = dict,
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, dict[_Text, _Text]] | ConnectionError]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: bool,
        timeout_response: _Response = None,  # type: ignore[assignment]
        raise_connection_exceptions: Literal[True] = True,
        retry_delay: RetryDelay | None = None,
        fields: type[dict[Any, Any]] = dict,
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, dict[_Text, _Text]] | _Response]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: bool,
        timeout_response: _Response = None,  # type: ignore[assignment]
        raise_connection_exceptions: bool,
        retry_delay: RetryDelay | None = None,
        fields: type[dict[Any, Any]] = dict,
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, dict[_Text, _Text]] | _Response | ConnectionError]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: Literal[False] = False,
        timeout_response: object = None,
        raise_connection_exceptions: Literal[True] = True,
        retry_delay: RetryDelay | None = None,
        fields: Callable[[Iterable[tuple[_Text, _Text]]], _Data],
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, _Data]]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: Literal[False] = False,
        timeout_response: object = None,
        raise_connection_exceptions: bool,
        retry_delay: RetryDelay | None = None,
        fields: Callable[[Iterable[tuple[_Text, _Text]]], _Data],
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, _Data] | ConnectionError]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: bool,
        timeout_response: _Response = None,  # type: ignore[assignment]
        raise_connection_exceptions: Literal[True] = True,
        retry_delay: RetryDelay | None = None,
        fields: Callable[[Iterable[tuple[_Text, _Text]]], _Data],
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, _Data] | _Response]: ...
    @overload
    def follow(
        self,
        /,
        streams: StreamsArgument | None = None,
        *,
        count: int = 100,
        block: int | None = 1000,
        stop_on_timeout: bool,
        timeout_response: _Response = None,  # type: ignore[assignment]
        raise_connection_exceptions: bool,
        retry_delay: RetryDelay | None = None,
        fields: Callable[[Iterable[tuple[_Text, _Text]]], _Data],
        hold: int = 0,
        on_rewind: Literal["keep", "restart"] = "keep",
        **named_streams: Start,
    ) -> Streams[tuple[Any, _Text, _Data] | _Response | ConnectionError]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def close(self) -> None: ...
    def __reduce__(self) -> Never: ...
