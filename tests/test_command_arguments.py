"""Arguments: settings for valid ones, and one line of error for all others."""

from __future__ import annotations

import pytest

from pystreamredis.command.arguments import Settings, list_doubts, parse
from pystreamredis.starts import Last

NOW = 1_530_403_200.0
MS = 1_530_403_200_000


def read(*arguments: str) -> Settings:
    return parse(arguments, NOW, "1.2.3", lambda path: path == "./socket")


def test_names_start_now_unless_they_say_otherwise() -> None:
    """Contract 2.1, 2.2."""
    settings = read("a", "b=0", "c=$", "d=5-1", "e=-15m", "f=1970-01-02T00:00Z")
    assert settings.streams == {
        "a": None,
        "b": "0",
        "c": None,
        "d": "5-1",
        "e": MS - 900_000,
        "f": 86_400_000,
    }
    assert settings.server.url is None


@pytest.mark.parametrize("end", [["--exit"], ["-e"], ["--until", "-1h"], ["--until=2018-01-01"]])
def test_what_ends_when_drained_starts_at_the_beginning(end: list[str]) -> None:
    """From now on there would be nothing to read."""
    settings = read("a", "b=$", *end)
    assert settings.streams == {"a": "0", "b": None}
    assert settings.end.when_drained
    assert settings.block is None


@pytest.mark.parametrize("end", [[], ["--exit"]])
def test_streams_begin_at_one_of_the_last_messages(end: list[str]) -> None:
    """Contract 2.2; kcat has it as -o -N. A start of a stream's own goes first."""
    starts = read("a", "b=$", "c=+", "d=0", "--last", "20", *end).streams
    last = starts.pop("a")
    assert isinstance(last, Last)
    assert last.n == 20
    assert starts == {"b": None, "c": "+", "d": "0"}


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_the_number_of_last_messages_is_at_least_one(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read("a", f"--last={number}")
    assert f"--last: {number!r}, expected a whole number, 1 or more" in capsys.readouterr().err


def test_an_end_that_is_to_come_is_followed_up_to() -> None:
    settings = read("a", "--until", "2018-07-02T00:00Z")
    assert settings.end.until == MS + 86_400_000
    assert not settings.end.when_drained
    assert settings.streams == {"a": None}


def test_names_may_hold_an_equals_sign_where_a_start_is_behind_it() -> None:
    assert read("a=b=0", "=x=$", "--", "-n=1").streams == {"a=b": "0", "=x": None, "-n": "1"}


def test_names_may_begin_with_a_dash_after_two_dashes() -> None:
    settings = read("a", "--json", "--", "-b", "--limit", "-c=0", "--", "-15m")
    assert settings.streams == {
        "a": None,
        "-b": None,
        "--limit": None,
        "-c": "0",
        "--": None,
        "-15m": None,
    }
    assert (settings.output.json, settings.end.limit) == (True, None)
    assert list(read("--", "-b", "redis://h").streams) == ["-b"]


@pytest.mark.parametrize("name", ["redis:/a", "unix:/a", "help", "./socket", "redis:/a@b"])
def test_what_is_hardly_a_name_is_one_with_a_start(name: str) -> None:
    assert read(f"{name}=$").streams == {name: None}


@pytest.mark.parametrize("name", ["redis:a", "unix", "redis", "helpers", "/a", "x:/y"])
def test_other_names_need_no_start(name: str) -> None:
    assert read(name).streams == {name: None}


def test_dates_are_no_ids_of_1970() -> None:
    settings = read("a=2018-07", "b=20180701", "--until=2018-08")
    starts = settings.streams
    assert starts["a"] == starts["b"] == read("c=2018-07-01").streams["c"]
    assert settings.end.until == read("c", "--until", "20180801").end.until


def test_options_may_stand_anywhere() -> None:
    settings = read("--json", "a=0", "--limit", "5", "redis://host", "b=0", "--exit")
    assert list(settings.streams) == ["a", "b"]
    assert (settings.output.json, settings.end.limit, settings.server.url) == (
        True,
        5,
        "redis://host",
    )


@pytest.mark.parametrize("url", ["redis://u:p@h:1/0?protocol=3", "rediss://h", "unix:///a/b"])
def test_a_url_is_known_wherever_it_stands(url: str) -> None:
    assert read("a", url).server.url == read(url, "a").server.url == url


@pytest.mark.parametrize(
    "names", [["sensor:12"], ["a.b:7"], ["1:2"], ["1.2:3"], ["s", "localhost:6379"]]
)
def test_names_may_have_colons(names: list[str]) -> None:
    assert list(read(*names).streams) == names


def test_what_looks_like_an_address_is_a_name_where_it_has_a_start_or_there_is_a_url() -> None:
    assert read("localhost:6379=$").streams == {"localhost:6379": None}
    assert read("redis://host", "localhost:6379").streams == {"localhost:6379": None}


def test_another_scheme_is_a_name_unless_it_comes_first() -> None:
    """In the first place it is a slip of the pen, which the library reports."""
    assert read("a", "http://x").streams == {"a": None, "http://x": None}
    assert read("http://x", "a").server.url == "http://x"


@pytest.mark.parametrize(
    ("arguments", "block"),
    [
        ([], 1000),
        (["--block", "200"], 200),
        (["--block", "60000"], 1000),
        (["--block", "0"], 1000),
        (["--exit"], None),
        (["--exit", "--block", "0"], None),
        (["--exit", "--block", "60000"], 60_000),
    ],
)
def test_waits(arguments: list[str], block: int | None) -> None:
    """Contract 4.2: with --exit it is how long nothing comes before the end."""
    assert read("a", *arguments).block == block


def test_no_more_is_asked_for_than_is_wanted() -> None:
    assert read("a", "--limit", "3").count == 3
    assert read("a", "--limit", "3000", "--count", "7").count == 7


def test_options_about_tls_imply_it() -> None:
    assert read("a").server.options == {}
    assert read("a", "--tls").server.options == {"ssl": True}
    assert read("a", "--tls-ca", "ca", "--tls-cert", "c", "--tls-key", "k").server.options == {
        "ssl": True,
        "ssl_ca_certs": "ca",
        "ssl_certfile": "c",
        "ssl_keyfile": "k",
    }
    assert read("a", "--tls-any-host").server.options == {"ssl": True, "ssl_check_hostname": False}


def test_columns_of_a_table() -> None:
    assert read("a", "--csv", "temp,a b").output.csv == ["temp", "a b"]
    assert read("a", "--csv", "index, celsius ,\tx").output.csv == ["index", "celsius", "x"]
    assert not read("a", "--csv", "b").output.csv_safe
    assert read("a", "--csv", "b", "--csv-safe").output.csv_safe


def test_colours_are_those_of_the_terminal_unless_asked() -> None:
    assert read("a").output.color == "auto"
    assert read("a", "--color=always").output.color == "always"
    assert read("a", "--color", "never").output.color == "never"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "no streams are given, expected NAME"),
        (["redis://host"], "no streams are given, expected NAME"),
        (["localhost:1", "a"], "'localhost:1' seems to be a server, expected redis://localhost:1 "),
        (["10.0.0.1:7"], "redis://10.0.0.1:7 (if it is the name of a stream: 10.0.0.1:7=$)"),
        (["localhost", "a"], "'localhost' seems to be a server, expected redis://localhost "),
        (["127.0.0.1"], "'127.0.0.1' seems to be a server, expected redis://127.0.0.1 "),
        (["db.example:6379", "a"], "expected redis://db.example:6379"),
        (["a", "a=0"], "stream 'a' is given twice"),
        (["=0"], "'=0' has no name"),
        ([""], "'' has no name"),
        (["a="], "'a=' has no START after '=', expected a or a=START"),
        (["a=b"], "if '=' is a part of the name: 'a=b=$'"),
        (["a=-5"], "stream 'a': start '-5', expected <ms>"),
        ([f"a={2**64}"], "stream 'a': start '18446744073709551616': "),
        ([f"a={10**30}"], f"start '{10**30}': {10**30} is outside of 0 to 2**64 - 1"),
        (["a", "--limit", "0"], "argument -n/--limit: '0', expected a whole number, 1 or more"),
        (["a", "--limit", "-3"], "argument -n/--limit: '-3', expected a whole number, 1 or more"),
        (["a", "--limit", "x"], "argument -n/--limit: 'x', expected a whole number"),
        (["a", "--count", "-1"], "--count"),
        (["a", "--block", "1.5"], "argument --block: '1.5', expected a whole number, 0 or more"),
        (["a", "--hold", "x"], "--hold: 'x', expected a whole number, 0 or more, or exact"),
        (["a", "--until", "soon"], "argument --until: 'soon', expected <ms>"),
        (["a", "--csv", ""], "argument --csv: no fields are given"),
        (["a", "--format", "{nothing}"], "argument -f/--format: unknown name {nothing}, expected"),
        (["a", "--json", "--csv", "b"], "not allowed with argument"),
        (["a", "--jso"], "unknown option --jso; did you mean --json?"),
        (["a", "--untill=-1h"], "unknown option --untill; did you mean --until?"),
        (["a", "--nothing-like-it"], "unknown option --nothing-like-it; the name of a stream goes"),
        (["-15x"], "unknown option -15x; the name of a stream goes after --"),
        (["a", "--x\x1b[2J\n"], "unknown option --x\\x1b[2J\\n; the name of a stream"),
        (["a", "-x"], "unknown option -x; the name of a stream goes after --"),
        (["-h", "host", "a"], "-h prints the help; give the server as redis://host:port"),
        (["-p", "6379", "a"], "unknown option -p; give the server as redis://host:port"),
        (["--host=db", "a"], "unknown option --host; give the server as redis://host:port"),
        (["-ahush", "a"], "unknown option -a; set REDISCLI_AUTH, or use --ask-password"),
        (["--pass=hush", "a"], "unknown option --pass; set REDISCLI_AUTH, or use --ask-password"),
        (["a", "--cacert", "ca.pem"], "unknown option --cacert; use --tls-ca"),
        (["redis:/localhost", "a"], "'redis:/localhost' seems to be a URL, expected redis://local"),
        (["a", "rediss:/h:1"], "expected rediss://h:1 (if it is the name of a stream: rediss:/h:1"),
        (["unix:/run/redis"], "'unix:/run/redis' seems to be a URL, expected unix:///run/redis "),
        (["redis:/u:hush@h", "a"], "a URL begins with redis://, found one slash only"),
        (["redis:/u:hush@h?ssl=true", "a"], "a URL begins with redis://, found one slash only"),
        (["redis:/h?db=1", "a"], "'redis:/h?db=1' seems to be a URL, expected redis://h?db=1 (if"),
        (["a", "--color=red"], "argument --color: invalid choice: 'red' (choose from"),
        (["help"], "for help use pystreamredis --help (if it is the name of a stream: help=$)"),
        (["a", "./socket"], "'./socket' is a unix socket, expected unix://./socket (if it is"),
        (["a", "--csv-safe"], "--csv-safe needs --csv FIELDS"),
        (["a", "--csv", " , "], "argument --csv: no fields are given"),
        (["a\x1b[2J", "--limit", "0\n"], "'0\\n', expected a whole number"),
        (["a\x1b[2J="], "'a\\x1b[2J=' has no START after '='"),
        (["a", "--tls-ca"], "expected one argument"),
    ],
)
def test_bad_usage_is_reported(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read(*arguments)
    assert caught.value.code == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert expected in errors
    assert errors.startswith("pystreamredis: ")
    assert errors.endswith(" (see pystreamredis --help)\n")
    assert errors.count("\n") == 1
    assert "hush" not in errors


def test_a_time_that_may_be_in_seconds_is_reported() -> None:
    """Contract 2.2 has it in ms, so it stays what it is."""
    settings = read("a=1530403200", "b=$", "c=2018", "--until", "1530403260")
    assert settings.streams == {"a": "1530403200", "b": None, "c": "2018"}
    assert settings.end.until == 1_530_403_260
    assert list_doubts(settings) == [
        "stream 'a': start 1530403200 is taken as ms, in January 1970; "
        "if it is in seconds, use 1530403200000",
        "stream 'c': start 2018 is taken as ms, in January 1970; if it is a year, use 2018-01-01",
        "--until 1530403260 is taken as ms, in January 1970; "
        "if it is in seconds, use 1530403260000",
    ]


def test_other_starts_are_in_no_doubt() -> None:
    starts = (
        "0",
        "$",
        "1530403200000",
        "1530403200-0",
        "999999999",
        "2000000000",
        "-15m",
        "2018-07-01",
    )
    settings = read(*(f"s{at}={start}" for at, start in enumerate(starts)), "--until", "2018-07-02")
    assert list_doubts(settings) == []


def test_passwords_in_urls_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read("redis://:hush@a", "rediss://u:hush@b", "s")
    assert "hush" not in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--version")
    assert not caught.value.code
    assert capsys.readouterr().out == "1.2.3\n"


def test_the_help_names_every_option_and_fits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert not caught.value.code
    text = capsys.readouterr().out
    for option in ("--json", "--csv", "--format", "--exit", "--limit", "--until", "--count"):
        assert f"{option} " in text or f"{option}\n" in text
    assert "examples:" in text
    assert "==SUPPRESS==" not in text
    assert max(map(len, text.splitlines())) <= 80
