"""URLs of servers: ``redis://user:password@host:port/db?option=value`` (contract 1.1)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any
    from urllib.parse import SplitResult

_EXPECTED = "expected redis://host:port, rediss://host:port or unix:///path"


def parse_url(url: str) -> dict[str, Any]:
    """Make of a URL the connection options that it stands for.

    Args:
        url: ``redis://`` for TCP, ``rediss://`` for TLS, ``unix://`` and a path for a
            unix socket. User, password and path may be percent-encoded; in the query
            come connection options by their names.

    Raises:
        ValueError: An unknown scheme or query parameter, or a value that does not fit.
            The text never has the URL itself, which may hold a password.
    """
    # Imported where it is used: importing the package is to stay cheap.
    from urllib.parse import parse_qsl, unquote

    parts = _split(url)
    options: dict[str, Any] = {}
    if parts.scheme == "unix":
        options["unix_socket_path"] = unquote(parts.netloc.rpartition("@")[2] + parts.path)
        if not options["unix_socket_path"]:
            raise ValueError("url: unix:// without a path, expected unix:///path/of/socket")
    elif parts.scheme in ("redis", "rediss"):
        options |= _read_tcp(parts.scheme, parts.hostname, parts.port, unquote(parts.path))
    else:
        raise ValueError(f"url: scheme {parts.scheme!r}, {_EXPECTED}")
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password is not None:
        options["password"] = unquote(parts.password)
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        options[name] = _read_parameter(name, text)
    if not options.get("ssl", True) and parts.scheme == "rediss":
        raise ValueError("url: rediss:// with ssl=false, expected one or the other")
    return options


def _split(url: str) -> SplitResult:
    """Take the URL apart; what cannot be is not shown, since it may hold a password."""
    from urllib.parse import urlsplit

    if not isinstance(url, str):
        raise TypeError(f"url is {type(url).__name__}, expected str")
    if "://" not in url:
        raise ValueError(f"url: no scheme in front, {_EXPECTED}")
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is read only now
    except ValueError:
        raise ValueError("url: its host or port cannot be read, expected host:port") from None
    if "@" in parts.path + parts.query + parts.fragment:
        # What stands there may be a part of the password: it is not to be shown.
        raise ValueError("url: '@' behind the address, expected '%40' there and in passwords")
    return parts


def _read_tcp(scheme: str, host: str | None, port: int | None, path: str) -> dict[str, Any]:
    options: dict[str, Any] = {"ssl": True} if scheme == "rediss" else {}
    if host:
        options["host"] = host
    if port is not None:
        options["port"] = port
    if path.strip("/"):
        options["db"] = _read_parameter("db", path.strip("/"))
    return options


def _boolean(text: str) -> bool:
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return values[text.lower()]


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "username": str,
    "password": str,
    "db": int,
    "protocol": int,
    "client_name": str,
    "unix_socket_path": str,
    "ssl": _boolean,
    "ssl_ca_certs": str,
    "ssl_certfile": str,
    "ssl_keyfile": str,
    "ssl_check_hostname": _boolean,
    "socket_timeout": float,
    "socket_connect_timeout": float,
    "socket_keepalive": _boolean,
    "decode_responses": _boolean,
    "encoding": str,
    "encoding_errors": str,
}


def _read_parameter(name: str, text: str) -> Any:
    if name not in _PARAMETERS:
        raise ValueError(
            f"url: unknown parameter {name!r}, expected one of {', '.join(_PARAMETERS)}"
        )
    read = _PARAMETERS[name]
    try:
        return read(text)
    except (ValueError, KeyError):
        expected: dict[object, str] = {int: "a whole number", float: "a number"}
        raise ValueError(
            f"url: {name} is {text!r}, expected {expected.get(read, 'true or false')}"
        ) from None
