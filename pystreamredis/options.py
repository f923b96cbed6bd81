"""The options, once: `OPTIONS` has them all, with their defaults, checks and meanings.

The constructors' checks, the parameters of URLs and the tables of the reference page follow this
table; a test holds the signatures to it (contract 1.2, 7).
"""

from __future__ import annotations

import codecs
from contextlib import suppress

from .exceptions import ConnectionError
from .secret import Secret, conceal_keywords, conceal_url, reveal
from .tls import CertificateFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from ssl import SSLContext
    from typing import Any, TypeAlias

    from .tls import File

    Password: TypeAlias = str | bytes | Callable[[], str | bytes | None]
    Host: TypeAlias = str | Callable[[], tuple[str, int]]
    # Takes the name of an option and its value; returns the value to keep, or raises.
    Check: TypeAlias = Callable[[str, Any], Any]

READ = "read"
CONNECTION = "connection"

_MAX = 2**63 - 1  # the server reads COUNT and BLOCK into a signed 64-bit number


# Checks.


def _check_integer(low: int, high: int = _MAX) -> Check:
    allowed = f"at least {low}" if high == _MAX else f"from {low} to {high}"

    def check(option: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError(f"{option} is {value!r}, but must be an int")
        if not low <= value <= high:
            must = allowed if value < low or high != _MAX else "below 2**63"
            raise ValueError(f"{option} is {value!r}, but must be {must}")
        return int(value)

    return check


def _allow_none(check: Check) -> Check:
    return lambda option, value: None if value is None else check(option, value)


def _check_boolean(option: str, value: Any) -> bool:
    if not isinstance(value, int) or value not in (0, 1):
        raise TypeError(f"{option} is {value!r}, but must be True or False")
    return bool(value)


def _accept_anything(_: str, value: Any) -> Any:
    return value


def _check_fields(option: str, value: Any) -> Any:
    if not callable(value):
        raise TypeError(f"{option} is {value!r}, but must be a callable that takes pairs")
    return value


def _check_on_rewind(option: str, value: Any) -> Any:
    if value not in ("keep", "restart"):
        raise ValueError(f"{option} is {value!r}, but must be 'keep' or 'restart'")
    return value


def _check_host(option: str, value: Any) -> Any:
    if isinstance(value, Secret):
        raise ValueError(  # noqa: TRY004
            f"{option} is a URL, but must be a name or an address; use from_url()"
        )
    if callable(value):
        return value
    if not isinstance(value, str):
        # The value is not shown: other libraries' clients show much of themselves.
        hint = "; streams go into streams=" if isinstance(value, (dict, list, tuple, set)) else ""
        raise TypeError(
            f"{option} is of type {type(value).__name__}, but must be a str or a callable{hint}"
        )
    if not value:
        raise ValueError(f"{option} is empty, but must be a name or an address")
    if value.count(":") == 1:
        raise ValueError(
            f"{option} has a port in it, but must be a name or an address; give port= the port"
        )
    return value


def _check_text(option: str, value: Any) -> Any:
    """Take text; what is empty is None, as with redis-py (contract 6.7)."""
    if value is not None and not isinstance(value, (str, bytes)):
        raise TypeError(f"{option} is {value!r}, but must be a str, bytes or None")
    return value or None


def _check_password(option: str, value: Any) -> Any:
    if value is not None and not isinstance(value, Secret):
        return value  # a callable
    kind = type(reveal(value))
    if kind is not type(None) and not issubclass(kind, (str, bytes)):
        raise TypeError(
            f"{option} is of type {kind.__name__}, but must be a str, bytes or a callable"
        )
    return value


def _check_client_name(option: str, value: Any) -> Any:
    value = _check_text(option, value)
    text = value.decode("latin-1") if isinstance(value, bytes) else value or ""
    # Source: https://redis.io/docs/latest/commands/client-setname/
    if not all("!" <= letter <= "~" for letter in text):
        raise ValueError(f"{option} is {value!r}, but must be printable ASCII without spaces")
    return value


def _check_unix_socket_path(option: str, value: Any) -> Any:
    if value is None:
        return None
    import socket  # here, so that importing the package stays cheap

    if not _check_text(option, value):
        raise ValueError(f"{option} is empty, but must be a path")
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError(
            f"{option} is given, but Python has no unix sockets on this system; "
            "give host and port instead"
        )
    return value


def _check_ssl(option: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    from ssl import SSLContext  # slow to import

    if not isinstance(value, SSLContext):
        raise TypeError(f"{option} is {value!r}, but must be a bool or an ssl.SSLContext")
    return value


def _check_file(option: str, value: Any) -> Any:
    if value is not None and not isinstance(value, (str, bytes)) and not _is_path(value):
        raise TypeError(f"{option} is {value!r}, but must be the name of a file, or None")
    return value


def _is_path(value: object) -> bool:
    return hasattr(value, "__fspath__")


def _check_seconds(option: str, value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{option} is {value!r}, but must be a number of seconds, or None")
    if not 0 < value < 2**31:
        raise ValueError(f"{option} is {value!r}, but must be more than 0 seconds, or None")
    return float(value)


def _check_encoding(option: str, value: Any) -> Any:
    return _check_codec(option, value, lambda: codecs.lookup(value) and "0".encode(value))


def _check_encoding_errors(option: str, value: Any) -> Any:
    return _check_codec(option, value, lambda: codecs.lookup_error(value))


def _check_codec(option: str, value: Any, look_up: Callable[[], object]) -> Any:
    if not isinstance(value, str):
        raise TypeError(f"{option} is {value!r}, but must be a str")
    try:
        look_up()
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


# The table.


class Option:
    """One option.

    Attributes:
        name: Its keyword.
        kind: `READ` or `CONNECTION`.
        default: Its value where none is given.
        check: The function that takes its name and a value, and returns the value to keep.
        parse: The function that makes a value of a URL parameter; None if a URL has no such.
        meaning: Its row in the reference page, in reStructuredText.
    """

    __slots__ = ("check", "default", "kind", "meaning", "name", "parse")

    def __init__(
        self,
        name: str,
        kind: str,
        default: Any,
        check: Check,
        parse: Callable[[str], Any] | None,
        meaning: str,
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.check = check
        self.parse = parse
        self.meaning = meaning


def _read(name: str, default: Any, check: Check, meaning: str) -> Option:
    return Option(name, READ, default, check, None, meaning)


def _connection(
    name: str, default: Any, check: Check, parse: Callable[[str], Any] | None, meaning: str
) -> Option:
    return Option(name, CONNECTION, default, check, parse, meaning)


_TABLE = [
    _read(
        "count",
        100,
        _check_integer(1),
        "messages of each stream that one read asks for. It changes round trips and memory, never "
        "what is delivered: at most twice as many of each stream are held",
    ),
    _read(
        "block",
        1000,
        _allow_none(_check_integer(0)),
        "wait for a message, in ms, from when the caller asked for one. ``0``: for ever; "
        "``None``: not at all",
    ),
    _read(
        "stop_on_timeout",
        False,
        _check_boolean,
        "after that wait, ``False`` **ends** the iteration, and ``True`` **goes on**; see "
        "`Waiting`_",
    ),
    _read(
        "timeout_response",
        None,
        _accept_anything,
        "returned instead of a message after that wait where ``stop_on_timeout=True``",
    ),
    _read(
        "raise_connection_exceptions",
        True,
        _check_boolean,
        "``True``: a ``ConnectionError`` is raised; ``False``: it is returned instead of a "
        "message; see :doc:`/explanation/failures`",
    ),
    _read(
        "fields",
        dict,
        _check_fields,
        "callable that makes a message's data of its ``(field, value)`` pairs. ``list`` keeps "
        "them all where a field comes twice",
    ),
    _read(
        "hold",
        0,
        _check_integer(0),
        "time to keep each message back, in ms, so that late ones are sorted in; see "
        ":doc:`/explanation/order`",
    ),
    _read(
        "on_rewind",
        "keep",
        _check_on_rewind,
        'for a stream that seems to have begun again: ``"keep"`` the position, or '
        '``"restart"`` from its beginning; see :doc:`/explanation/guarantees`',
    ),
    _read(
        "connections",
        None,
        # Whoever needs more should spread the streams over processes.
        _allow_none(_check_integer(1, 1000)),
        "largest number of connections over which the streams are spread, 1 to 1,000; ``None`` "
        "for one for each hundred streams, and at most a hundred; see :doc:`/explanation/growing`",
    ),
    _read(
        "max_bytes",
        67108864,
        _check_integer(1024),
        "memory for messages that were read and not yet delivered, in bytes, about; at least "
        "1,024. Where entries are large, reads ask for fewer than ``count``",
    ),
    _connection(
        "host",
        "localhost",
        _check_host,
        None,
        "the server's name or address, or a callable that returns ``(host, port)`` and is asked "
        "at each connect; see :doc:`/howto/find-the-server`",
    ),
    _connection(
        "port", 6379, _check_integer(1, 65535), None, "its port, unless ``host`` is a callable"
    ),
    _connection("username", None, _check_text, str, "the user to log in as"),
    _connection(
        "password",
        None,
        _check_password,
        str,
        "the password, or a callable that returns it and is asked at each connect",
    ),
    _connection("db", 0, _check_integer(0, 2**31 - 1), int, "the number of the database"),
    _connection(
        "protocol",
        2,
        _check_integer(2, 3),
        int,
        "the version of RESP to ask for, 2 or 3. Either is understood at any time, and a server "
        "that does not know 3 is talked to in 2",
    ),
    _connection(
        "client_name", None, _check_client_name, str, "a name for the connection in ``CLIENT LIST``"
    ),
    _connection(
        "unix_socket_path",
        None,
        _check_unix_socket_path,
        str,
        "the path of a unix socket, instead of host and port",
    ),
    _connection(
        "ssl",
        False,
        _check_ssl,
        parse_boolean,
        "``True`` for TLS, or an ``ssl.SSLContext`` to use as it is",
    ),
    _connection(
        "ssl_ca_certs",
        None,
        _check_file,
        str,
        "a file of certificates to trust, instead of the system's; read at each connect",
    ),
    _connection(
        "ssl_certfile",
        None,
        _check_file,
        str,
        "a file with the client's certificate; read at each connect",
    ),
    _connection("ssl_keyfile", None, _check_file, str, "a file with its key; read at each connect"),
    _connection(
        "ssl_check_hostname",
        True,
        _check_boolean,
        parse_boolean,
        "require that the server's certificate is for ``host``",
    ),
    _connection(
        "socket_timeout",
        5.0,
        _allow_none(_check_seconds),
        float,
        "time that a reply may be late, in seconds, before the server counts as gone; ``None`` "
        "for ever. It counts on top of ``block`` and never cuts a wait short",
    ),
    _connection(
        "socket_connect_timeout",
        None,
        _allow_none(_check_seconds),
        float,
        "time that connecting may take to each of the host's addresses, in seconds; ``None`` is "
        "as ``socket_timeout``",
    ),
    _connection(
        "socket_keepalive",
        True,
        _check_boolean,
        parse_boolean,
        "have TCP probe a connection on which nothing happens",
    ),
    _connection(
        "decode_responses",
        False,
        _check_boolean,
        parse_boolean,
        "IDs, fields and values are text instead of bytes",
    ),
    _connection(
        "encoding",
        "utf-8",
        _check_encoding,
        str,
        "how they are decoded, and how the names of streams are encoded",
    ),
    _connection(
        "encoding_errors",
        "surrogateescape",
        _check_encoding_errors,
        str,
        "treatment of bytes that are not text. The default keeps them and never stops a reader",
    ),
]
OPTIONS: Mapping[str, Option] = {option.name: option for option in _TABLE}
"""All options by their names, in the order of the constructor's signature but for host and port."""


def _check_all(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check options of one kind, and add the defaults of those that are not given."""
    for name in given:
        if name not in OPTIONS or OPTIONS[name].kind != kind:
            raise TypeError(f"{name!r} is not an option of this kind")
    return {
        option.name: option.check(option.name, given.get(option.name, option.default))
        for option in _TABLE
        if option.kind == kind
    }


def pick(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the options of one kind out of the arguments of a function."""
    return {
        name: arguments[name]
        for name, option in OPTIONS.items()
        if option.kind == kind and name in arguments
    }


class ReadOptions:
    """The options of reading and delivery.

    Args:
        given: Options of the kind `READ`; the others have their defaults.

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
        "max_bytes",
        "on_rewind",
        "raise_connection_exceptions",
        "stop_on_timeout",
        "timeout_response",
    )

    block: int | None
    connections: int | None
    count: int
    fields: Callable[[Iterable[tuple[Any, Any]]], Any]
    hold: int
    max_bytes: int
    on_rewind: str
    raise_connection_exceptions: bool
    stop_on_timeout: bool
    timeout_response: object

    def __init__(self, **given: Any) -> None:
        for name, value in _check_all(READ, given).items():
            setattr(self, name, value)


class ConnectionOptions:
    """The server's address, the credentials, and how its bytes are decoded.

    Args:
        host: The option `host`.
        port: The option `port`.
        given: Further options of the kind `CONNECTION`; the others have their defaults.

    Raises:
        TypeError: A value is of a wrong type.
        ValueError: A value is out of range, or contradicts another one.
    """

    __slots__ = (
        "_find",
        "_given",
        "_password",
        "_tls",
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
        "unix_socket_path",
        "username",
    )

    client_name: str | bytes | None
    connect_timeout: float | None
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
    _find: Callable[[], tuple[str, int]] | None
    _password: Callable[[], object]

    def __init__(self, host: Host = "localhost", port: int = 6379, **given: Any) -> None:
        host = conceal_url(host)
        conceal_keywords(given)
        checked = _check_all(CONNECTION, {"host": host, "port": port, **given})
        _check_together(checked)
        for name in self.__slots__:
            if name in checked:
                setattr(self, name, checked[name])
        self._find = host if callable(host) else None
        # A callable host has no name before it is asked.
        self.host = "" if callable(host) else host
        self._password = checked["password"] or Secret(None)
        self._tls = _prepare_tls(checked)
        self.connect_timeout = checked["socket_connect_timeout"] or self.socket_timeout
        self._given = checked

    @property
    def address(self) -> str:
        """The address, for people: ``"localhost:6379"``, ``"[::1]:6379"``, ``"unix:/path"``."""
        path = self.unix_socket_path
        if path is not None:
            text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else path
            return f"unix:{_printable(text)}"
        if not self.host:
            return "wherever host() says"
        host = _printable(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def finds_host(self) -> bool:
        """True if a callable finds the host at each connect."""
        return self._find is not None

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
        given = dict(self._given)
        password = given.pop("password")
        if password is not None and not isinstance(password, Secret):
            raise TypeError("a Redis whose password is a callable cannot be pickled")
        given |= {"host": self._find or self.host, "port": self.port}
        return _restore, ({**given, "password": reveal(password)},)

    def make_ssl_context(self) -> SSLContext | None:
        """Return the context for a connection that is made now; None without TLS.

        Certificates in files are those of now.

        Raises:
            OSError: A file cannot be read, or is not a certificate or its key.
        """
        return self._tls.make_context() if isinstance(self._tls, CertificateFiles) else self._tls

    def at(self, host: str, port: int) -> ConnectionOptions:
        """Return the same options for a server at this address.

        Raises:
            TypeError, ValueError: It is not a valid address.
        """
        other = object.__new__(ConnectionOptions)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        found = OPTIONS["host"].check("host", conceal_url(host))
        if not isinstance(found, str):
            raise TypeError("host is a callable, but must be a str here")
        other.host = found
        other.port = OPTIONS["port"].check("port", port)
        return other

    def elsewhere(self, host: str, port: int) -> ConnectionOptions:
        """Return the same options for another node of a cluster.

        The node is at this address whatever a callable host says. TLS stays TLS.

        Raises:
            ConnectionError: The server was reached over a unix socket. Credentials that were
                meant for it should not go over a network only since it says so.
        """
        if self.unix_socket_path is not None:
            if (host, port) == (self.host, self.port):
                return self
            to = f"[{_printable(host)}]:{port}" if ":" in host else f"{_printable(host)}:{port}"
            raise ConnectionError(
                f"{self.address} redirects to {to}, but a redirection is not followed from a unix "
                "socket; give host and port of a node instead"
            )
        other = self.at(host, port)
        other._find = None
        return other

    def located(self) -> ConnectionOptions:
        """Return the same options for where the server is now: a callable host is asked.

        Raises:
            OSError: The callable has raised an exception, which is chained, or has returned
                something that is not an address.
        """
        if self._find is None:
            return self
        try:
            found: Any = self._find()
        except Exception as error:
            raise OSError(f"host() raised {type(error).__name__}: {error}") from error
        if not isinstance(found, tuple) or len(found) != 2:
            raise OSError(f"host() returned {found!r}, but must return a tuple of host and port")
        try:
            return self.at(*found)
        except (TypeError, ValueError) as error:
            raise OSError(f"host() returned {found!r}: {error}") from error

    def password(self) -> str | bytes | None:
        """Return the password as it is now: a callable is asked. None if there is none.

        Raises:
            OSError: The callable has raised an exception, which is chained, or has returned
                something that is not a password.
        """
        try:
            password: Any = self._password()
        except Exception as error:
            # The text of an OSError names a file or a peer; that of others may quote a secret.
            text = f": {error}" if isinstance(error, OSError) else ""
            raise OSError(f"password() raised {type(error).__name__}{text}") from error
        kind = f"a value of type {type(password).__name__}"
        if password is None or isinstance(password, bytes):
            return password or None
        if isinstance(password, str):
            with suppress(UnicodeEncodeError):
                password.encode("utf-8", "surrogateescape")
                return password or None
            kind = "text that cannot be encoded"
        del password  # Reports with local variables would show it.
        raise OSError(f"password() returned {kind}, but must return a str or bytes")

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


def _check_together(checked: Mapping[str, Any]) -> None:
    """Check options that depend on each other."""
    ssl = checked["ssl"]
    if checked["unix_socket_path"] is not None:
        if callable(checked["host"]):
            raise ValueError("a callable host and unix_socket_path are given; give one of them")
        if ssl:
            raise ValueError("ssl and unix_socket_path are given; give one of them")
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if checked[name] and ssl is False:
            raise ValueError(f"{name} is given, but ssl is False; give ssl=True as well")
        if checked[name] and ssl is not True:
            raise ValueError(
                f"{name} is given, but ssl is a context; load the file into the context, "
                "or give ssl=True"
            )
    if checked["ssl_keyfile"] and not checked["ssl_certfile"]:
        raise ValueError("ssl_keyfile is given without ssl_certfile; give both")


def _prepare_tls(checked: Mapping[str, Any]) -> CertificateFiles | SSLContext | None:
    """Prepare TLS; read the files now, so that one that is missing is reported now."""
    if checked["ssl"] is not True:
        return checked["ssl"] or None
    files: list[File | None] = [
        checked[name] or None for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    ]
    tls = CertificateFiles(*files, check_hostname=checked["ssl_check_hostname"])
    try:
        tls.make_context()
    except OSError as error:
        raise ValueError(str(error)) from error.__cause__
    return tls


def _restore(options: dict[str, Any]) -> ConnectionOptions:
    return ConnectionOptions(**options)


def _printable(text: str) -> str:
    """Escape what a terminal or a log would not show as it is, or cannot encode."""
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]
