"""Settings in, `Streams` out: where the server is, how to log in, and where each stream starts."""

from __future__ import annotations

import os

from ..exceptions import AuthenticationError
from ..streams import Streams
from ..url import parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..exceptions import RedisError
    from .arguments import Settings

_AT_HOME = "redis://localhost:6379"


def connect(settings: Settings, stored: Mapping[str, str]) -> Streams:
    """Connect, and fix "now"; a position that was stored counts more than a start.

    Raises:
        ValueError, TypeError: What was asked for cannot be.
        RedisError: The server cannot be reached, or refuses.
    """
    starts = {name: stored.get(name, start) for name, start in settings.streams.items()}
    url = settings.url or _AT_HOME
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
        **settings.connection,
        **_password(settings, url),
    )


def describe(error: RedisError) -> str:
    """Say what went wrong, and where a password would be taken from."""
    if not isinstance(error, AuthenticationError):
        return str(error)
    return f"{error} (the password comes from REDISCLI_AUTH, or from a prompt: --ask-password)"


def _password(settings: Settings, url: str) -> dict[str, str]:
    if settings.asks_password:
        return {"password": _prompt()}
    password = os.environ.get("REDISCLI_AUTH")
    if not password or "password" in parse_url(url):
        return {}
    return {"password": password}


def _prompt() -> str:
    import warnings
    from getpass import GetPassWarning, getpass

    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)
        try:
            return getpass("password: ")
        except (GetPassWarning, EOFError):
            raise ValueError(
                "there is no terminal to ask for the password, expected one, or REDISCLI_AUTH"
            ) from None
