"""URLs of servers: ``redis://user:password@host:port/db?option=value`` (contract 1.1)."""

from __future__ import annotations

from .options import OPTIONS
from .secret import is_secret_name, reveal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
    from urllib.parse import SplitResult

_FORMS = "give redis://host:port, rediss://host:port or unix:///path"


def parse_url(url: str) -> dict[str, Any]:
    """Make of a URL the connection options that it stands for.

    Args:
        url: ``redis://`` for TCP, ``rediss://`` for TLS, ``unix://`` and a path for a
            unix socket. User, password and path may be percent-encoded; the query has
            connection options by their names. The URL may be in a `Secret`.

    Raises:
        ValueError: An unknown scheme or query parameter, or a value that does not fit.
            The text never has the URL itself, which may hold a password.
    """
    try:
        return _parse(reveal(url))
    except (TypeError, ValueError) as error:
        # Reports with local variables would show them.
        del url
        raise error.with_traceback(None) from None


def _parse(url: str) -> dict[str, Any]:
    # Imported where it is used: importing the package should stay cheap.
    from urllib.parse import parse_qsl, unquote

    parts = _split(url)
    options: dict[str, Any] = {}
    if parts.scheme == "unix":
        options["unix_socket_path"] = unquote(parts.netloc.rpartition("@")[2] + parts.path)
        if not options["unix_socket_path"]:
            raise ValueError("url: unix:// has no path; give unix:///path/of/socket")
    elif parts.scheme in ("redis", "rediss"):
        options |= _read_tcp(parts.scheme, parts.hostname, parts.port, unquote(parts.path))
    else:
        raise ValueError(f"url: unknown scheme {parts.scheme!r}; {_FORMS}")
    if parts.username:
        options["username"] = unquote(parts.username)
    if parts.password is not None:
        options["password"] = unquote(parts.password)
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        options[name] = _read_parameter(name, text)
    if not options.get("ssl", True) and parts.scheme == "rediss":
        raise ValueError("url: rediss:// contradicts ssl=false; use redis:// without TLS")
    return options


def _split(url: str) -> SplitResult:
    """Split the URL; errors do not show the parts, since a password may be in them."""
    from urllib.parse import urlsplit

    if not isinstance(url, str):
        raise TypeError(f"url is of type {type(url).__name__}, but must be a str")
    if "://" not in url:
        raise ValueError(f"url: it has no scheme in front; {_FORMS}")
    try:
        parts = urlsplit(url)
        _ = parts.port  # is read only now
    except ValueError:
        raise ValueError("url: its host or port cannot be read; give host:port") from None
    if "@" in parts.path + parts.query + parts.fragment:
        # A part of the password may be there: the text does not show it.
        raise ValueError("url: '@' is behind the address; write '%40' there and in passwords")
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


def _read_parameter(name: str, text: str) -> Any:
    parse = OPTIONS[name].parse if name in OPTIONS else None
    if parse is None:
        known = [option for option in OPTIONS if OPTIONS[option].parse]
        raise ValueError(f"url: unknown parameter {name!r}; those known are {', '.join(known)}")
    try:
        return parse(text)
    except ValueError:
        expected: dict[object, str] = {int: "a whole number", float: "a number"}
        shown = "(not shown)" if is_secret_name(name) else repr(text)
        raise ValueError(
            f"url: {name} is {shown}, but must be {expected.get(parse, 'true or false')}"
        ) from None
