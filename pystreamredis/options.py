"""The options: checked once, before anything is sent (contract 1.2, 7)."""

from __future__ import annotations

import codecs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext
    from typing import Any, TypeAlias

    Password: TypeAlias = str | bytes | Callable[[], str | bytes]
    Host: TypeAlias = str | Callable[[], tuple[str, int]]

# Who needs more had better spread the streams over processes.
_MAX_CONNECTIONS = 1000
_MAX_COUNT = 2**63 - 1  # what the server reads COUNT and BLOCK into


class ReadOptions:
    """How to read, and what to hand over.

    Raises:
        TypeError: A value is of a wrong type.
        ValueError: A value is out of range.
    """

    __slots__ = (
        "block",
        "connections",
        "count",
        "fields",
        "hold",
        "on_rewind",
        "raise_connection_exceptions",
        "stop_on_timeout",
        "timeout_response",
    )

    def __init__(
        self,
        *,
        count: int,
        block: int | None,
        stop_on_timeout: bool,
        timeout_response: object,
        raise_connection_exceptions: bool,
        fields: Callable[[Iterable[tuple[Any, Any]]], Any],
        hold: int,
        on_rewind: str,
        connections: int | None,
    ) -> None:
        self.count = _integer("count", count, 1, _MAX_COUNT)
        self.block = None if block is None else _integer("block", block, 0, _MAX_COUNT)
        self.stop_on_timeout = stop_on_timeout
        self.timeout_response = timeout_response
        self.raise_connection_exceptions = raise_connection_exceptions
        if not callable(fields):
            raise TypeError(f"fields is {fields!r}, expected a callable that takes pairs")
        self.fields = fields
        if on_rewind not in ("keep", "restart"):
            raise ValueError(f"on_rewind is {on_rewind!r}, expected 'keep' or 'restart'")
        self.on_rewind = on_rewind
        if connections is not None:
            connections = _integer("connections", connections, 1, _MAX_CONNECTIONS)
        self.connections = connections
        self.hold = _integer("hold", hold, 0, _MAX_COUNT)


class ConnectionOptions:
    """Where the server is, how to log in, and how its bytes are read.

    Raises:
        TypeError: A value is of a wrong type.
        ValueError: A value is out of range, or contradicts another one.
    """

    __slots__ = (
        "_find",
        "_password",
        "client_name",
        "connect_timeout",
        "db",
        "decode_responses",
        "encoding",
        "encoding_errors",
        "host",
        "port",
        "protocol",
        "socket_keepalive",
        "socket_timeout",
        "ssl_context",
        "unix_socket_path",
        "username",
    )

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
        self._find = host if callable(host) else None
        # Where it is callable, there is none until it was asked.
        self.host = "" if callable(host) else _host(host)
        self.port = _integer("port", port, 1, 65535)
        self.username = _optional_text("username", username)
        if password is not None and not (isinstance(password, (str, bytes)) or callable(password)):
            raise TypeError(
                f"password is {type(password).__name__}, expected str, bytes or a callable"
            )
        # Within a function no look into this object finds it.
        self._password: Callable[[], object] = password if callable(password) else lambda: password
        self.db = _integer("db", db, 0, 2**31 - 1)
        self.protocol = _integer("protocol", protocol, 2, 3)
        self.client_name = _optional_text("client_name", client_name)
        if not _is_client_name(client_name or "x"):
            raise ValueError(
                f"client_name is {client_name!r}, expected printable ASCII without spaces"
            )
        self.unix_socket_path = _optional_text("unix_socket_path", unix_socket_path)
        if self._find and unix_socket_path is not None:
            raise ValueError("a callable host and unix_socket_path are given, expected one of them")
        if ssl and unix_socket_path is not None:
            raise ValueError("ssl and unix_socket_path are given, expected one of them")
        self.ssl_context = _ssl_context(
            ssl, ssl_ca_certs, ssl_certfile, ssl_keyfile, check_hostname=ssl_check_hostname
        )
        self.socket_timeout = _seconds("socket_timeout", socket_timeout)
        self.connect_timeout = (
            self.socket_timeout
            if socket_connect_timeout is None
            else _seconds("socket_connect_timeout", socket_connect_timeout)
        )
        self.socket_keepalive = socket_keepalive
        self.decode_responses = decode_responses
        self.encoding = encoding
        self.encoding_errors = encoding_errors
        _check_encoding(encoding, encoding_errors)

    @property
    def address(self) -> str:
        """The address, for people: ``"localhost:6379"``, ``"[::1]:6379"``, ``"unix:/path"``."""
        if self.unix_socket_path is not None:
            path = self.unix_socket_path
            return "unix:" + (path if isinstance(path, str) else path.decode("utf-8", "replace"))
        if not self.host:
            return "wherever host() says"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"ConnectionOptions({self.address!r}, db={self.db})"

    def at(self, host: str, port: int) -> ConnectionOptions:
        """The same for a server at this address.

        Raises:
            TypeError, ValueError: What is no address.
        """
        other = object.__new__(ConnectionOptions)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other.host = _host(host)
        other.port = _integer("port", port, 1, 65535)
        return other

    def elsewhere(self, host: str, port: int) -> ConnectionOptions:
        """The same for another node of a cluster: it is there whatever a callable host says."""
        if self.unix_socket_path is not None and (host, port) == (self.host, self.port):
            return self
        other = self.at(host, port)
        other._find = other.unix_socket_path = None
        return other

    def located(self) -> ConnectionOptions:
        """The same for where the server is now: a callable host is asked each time.

        Raises:
            OSError: The callable has raised an exception, which is chained.
            TypeError, ValueError: It has returned no address.
        """
        if self._find is None:
            return self
        try:
            found = self._find()
        except Exception as error:
            raise OSError(f"host() raised {type(error).__name__}: {error}") from error
        if not isinstance(found, tuple) or len(found) != 2:
            raise TypeError(f"host() returned {found!r}, expected a tuple of host and port")
        try:
            return self.at(*found)
        except (TypeError, ValueError) as error:
            raise type(error)(f"host() returned {found!r}: {error}") from None

    def password(self) -> str | bytes | None:
        """The password as it is now: a callable is asked each time."""
        password = self._password()
        if password is not None and not isinstance(password, (str, bytes)):
            raise TypeError(f"password() returned {type(password).__name__}, expected str or bytes")
        return password

    def encode(self, name: str | bytes) -> bytes:
        """The key that a stream's name is on the wire.

        Raises:
            ValueError: The name cannot be encoded.
        """
        if isinstance(name, bytes):
            return name
        try:
            return name.encode(self.encoding, self.encoding_errors)
        except UnicodeError as error:
            raise ValueError(f"stream {name!r}: its name cannot be encoded: {error}") from None


def _ssl_context(
    ssl: bool | SSLContext,
    ca_certs: str | None,
    certfile: str | None,
    keyfile: str | None,
    *,
    check_hostname: bool,
) -> SSLContext | None:
    """Make the context for TLS now, so that a file that is not there is told now."""
    if ssl is not True and (ca_certs or certfile or keyfile):
        raise ValueError(
            f"ssl_ca_certs, ssl_certfile or ssl_keyfile are given, but ssl is {ssl!r}, "
            "expected ssl=True"
        )
    if ssl is False:
        return None
    from ssl import SSLContext, create_default_context  # slow to import

    if isinstance(ssl, SSLContext):
        return ssl
    if ssl is not True:
        raise TypeError(f"ssl is {ssl!r}, expected a bool or an ssl.SSLContext")
    if keyfile is not None and certfile is None:
        raise ValueError("ssl_keyfile is given without ssl_certfile, expected both")
    try:
        context = create_default_context(cafile=ca_certs)
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile)
    except OSError as error:  # which ssl.SSLError is, too
        raise ValueError(
            f"ssl_ca_certs is {ca_certs!r}, ssl_certfile {certfile!r}, "
            f"ssl_keyfile {keyfile!r}: {error}"
        ) from error
    context.check_hostname = check_hostname
    return context


def _integer(option: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option} is {value!r}, expected an int")
    if not low <= value <= high:
        raise ValueError(f"{option} is {value!r}, expected {low} to {high}")
    return int(value)


def _seconds(option: str, value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{option} is {value!r}, expected a number of seconds, or None")
    if not 0 < value < 2**31:
        raise ValueError(f"{option} is {value!r}, expected more than 0 seconds, or None")
    return float(value)


def _host(host: object) -> str:
    if not isinstance(host, str):
        # Itself not shown: other libraries' clients tell a lot about themselves.
        hint = ": streams go to streams=" if isinstance(host, (dict, list, tuple, set)) else ""
        raise TypeError(f"host is {type(host).__name__}, expected a str or a callable{hint}")
    if not host:
        raise ValueError("host is empty, expected a name or an address")
    if "://" in host:
        raise ValueError("host is a URL, expected a name or an address: use from_url() for it")
    if host.count(":") == 1:
        raise ValueError("host has a port in it, expected a name or an address: use port for it")
    return host


def _optional_text(option: str, value: str | bytes | None) -> str | bytes | None:
    if value is not None and not isinstance(value, (str, bytes)):
        raise TypeError(f"{option} is {value!r}, expected str, bytes or None")
    return value


def _is_client_name(name: str | bytes) -> bool:
    """Whether servers take it: https://redis.io/docs/latest/commands/client-setname/."""
    text = name if isinstance(name, str) else name.decode("latin-1")
    return all("!" <= letter <= "~" for letter in text)


def _check_encoding(encoding: str, errors: str) -> None:
    try:
        codecs.lookup(encoding)
        codecs.lookup_error(errors)
    except LookupError as error:
        raise ValueError(
            f"encoding is {encoding!r} and encoding_errors {errors!r}: {error}"
        ) from None
