"""The command's arguments: parsed into settings, or refused with an error that says why."""

from __future__ import annotations

import re
from argparse import (
    SUPPRESS,
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)

from ..escaping import escape
from ..starts import Last
from .template import Template
from .times import doubt_about, is_ago, parse_start, parse_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, NoReturn, TypeVar

    T = TypeVar("T")

_COUNT = 250
# Longest wait, in ms, before the command does other work: it stores the state, for instance.
_TICK = 1000

_is_url = re.compile("(?:redis|rediss|unix)://").match
_is_mistyped_url = re.compile("((?:redis|rediss|unix):)/([^/].*)", re.DOTALL).fullmatch
# Names of streams have colons, too. These are hardly names.
_is_address = re.compile(r"(localhost|\d+(\.\d+){3})(:\d+)?|.+:6379").fullmatch

USAGE = "pystreamredis [URL] NAME[=START] ... [options]"
_DESCRIPTION = """\
Print the messages of Redis streams, merged in ID order, and follow them.

  URL    redis://user@host:port/db, rediss:// (TLS) or unix://user@/path, with
         connection options as query parameters; by default REDIS_URL from the
         environment, or redis://localhost:6379
  NAME   a stream; a name that contains "=" needs a START
  START  $ or now (from now on), + (the last message, and on), today, yesterday,
         <ms>-<sequence> (after that message), <ms>, an ISO date or time (in the
         local zone, unless it has one), or how long ago: -15m, -2h, -7d, -1w,
         -1d12h; by default --last, or else $, or 0 (the whole history) if the
         command ends when all messages are read"""
_EPILOG = """\
examples:
  pystreamredis Stream0 Stream1                 messages from now on
  pystreamredis redis://db.example Stream0=-15m the last 15 minutes, and on
  pystreamredis Stream0=2026-01-01 --until 2026-01-02 --json > day.jsonl
  pystreamredis Stream0 --exit --csv temp,hum   the whole history, as a table
  pystreamredis Stream0 --format '{time:%H:%M:%S} {field[temp]}'
  pystreamredis Stream0=0 --json --state positions.json >> copy.jsonl

The password comes from the prompt of --ask-password, or else from the URL, or
else from REDISCLI_AUTH in the environment. In a URL other users of the machine
can see it.
SIGUSR1 has the command print a line of figures on stderr.
The exit code is 0; 1 if the connection fails, the server refuses, or the
output cannot be written; 2 after bad usage; 130 after Ctrl-C."""

# Options of redis-cli that people try, and what to use here.
_SERVER_HINT = "give the server as redis://host:port, without an option"
_LOGIN_HINT = "set REDISCLI_AUTH, or use --ask-password"
_FOREIGN = {
    "-p": _SERVER_HINT,
    "--port": _SERVER_HINT,
    "--host": _SERVER_HINT,
    "-u": _SERVER_HINT,
    "--uri": _SERVER_HINT,
    "--url": _SERVER_HINT,
    "-a": _LOGIN_HINT,
    "--pass": _LOGIN_HINT,
    "--password": _LOGIN_HINT,
    "--cacert": "use --tls-ca",
    "--cert": "use --tls-cert",
    "--key": "use --tls-key",
    "--insecure": "use --tls-ca, or --tls-any-host",
}


class ServerSettings(Namespace):
    """The server, and the way to connect to it.

    Attributes:
        url: The URL that was given; None for the default one.
        asks_password: True to prompt for the password.
        options: Options of `Streams` about the connection.
    """

    url: str | None
    asks_password: bool
    options: dict[str, Any]


class OutputSettings(Namespace):
    """The format of messages: JSON, a table of the fields in `csv`, a template, or text.

    Attributes:
        color: ``always``, ``never``, or ``auto`` for colours on terminals that want them.
    """

    json: bool
    csv: list[str] | None
    csv_safe: bool
    template: str | None
    color: str


class EndSettings(Namespace):
    """The end of the messages to print.

    Attributes:
        when_drained: True to end when all messages that are there are read.
        limit: Number of messages to print; None for all.
        until: Time of the first message that is not printed, in ms since the epoch.
    """

    when_drained: bool
    limit: int | None
    until: int | None


class Settings(Namespace):
    """The parsed arguments.

    Attributes:
        streams: Start of each stream.
        count: Entries of each stream that one read asks for.
        block: Longest wait for a message, in ms; None for no wait.
        hold: Time to keep each message back, in ms, or "exact".
        state: Path of the file with positions.
        health: Path of the file that is touched.
    """

    server: ServerSettings
    streams: dict[str, int | str | Last | None]
    output: OutputSettings
    end: EndSettings
    count: int
    block: int | None
    hold: int | Literal["exact"]
    state: str | None
    health: str | None


class _Parser(ArgumentParser):
    """Reports errors in one line, with a hint at the help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"pystreamredis: {escape(message)} (see pystreamredis --help)\n")


def parse(
    arguments: Sequence[str],
    now: float,
    version: str,
    is_socket: Callable[[str], bool] = lambda _: False,
) -> Settings:
    """Parse the command's arguments.

    Args:
        arguments: The arguments, without the command's own name.
        now: The current time, in seconds since the epoch.
        version: The version to print.
        is_socket: Returns whether a unix socket is at a path.

    Raises:
        SystemExit: The help or the version was printed, or an error was: then its code is 2.
    """
    parser = make_parser(now, version)
    # argparse takes names behind "--" for options if they begin with "-".
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options, names = arguments[:end], arguments[end + 1 :]
    try:
        _refuse_help_with_a_value(options)
        parsed, unknown = parser.parse_known_intermixed_args(_join_ago(options))
        _refuse_unknown(unknown, parser)
        parsed.names += names
        return _settings(parsed, now, is_socket)
    except ValueError as error:
        parser.error(str(error))


def make_parser(now: float, version: str) -> ArgumentParser:
    """Make the parser of the options; `now` is in seconds since the epoch."""
    parser = _Parser(
        "pystreamredis",
        usage=USAGE,
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
    others.add_argument(
        "--health",
        metavar="FILE",
        help="touch FILE after each answer of the server, at least once a second; an older FILE "
        "says that nothing is read",
    )
    others.add_argument("-h", "--help", action="help", help="print this help and exit")
    others.add_argument(
        "--version", action="version", version=version, help="print the version and exit"
    )
    return parser


def _add_formats(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "formats",
        "one line a message; by default readable text",
    )
    add = group.add_mutually_exclusive_group().add_argument
    add("-J", "--json", action="store_true", help="print each message as a JSON object")
    add(
        "--csv",
        metavar="FIELDS",
        type=_typed(_fields),
        help="print a table of the stream, the ID and these fields (temp,humidity), with a "
        "header unless stdout is a file that is not empty",
    )
    group.add_argument(
        "--csv-safe",
        action="store_true",
        help="put an apostrophe before cells of --csv that a spreadsheet would run as formulas",
    )
    add(
        "-f",
        "--format",
        metavar="TEMPLATE",
        type=_typed(_template),
        help="print a line made of {stream}, {id}, {ms}, {time}, {fields} and {field[name]}; "
        "{time:%%H:%%M} as in strftime, {stream:10} for a width, \\n \\t \\xHH, {{ and }} for "
        "braces",
    )
    group.add_argument(
        "--color",
        metavar="WHEN",
        choices=("always", "never", "auto"),
        default="auto",
        help="use colours in readable text: always, never, or auto (the default), which is on a "
        "terminal unless NO_COLOR is set",
    )


def _add_ends(parser: ArgumentParser, now: float) -> None:
    add = parser.add_argument_group("end (by default the command follows for ever)").add_argument
    add(
        "-e",
        "--exit",
        action="store_true",
        help="exit when all messages that are there are read",
    )
    add("-n", "--limit", metavar="N", type=_typed(_positive), help="exit after N messages")
    add(
        "--until",
        metavar="TIME",
        type=_typed(lambda text: parse_time(text, now)),
        help="exit before the first message of that time, or when the time has come and all is "
        "read: <ms>, an ISO date or time, -15m",
    )


def _add_reading(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("reading").add_argument
    add(
        "--last",
        metavar="N",
        type=_typed(_positive),
        help="begin each stream without a START at the N-th message from its end",
    )
    add(
        "--state",
        metavar="FILE",
        help="save positions in FILE and resume from them, overriding START",
    )
    add(
        "--count",
        metavar="N",
        type=_typed(_positive),
        default=_COUNT,
        help=f"ask for up to N messages of each stream in one read ({_COUNT})",
    )
    add(
        "--block",
        metavar="MS",
        type=_typed(_natural),
        default=None,
        help="wait up to MS for a message: with --exit before exiting (default 0), otherwise in "
        f"each read ({_TICK} by default and at most)",
    )
    add(
        "--hold",
        metavar="MS",
        type=_typed(_hold),
        default=0,
        help="keep each message back for MS, so that late ones are sorted in; with 'exact', until "
        "no smaller ID can come",
    )


def _add_connection(parser: ArgumentParser) -> None:
    add = parser.add_argument_group("connection").add_argument
    add("--ask-password", action="store_true", help="prompt for the password")
    add("--tls", action="store_true", help="use TLS, as rediss:// does; implied by the next four")
    add("--tls-ca", metavar="FILE", help="trust these certificates instead of the system's")
    add("--tls-cert", metavar="FILE", help="use this client certificate")
    add("--tls-key", metavar="FILE", help="use this key of the client certificate")
    add("--tls-any-host", action="store_true", help="accept a certificate for another host")


def _join_ago(arguments: Sequence[str]) -> list[str]:
    """Join ``--until -15m``, the value of which argparse takes for an option."""
    joined: list[str] = []
    for argument in arguments:
        if is_ago(argument) and joined[-1:] == ["--until"]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _refuse_help_with_a_value(arguments: Sequence[str]) -> None:
    """Refuse ``-h host``, as redis-cli has it."""
    for at, argument in enumerate(arguments[:-1]):
        if argument == "-h" and not arguments[at + 1].startswith("-"):
            raise ValueError(f"-h prints the help; {_SERVER_HINT}")


def _refuse_unknown(unknown: Sequence[str], parser: ArgumentParser) -> None:
    if not unknown:
        return
    text = unknown[0]
    # An attached value may be a password.
    option = text.partition("=")[0]
    if option[:2] in _FOREIGN:
        option = option[:2]
    if option in _FOREIGN:
        raise ValueError(f"unknown option {option}; {_FOREIGN[option]}")
    from difflib import get_close_matches

    known = re.findall("--[a-z-]+", parser.format_help())
    similar = get_close_matches(option, dict.fromkeys(known), 1) if len(option) > 2 else []
    hint = f"did you mean {similar[0]}?" if similar else "the name of a stream goes after --"
    raise ValueError(f"unknown option {option}; {hint}")


def _settings(parsed: Namespace, now: float, is_socket: Callable[[str], bool]) -> Settings:
    url, names = _split_url(parsed.names)
    end = EndSettings(
        # No message can come any more before a time that has passed.
        when_drained=parsed.exit or (parsed.until is not None and parsed.until <= now * 1000),
        limit=parsed.limit,
        until=parsed.until,
    )
    default_start: str | Last | None = "0" if end.when_drained else None
    if parsed.last:
        default_start = Last(parsed.last)
    streams = _streams(names, default_start, now, is_socket, has_url=url is not None)
    if parsed.csv_safe and parsed.csv is None:
        raise ValueError("--csv-safe needs --csv FIELDS")
    block = parsed.block or None
    return Settings(
        server=ServerSettings(
            url=url, asks_password=parsed.ask_password, options=_connection_options(parsed)
        ),
        streams=streams,
        output=OutputSettings(
            json=parsed.json,
            csv=parsed.csv,
            csv_safe=parsed.csv_safe,
            template=parsed.format,
            color=parsed.color,
        ),
        end=end,
        count=min(parsed.count, parsed.limit or parsed.count),
        block=block if end.when_drained else min(block or _TICK, _TICK),
        hold=parsed.hold,
        state=parsed.state,
        health=parsed.health,
    )


def _streams(
    texts: Sequence[str],
    default_start: str | Last | None,
    now: float,
    is_socket: Callable[[str], bool],
    *,
    has_url: bool,
) -> dict[str, int | str | Last | None]:
    streams: dict[str, int | str | Last | None] = {}
    for at, text in enumerate(texts):
        _refuse_what_is_no_name(text, is_socket, may_be_address=not (at or has_url))
        name, start = _stream(text, default_start, now)
        if name in streams:
            raise ValueError(f"stream {name!r} is given twice")
        streams[name] = start
    if not streams:
        raise ValueError("no streams are given, expected NAME or NAME=START")
    return streams


def list_doubts(settings: Settings) -> list[str]:
    """List values that are valid, and yet may not be what was meant."""
    times = {f"stream {name!r}: start": str(s) for name, s in settings.streams.items()}
    times["--until"] = str(settings.end.until)
    return [
        f"{what} {time} is taken as ms, in January 1970; {doubt}"
        for what, time in times.items()
        if (doubt := doubt_about(time))
    ]


def _split_url(texts: Sequence[str]) -> tuple[str | None, list[str]]:
    # The first argument may also be a URL with an unknown scheme.
    urls = [text for at, text in enumerate(texts) if _is_url(text) or (not at and "://" in text)]
    if len(urls) > 1:
        # They are not shown: there may be passwords in them.
        raise ValueError("more than one URL is given")
    return next(iter(urls), None), [text for text in texts if text not in urls]


def _refuse_what_is_no_name(
    text: str, is_socket: Callable[[str], bool], *, may_be_address: bool
) -> None:
    """Refuse what is hardly the name of a stream, unless it has a start."""
    unless = f"(if it is the name of a stream: {text}=$)"
    if may_be_address and _is_address(text):
        raise ValueError(f"{text!r} seems to be a server, expected redis://{text} {unless}")
    mistyped = _is_mistyped_url(text)
    if mistyped and "@" in text and not text.endswith("=$"):
        # It is not shown: there may be a password in it.
        raise ValueError(f"a URL begins with {mistyped[1]}//, found one slash only")
    if mistyped and ("=" not in text or "?" in text):
        url = f"{mistyped[1]}//{'/' if mistyped[1] == 'unix:' else ''}{mistyped[2]}"
        raise ValueError(f"{text!r} seems to be a URL, expected {url} {unless}")
    if text == "help":
        raise ValueError(f"for help use pystreamredis --help {unless}")
    if is_socket(text):
        raise ValueError(f"{text!r} is a unix socket, expected unix://{text} {unless}")


def _stream(
    text: str, default: str | Last | None, now: float
) -> tuple[str, int | str | Last | None]:
    name, equals, start = text.rpartition("=")
    if not equals and text:
        return text, default
    if not name:
        raise ValueError(f"{text!r} has no name, expected NAME or NAME=START")
    if not start:
        raise ValueError(f"{text!r} has no START after '=', expected {name} or {name}=START")
    try:
        return name, parse_start(start, now)
    except ValueError as error:
        hint = f"(if '=' is a part of the name: '{text}=$')"
        raise ValueError(f"stream {name!r}: start {error} {hint}") from None


def _connection_options(parsed: Namespace) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": parsed.tls_ca,
        "ssl_certfile": parsed.tls_cert,
        "ssl_keyfile": parsed.tls_key,
    }
    options: dict[str, Any] = {name: path for name, path in files.items() if path is not None}
    if parsed.tls_any_host:
        options["ssl_check_hostname"] = False
    if options or parsed.tls:
        options["ssl"] = True
    return options


def _typed(read: Callable[[str], T]) -> Callable[[str], T]:
    """Make argparse report the text of an error."""

    def typed(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from None

    return typed


def _template(text: str) -> str:
    Template(text, for_terminal=False)  # raises if the template is not valid
    return text


def _fields(text: str) -> list[str]:
    fields = [field.strip() for field in text.split(",")]
    if not any(fields):
        raise ValueError("no fields are given, expected their names, with commas between")
    return fields


def _natural(text: str, least: int = 0) -> int:
    if not (text.isdecimal() and text.isascii() and int(text) >= least):
        raise ValueError(f"{text!r}, expected a whole number, {least} or more")
    return int(text)


def _positive(text: str) -> int:
    return _natural(text, 1)


def _hold(text: str) -> int | str:
    try:
        return text if text == "exact" else _natural(text)
    except ValueError as error:
        raise ValueError(f"{error}, or exact") from error
