"""Settings in, `Streams` out: the server, the login, and the start of each stream."""

from __future__ import annotations

import os
import stat

from ..exceptions import AuthenticationError
from ..streams import Streams
from ..url import parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .arguments import Settings

# The command's names of options of `Streams`.
_OWN_NAMES = {
    "ssl_ca_certs": "--tls-ca",
    "ssl_certfile": "--tls-cert",
    "ssl_keyfile": "--tls-key",
    "ssl_check_hostname=False": "--tls-any-host",
    "ssl=True": "--tls",
}
_DEFAULT_URL = "redis://localhost:6379"


def connect(settings: Settings, stored: Mapping[str, str]) -> Streams:
    """Connect, and pin "now"; a stored position overrides a start.

    Raises:
        ValueError, TypeError: An argument is not valid.
        RedisError: The server cannot be reached, or refuses.
    """
    starts = {name: stored.get(name, start) for name, start in settings.streams.items()}
    url = _url(settings)
    return Streams.from_url(
        url,
        streams=starts,
        count=settings.count,
        block=settings.block,
        hold=settings.hold,
        fields=list,
        decode_responses=True,
        encoding="utf-8",
        encoding_errors="surrogateescape",
        **settings.server.options,
        **_password(settings, url),
    )


def describe(error: Exception, settings: Settings) -> str:
    """Return the text of an error, with the command's own names, and a hint at the password."""
    text = str(error)
    query = (settings.server.url or os.environ.get("REDIS_URL", "")).partition("?")[2]
    for name, own_name in _OWN_NAMES.items():
        # A parameter of the URL keeps its name.
        if f"{name}=" not in query:
            text = text.replace(name, own_name)
    if not isinstance(error, AuthenticationError):
        return text
    return f"{text} (the password comes from --ask-password, the URL or REDISCLI_AUTH)"


def is_socket(path: str) -> bool:
    """Return whether a unix socket is at a path."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _url(settings: Settings) -> str:
    if settings.server.url is not None:
        return settings.server.url
    url = os.environ.get("REDIS_URL")
    if not url:
        return _DEFAULT_URL
    try:
        parse_url(url)
    except ValueError as error:
        raise ValueError(f"the environment's REDIS_URL: {error}") from None
    return url


def _password(settings: Settings, url: str) -> dict[str, Any]:
    """Return the option `password`; an empty one is none (contract 6.7)."""
    if settings.server.asks_password:
        password = _prompt()
    elif parse_url(url).get("password"):
        return {}
    else:
        password = os.environ.get("REDISCLI_AUTH", "")
    return {"password": password} if password else {}


def _prompt() -> str:
    import warnings
    from getpass import GetPassWarning, getpass

    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return getpass("password: ")
        except (GetPassWarning, EOFError):
            raise ValueError(
                "--ask-password needs a terminal; without one, set REDISCLI_AUTH"
            ) from None
