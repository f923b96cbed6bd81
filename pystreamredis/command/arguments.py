"""What the command is asked for: arguments in, settings out, or an error that says why not."""

from __future__ import annotations

import re
from argparse import (
    SUPPRESS,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)

from .times import is_ago, parse_start, parse_time
from .template import Template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

_COUNT = 250
# How often it looks up from waiting, in ms: to store the state, for instance.
_TICK = 1000

_is_url = re.compile("(?:redis|rediss|unix)://").match
# What has been the time in seconds since 2001, and in ms in January 1970.
_is_in_seconds = re.compile("1[0-9]{9}").fullmatch
# Names of streams have colons, too: only what is hardly one.
_is_address = re.compile(r"(localhost|\d+(\.\d+){3})(:\d+)?|.+:6379").fullmatch

_USAGE = "pystreamredis [URL] NAME[=START] ... [options]"
_DESCRIPTION = """\
Print the messages of Redis streams, merged in ID order, and follow them.

  URL    redis://user@host:port/db, rediss:// (TLS) or unix://user@/path; connection
         options may be query parameters; redis://localhost:6379 by default
  NAME   a stream; a name that contains "=" needs a START behind it
  START  $ (from now on), <ms>-<sequence> (after that message), <ms>, an ISO date or time
         (in the local zone, unless it has one), or how long ago: -15m, -2h, -7d, -1d12h;
         $ by default, or 0 (all there is) if it is to end when all is read"""
_EPILOG = """\
examples:
  pystreamredis Stream0 Stream1                       what comes from now on
  pystreamredis redis://db.example:6379 Stream0=-15m  the last 15 minutes, and on
  pystreamredis Stream0=2026-01-01 --until 2026-01-02 --json > day.jsonl
  pystreamredis Stream0 --exit --csv temp,humidity    all there is, as a table
  pystreamredis Stream0 --format '{time:%H:%M:%S} {field[temp]}'
  pystreamredis Stream0=0 Stream1=0 --json --state positions.json >> copy.jsonl

The password comes from the environment, REDISCLI_AUTH, or from a prompt. It ends with 0, with
1 if the connection fails, the server refuses, or the output cannot be written, with 2 after bad
usage and with 130 after Ctrl-C."""


class Settings(Namespace):
    """What was asked for.

    Attributes:
        url: The server; None for the one at home.
        block: How long to wait for a message before it ends, in ms; None for not at all.
        until: Where to end, in ms since the epoch.
        connection: Options of `Streams` about the connection.
    """

    url: str | None
    streams: dict[str, int | str | None]
    json: bool
    csv: list[str] | None
    template: str | None
    ends_when_drained: bool
    limit: int | None
    until: int | None
    count: int
    block: int | None
    hold: int
    state: str | None
    asks_password: bool
    names: list[str]
    tls: bool
    tls_ca: str | None
    tls_cert: str | None
    tls_key: str | None
    tls_any_host: bool
    connection: dict[str, Any]


def parse(arguments: Sequence[str], now: float, version: str) -> Settings:
    """Read what was typed, without the command's own name, at a time in seconds since the epoch.

    Raises:
        SystemExit: It asks for help or for the version, or for what cannot be: that was told,
            and the code is 2.
    """
    parser = _parser(now, version)
    settings = parser.parse_intermixed_args(_join_ago(arguments), Settings())
    try:
        _complete(settings, now)
    except ValueError as error:
        parser.error(str(error))
    return settings


def _parser(now: float, version: str) -> ArgumentParser:
    parser = ArgumentParser(
        "pystreamredis",
        usage=_USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("names", nargs="*", help=SUPPRESS)
    _add_formats(parser)
    _add_ends(parser, now)
    _add_reading(parser)
    _add_connection(parser)
    others = parser.add_argument_group("others")
    others.add_argument("-h", "--help", action="help", help="print this")
    others.add_argument("--version", action="version", version=version, help="print the version")
    return parser


def _add_formats(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "formats", "one message a line; readable text by default, in colours unless NO_COLOR is set"
    )
    add = group.add_mutually_exclusive_group().add_argument
    add("-J", "--json", action="store_true", help="JSON, an object a line")
    add(
        "--csv",
        metavar="FIELDS",
        type=_typed(_fields),
        help="a table of the stream, the ID and these fields: temp,humidity; the names of the "
        "columns come first, unless they would go into a file that is not empty",
    )
    add(
        "-f",
        "--format",
        metavar="TEMPLATE",
        dest="template",
        type=_typed(_template),
        help="of {stream}, {id}, {ms}, {time}, {fields}, {field[name]}; {time:%%H:%%M} as strftime "
        "has it, {stream:10} for a width, \\n \\t \\xHH, {{ and }} for braces",
    )


def _add_ends(parser: ArgumentParser, now: float) -> None:
    add = parser.add_argument_group("where it ends (it follows for ever by default)").add_argument
    add(
        "-e",
        "--exit",
        action="store_true",
        dest="ends_when_drained",
        help="when all that is there was read",
    )
    add("-n", "--limit", metavar="N", type=_typed(_positive), help="after N messages")
    add(
        "--until",
        metavar="TIME",
        type=_typed(lambda text: parse_time(text, now)),
        help="before the first message of that time, or when all is read and it is over: "
        "<ms>, an ISO date or time, -15m",
    )


def _add_reading(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("reading").add_argument
    add(
        "--state",
        metavar="FILE",
        help="where it stands, kept in FILE: a later run goes on there, whatever START says",
    )
    add(
        "--count",
        metavar="N",
        type=_typed(_positive),
        default=_COUNT,
        help=f"how many messages of each stream one read asks for ({_COUNT})",
    )
    add(
        "--block",
        metavar="MS",
        type=_typed(_natural),
        default=None,
        help="how long to wait for a message: with --exit it ends after that (at once by "
        f"default); else a read waits so long at the server, {_TICK} at most",
    )
    add(
        "--hold",
        metavar="MS",
        type=_typed(_natural),
        default=0,
        help="keep messages back for that long, so that late ones are sorted in",
    )


def _add_connection(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("connection").add_argument
    add("--ask-password", action="store_true", dest="asks_password", help="prompt for it")
    add("--tls", action="store_true", help="as rediss:// does; the options below imply it")
    add("--tls-ca", metavar="FILE", help="certificates to trust, in lieu of the system's")
    add("--tls-cert", metavar="FILE", help="the client's certificate")
    add("--tls-key", metavar="FILE", help="its key")
    add("--tls-any-host", action="store_true", help="the certificate may be for another host")


def _join_ago(arguments: Sequence[str]) -> list[str]:
    """``--until -15m`` is a value, which argparse takes for an option."""
    joined: list[str] = []
    for argument in arguments:
        if is_ago(argument) and joined[-1:] == ["--until"]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _complete(settings: Settings, now: float) -> None:
    """Work out what depends on more than one argument."""
    if settings.until is not None and settings.until <= now * 1000:
        settings.ends_when_drained = True
    settings.count = min(settings.count, settings.limit or settings.count)
    block = settings.block or None
    settings.block = block if settings.ends_when_drained else min(block or _TICK, _TICK)
    settings.url, names = _split_url(settings.names)
    settings.streams = {}
    if names and not settings.url and _is_address(names[0]):
        raise ValueError(
            f"{names[0]!r} seems to be a server, expected redis://{names[0]} "
            f"(if it is the name of a stream: {names[0]}=$)"
        )
    for text in names:
        name, start = _stream(text, "0" if settings.ends_when_drained else "$", now)
        if name in settings.streams:
            raise ValueError(f"stream {name!r} is given twice")
        settings.streams[name] = start
    if not settings.streams:
        raise ValueError("no streams are given, expected NAME or NAME=START")
    settings.connection = _connection(settings)


def doubts_about(settings: Settings) -> list[str]:
    """Say what is as it is to be, and yet may not be what was meant."""
    times: dict[str, object] = {
        f"stream {name!r}: start": s for name, s in settings.streams.items()
    }
    times["--until"] = settings.until
    return [
        f"{what} {time} is taken as ms, in January 1970; if it is in seconds, take {time}000"
        for what, time in times.items()
        if _is_in_seconds(str(time))
    ]


def _split_url(texts: Sequence[str]) -> tuple[str | None, list[str]]:
    # The first argument may also be a URL with a scheme that is none of the known ones.
    urls = [text for at, text in enumerate(texts) if _is_url(text) or (not at and "://" in text)]
    if len(urls) > 1:
        # Not shown: there may be passwords in them.
        raise ValueError("more than one URL is given")
    return next(iter(urls), None), [text for text in texts if text not in urls]


def _stream(text: str, default: str, now: float) -> tuple[str, int | str | None]:
    name, equals, start = text.rpartition("=")
    if not equals:
        name, start = text, default
    if not name:
        raise ValueError(f"{text!r} has no name, expected NAME or NAME=START")
    if not start:
        raise ValueError(f"{text!r} has no START behind '=', expected {name} or {name}=START")
    try:
        return name, parse_start(start, now)
    except ValueError as error:
        hint = f" (if '=' is a part of the name: '{text}=$')" if equals else ""
        raise ValueError(f"stream {name!r}: start {error}{hint}") from None


def _connection(settings: Settings) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": settings.tls_ca,
        "ssl_certfile": settings.tls_cert,
        "ssl_keyfile": settings.tls_key,
    }
    options: dict[str, Any] = {name: path for name, path in files.items() if path is not None}
    if settings.tls_any_host:
        options["ssl_check_hostname"] = False
    if options or settings.tls:
        options["ssl"] = True
    return options


def _typed(read: Callable[[str], T]) -> Callable[[str], T]:
    """Have argparse tell what a value's error says."""

    def typed(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return typed


def _template(text: str) -> str:
    Template(text, for_terminal=False)  # raises where it cannot be
    return text


def _fields(text: str) -> list[str]:
    if not text:
        raise ValueError("no fields are given, expected their names, with commas between")
    return text.split(",")


def _natural(text: str, least: int = 0) -> int:
    if not (text.isdecimal() and text.isascii() and int(text) >= least):
        raise ValueError(f"{text!r}, expected a whole number, {least} or more")
    return int(text)


def _positive(text: str) -> int:
    return _natural(text, 1)
