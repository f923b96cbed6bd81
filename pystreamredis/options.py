"""The options, once: `READ` and `CONNECTION` have them all, with their defaults and checks.

The constructors' checks, the parameters of URLs, the stubs for type checkers and the tables of the
reference page follow these tables; a test holds the signatures to them (contract 1.2, 7).
"""

from __future__ import annotations

import codecs
import os

from .escaping import escape
from .exceptions import ConnectionError
from .secret import Secret, conceal_keywords, conceal_url, reveal
from .tls import CertificateFiles, prepare_tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from ssl import SSLContext
    from typing import Any, Literal, TypeAlias

    # User name and password.
    Login: TypeAlias = tuple[str | bytes | None, str | bytes | None]
    Credentials: TypeAlias = str | bytes | tuple[str | bytes | None, str | bytes | None] | None
    Password: TypeAlias = str | bytes | Callable[[], Credentials | Awaitable[Credentials]]
    AddressRemap: TypeAlias = Callable[[tuple[str, int]], tuple[str, int]]
    RetryDelay: TypeAlias = float | Callable[[], Iterable[float]]
    Host: TypeAlias = str | Callable[[], tuple[str, int]]
    # Takes the name of an option and its value; returns the value to keep, or raises.
    Check: TypeAlias = Callable[[str, Any], Any]

_MAX = 2**63 - 1  # the server reads COUNT and BLOCK into a signed 64-bit number


class Option:
    """One option.

    Attributes:
        default: Its value where none is given.
        check: The function that takes its name and a value, and returns the value to keep.
        parse: The function that makes a value of a URL parameter; None if a URL has no such.
    """

    def __init__(
        self, default: Any, check: Check, parse: Callable[[str], Any] | None = None
    ) -> None:
        self.default = default
        self.check = check
        self.parse = parse


def _integer(low: int, high: int = _MAX) -> Check:
    allowed = f"at least {low}" if high == _MAX else f"from {low} to {high}"

    def check(option: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{option} is {value!r}, but must be an int")
        if not low <= value <= high:
            must = allowed if value < low or high != _MAX else "below 2**63"
            raise ValueError(f"{option} is {value!r}, but must be {must}")
        return int(value)

    return check


def _callable(argument: str) -> Check:
    def check(option: str, value: Any) -> Any:
        if not callable(value):
            raise TypeError(f"{option} is {value!r}, but must be a callable that takes {argument}")
        return value

    return check


def _retry_delay(option: str, value: Any) -> Any:
    if callable(value):
        return value
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{option} is {value!r}, but must be a number of ms, a callable or None")
    if not 0 <= value < 2**31:
        raise ValueError(f"{option} is {value!r}, but must be from 0 to 2**31 ms")
    return value


def _optional(check: Check) -> Check:
    return lambda option, value: None if value is None else check(option, value)


def _flag(option: str, value: Any) -> bool:
    if not isinstance(value, int) or value not in (0, 1):
        raise TypeError(f"{option} is {value!r}, but must be True or False")
    return bool(value)


def _hold(option: str, value: Any) -> Any:
    if value == "exact":
        return value
    try:
        return _integer(0)(option, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}, or 'exact'") from None


def _on_rewind(option: str, value: Any) -> Any:
    if value not in ("keep", "restart"):
        raise ValueError(f"{option} is {value!r}, but must be 'keep' or 'restart'")
    return value


def _host(option: str, value: Any) -> Any:
    if callable(value) and not isinstance(value, Secret):
        return value
    if isinstance(value, Secret):
        found = "is a URL"
        must = "a name or an address; use from_url()"
    elif not isinstance(value, str):
        # The value is not shown: other libraries' clients show much of themselves.
        hint = "; streams go into streams=" if isinstance(value, (dict, list, tuple, set)) else ""
        raise TypeError(
            f"{option} is of type {type(value).__name__}, but must be a str or a callable{hint}"
        )
    elif not value:
        found, must = "is empty", "a name or an address"
    elif value.count(":") == 1:
        found, must = "has a port in it", "a name or an address; give port= the port"
    else:
        return value
    raise ValueError(f"{option} {found}, but must be {must}")


def _text(option: str, value: Any) -> Any:
    """Take text; what is empty is None, as with redis-py (contract 6.7)."""
    if value is not None and not isinstance(value, (str, bytes)):
        raise TypeError(f"{option} is {value!r}, but must be a str, bytes or None")
    return value or None


def _password(option: str, value: Any) -> Any:
    if value is not None and not isinstance(value, Secret):
        return value  # a callable
    kind = type(reveal(value))
    if kind is not type(None) and not issubclass(kind, (str, bytes)):
        raise TypeError(
            f"{option} is of type {kind.__name__}, but must be a str, bytes or a callable"
        )
    return value


def _client_name(option: str, value: Any) -> Any:
    value = _text(option, value)
    text = value.decode("latin-1") if isinstance(value, bytes) else value or ""
    # Source: https://redis.io/docs/latest/commands/client-setname/
    if not all("!" <= letter <= "~" for letter in text):
        raise ValueError(f"{option} is {value!r}, but must be printable ASCII without spaces")
    return value


def _unix_socket_path(option: str, value: Any) -> Any:
    import socket  # here, so that importing the package stays cheap

    if not _text(option, value):
        raise ValueError(f"{option} is empty, but must be a path")
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError(
            f"{option} is given, but Python has no unix sockets on this system; "
            "give host and port instead"
        )
    return value


def _ssl(option: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    from ssl import SSLContext  # slow to import

    if not isinstance(value, SSLContext):
        raise TypeError(f"{option} is {value!r}, but must be a bool or an ssl.SSLContext")
    return value


def _file(option: str, value: Any) -> Any:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{option} is {value!r}, but must be the name of a file, or None")
    return value


def _seconds(option: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{option} is {value!r}, but must be a number of seconds, or None")
    if not 0 < value < 2**31:
        raise ValueError(f"{option} is {value!r}, but must be more than 0 seconds, or None")
    return float(value)


def _encoding(option: str, value: Any) -> Any:
    if not isinstance(value, str):
        raise TypeError(f"{option} is {value!r}, but must be a str")
    try:
        if option == "encoding_errors":
            codecs.lookup_error(value)
        else:
            "0".encode(value)
    except (LookupError, ValueError) as error:
        raise ValueError(f"{option} is {value!r}, which cannot be used: {error}") from None
    return value


def parse_boolean(text: str) -> bool:
    """Read a truth value of a URL.

    Raises:
        ValueError: It is none.
    """
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


READ = {
    "count": Option(100, _integer(1)),
    "block": Option(1000, _optional(_integer(0))),
    "stop_on_timeout": Option(False, _flag),
    "timeout_response": Option(None, lambda _, value: value),
    "raise_connection_exceptions": Option(True, _flag),
    "retry_delay": Option(None, _optional(_retry_delay)),
    "fields": Option(dict, _callable("pairs")),
    "hold": Option(0, _hold),
    "on_rewind": Option("keep", _on_rewind),
    # Whoever needs more connections should spread the streams over processes.
    "connections": Option(None, _optional(_integer(1, 1000))),
    "max_bytes": Option(67108864, _integer(1024)),
}
"""The options of reading and delivery, in the order of the constructor's signature."""

CONNECTION = {
    "host": Option("localhost", _host),
    "port": Option(6379, _integer(1, 65535)),
    "username": Option(None, _text, str),
    "password": Option(None, _password, str),
    "credentials_max_age": Option(None, _optional(_seconds), float),
    "db": Option(0, _integer(0, 2**31 - 1), int),
    "protocol": Option(2, _integer(2, 3), int),
    "client_name": Option(None, _client_name, str),
    "unix_socket_path": Option(None, _optional(_unix_socket_path), str),
    "address_remap": Option(None, _optional(_callable("an address"))),
    "ssl": Option(False, _ssl, parse_boolean),
    "ssl_ca_certs": Option(None, _optional(_file), str),
    "ssl_certfile": Option(None, _optional(_file), str),
    "ssl_keyfile": Option(None, _optional(_file), str),
    "ssl_check_hostname": Option(True, _flag, parse_boolean),
    "socket_timeout": Option(5.0, _optional(_seconds), float),
    "socket_connect_timeout": Option(None, _optional(_seconds), float),
    "socket_keepalive": Option(True, _flag, parse_boolean),
    "decode_responses": Option(False, _flag, parse_boolean),
    "encoding": Option("utf-8", _encoding, str),
    "encoding_errors": Option("surrogateescape", _encoding, str),
}
"""The options of the connection, in that order, where the first two come before all others."""

OPTIONS = READ | CONNECTION


def pick(options: Mapping[str, Option], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the options of one table out of the arguments of a function."""
    return {name: arguments[name] for name in options if name in arguments}


def _check_all(options: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check options of one table, and add the defaults of those that are not given."""
    for name in given:
        if name not in options:
            raise TypeError(f"{name!r} is not an option of this kind")
    return {
        name: option.check(name, given.get(name, option.default))
        for name, option in options.items()
    }


class ReadOptions:
    """The options of reading and delivery.

    Args:
        given: Options of `READ`; the others have their defaults.

    Raises:
        TypeError: A value is of a wrong type.
        ValueError: A value is out of range.
    """

    block: int | None
    connections: int | None
    count: int
    fields: Callable[[Iterable[tuple[Any, Any]]], Any]
    hold: int | Literal["exact"]
    max_bytes: int
    on_rewind: str
    raise_connection_exceptions: bool
    retry_delay: RetryDelay | None
    stop_on_timeout: bool
    timeout_response: object

    def __init__(self, **given: Any) -> None:
        self.__dict__ |= _check_all(READ, given)
        if self.hold == "exact" and self.connections is None:
            # Over one connection, each answer covers all streams.
            self.connections = 1


class ConnectionOptions:
    """The server's address, the credentials, and how its bytes are decoded.

    Args:
        host: The option `host`.
        port: The option `port`.
        given: Further options of `CONNECTION`; the others have their defaults.

    Raises:
        TypeError: A value is of a wrong type.
        ValueError: A value is out of range, or contradicts another one.
    """

    address_remap: AddressRemap | None
    client_name: str | bytes | None
    connect_timeout: float | None
    credentials_max_age: float | None
    db: int
    decode_responses: bool
    encoding: str
    encoding_errors: str
    host: str
    port: int
    protocol: int
    socket_keepalive: bool
    socket_timeout: float | None
    unix_socket_path: str | bytes | None
    username: str | bytes | None

    def __init__(self, host: Host = "localhost", port: int = 6379, **given: Any) -> None:
        host = conceal_url(host)
        conceal_keywords(given)
        checked = _check_all(CONNECTION, {"host": host, "port": port, **given})
        if callable(host) and checked["unix_socket_path"] is not None:
            raise ValueError("a callable host and unix_socket_path are given; give one of them")
        kept = ConnectionOptions.__annotations__
        vars(self).update({name: value for name, value in checked.items() if name in kept})
        # A callable host has no name before it is asked.
        self.host = "" if callable(host) else host
        self._password: Callable[[], object] = checked["password"] or Secret(None)
        self._tls = prepare_tls(checked)
        self.connect_timeout = checked["socket_connect_timeout"] or self.socket_timeout
        self._given = checked

    @property
    def address(self) -> str:
        """The address, for people: ``"localhost:6379"``, ``"[::1]:6379"``, ``"unix:/path"``."""
        path = self.unix_socket_path
        if path is not None:
            text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
            return f"unix:{escape(text)}"
        if not self.host:
            return "wherever host() says"
        return _at(self.host, self.port)

    @property
    def finds_host(self) -> bool:
        """True if a callable finds the host at each connect."""
        return callable(self._given["host"])

    @property
    def is_tls(self) -> bool:
        """True if the connection is over TLS."""
        return self._tls is not None

    def __repr__(self) -> str:
        if not hasattr(self, "_given"):  # its constructor failed
            return "ConnectionOptions(not complete)"
        return f"ConnectionOptions({self.address!r}, db={self.db})"

    def __deepcopy__(self, _: object) -> ConnectionOptions:
        return self  # nothing of it changes

    def __reduce__(self) -> Any:
        from functools import partial

        given = dict(self._given)
        password = given.pop("password")
        if password is not None and not isinstance(password, Secret):
            raise TypeError("a Redis whose password is a callable cannot be pickled")
        if not isinstance(given["ssl"], bool):
            raise TypeError(
                "a Redis whose ssl is a context cannot be pickled; give the files of certificates "
                "as ssl_ca_certs, ssl_certfile and ssl_keyfile"
            )
        given |= {"host": given["host"] if self.finds_host else self.host, "port": self.port}
        return partial(ConnectionOptions, **given, password=reveal(password)), ()

    def make_ssl_context(self) -> SSLContext | None:
        """Return the context for a connection that is made now; None without TLS.

        Certificates in files are those of now.

        Raises:
            OSError: A file cannot be read, or is not a certificate or its key.
        """
        return self._tls.make_context() if isinstance(self._tls, CertificateFiles) else self._tls

    def at(self, host: str, port: int) -> ConnectionOptions:
        """Return the same options for a server at this address, whatever a callable host says.

        Raises:
            TypeError, ValueError: It is not a valid address.
        """
        other = object.__new__(ConnectionOptions)
        vars(other).update(vars(self))
        found = OPTIONS["host"].check("host", conceal_url(host))
        if not isinstance(found, str):
            raise TypeError("host is a callable, but must be a str here")
        other.host = found
        other.port = OPTIONS["port"].check("port", port)
        other._given = {**self._given, "host": found}
        return other

    def located(self) -> ConnectionOptions:
        """Return the same options for where the server is now: a callable host is asked.

        Raises:
            OSError: The callable has raised an exception, which is chained, or has returned
                something that is not an address.
        """
        if not self.finds_host:
            return self
        found = self._found_by("host()", self._given["host"])
        found._given = self._given  # it is asked again for the next connection
        return found

    def redirected(self, host: str, port: int) -> ConnectionOptions:
        """Return the same options for a node that a redirection names: `address_remap` is asked.

        Raises:
            ConnectionError: `address_remap` has raised an exception, which is chained, or has
                returned something that is not an address. Or the server was reached over a unix
                socket: credentials that were meant for it should not go over a network only since
                it says so.
        """
        remap = self.address_remap
        if remap is not None:
            call = f"address_remap({(host, port)!r})"
            try:
                found = self._found_by(call, lambda: remap((host, port)))
            except OSError as error:
                raise ConnectionError(str(error)) from error.__cause__
            host, port = found.host, found.port
        if self.unix_socket_path is None:
            return self.at(host, port)
        if (host, port) == (self.host, self.port):
            return self
        raise ConnectionError(
            f"{self.address} redirects to {_at(host, port)}, but a redirection is not followed "
            "from a unix socket; give host and port of a node instead"
        )

    def _found_by(self, call: str, find: Callable[[], Any]) -> ConnectionOptions:
        """Return the same options for the address that a callable of the caller returns."""
        try:
            found = find()
        except Exception as error:
            raise OSError(f"{call} raised {type(error).__name__}: {error}") from error
        if not isinstance(found, tuple) or len(found) != 2:
            raise OSError(f"{call} returned {found!r}, but must return a tuple of host and port")
        try:
            return self.at(*found)
        except (TypeError, ValueError) as error:
            raise OSError(f"{call} returned {found!r}: {error}") from error

    @property
    def ask_credentials(self) -> Callable[[], object] | None:
        """The caller's callable that returns the password, perhaps with a user; None if none."""
        return None if isinstance(self._password, Secret) else self._password

    def credentials(self, ask: Callable[[], object] | None = None) -> Login:
        """Return the user name and the password as they are now; None for what there is not.

        Args:
            ask: The function that returns or raises what the caller's callable did; by default
                the callable itself.

        Raises:
            OSError: The callable has raised an exception, which is chained, or has returned
                something that is not a password.
        """
        try:
            found: Any = (ask or self._password)()
        except Exception as error:
            # The text of an OSError names a file or a peer; that of others may quote a secret.
            text = f": {error}" if isinstance(error, OSError) else ""
            raise OSError(f"password() raised {type(error).__name__}{text}") from error
        kind = f"a value of type {type(found).__name__}"
        is_pair = isinstance(found, tuple) and len(found) == 2
        user: Any
        password: Any
        user, password = found if is_pair else (None, found)
        if all(part is None or isinstance(part, (str, bytes)) for part in (user, password)):
            if _can_encode(user) and _can_encode(password):
                return user or self.username, password or None
            kind = "text that cannot be encoded"
        # Reports with local variables would show it.
        del found, user, password
        raise OSError(
            f"password() returned {kind}, but must return a str or bytes, or a tuple of user name "
            "and password"
        )

    def encode(self, name: str | bytes) -> bytes:
        """Return a stream's name as the key that it is on the wire.

        Raises:
            ValueError: The name cannot be encoded.
        """
        if isinstance(name, bytes):
            return name
        try:
            return name.encode(self.encoding, self.encoding_errors)
        except UnicodeError as error:
            raise ValueError(f"stream {name!r}: its name cannot be encoded: {error}") from None


def _can_encode(value: str | bytes | None) -> bool:
    """Return True for what can be sent as a user name or a password."""
    try:
        if isinstance(value, str):
            value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def is_async(function: object) -> bool:
    """Return True for an async function, and for an object that is called as one."""
    from inspect import iscoroutinefunction  # slow to import

    return iscoroutinefunction(function) or iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004
    )


def _at(host: str, port: int) -> str:
    """Return an address for people."""
    host = escape(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
