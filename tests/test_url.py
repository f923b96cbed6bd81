"""`pystreamredis.url`: a URL stands for connection options, and for nothing else."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pystreamredis.options import ConnectionOptions
from pystreamredis.url import parse_url

SECRET = "open:s/e@s?a#m%e"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://", {}),
        ("redis://host", {"host": "host"}),
        ("redis://:7000", {"port": 7000}),
        ("redis://host:7000/", {"host": "host", "port": 7000}),
        ("redis://host/3", {"host": "host", "db": 3}),
        ("redis:///3/", {"db": 3}),
        ("redis://[::1]:7000/0", {"host": "::1", "port": 7000, "db": 0}),
        ("REDIS://host", {"host": "host"}),
        ("rediss://host", {"ssl": True, "host": "host"}),
        (
            "redis://user:pass@host",
            {"host": "host", "username": "user", "password": "pass"},
        ),
        ("redis://:pass@host", {"host": "host", "password": "pass"}),
        ("redis://user@host", {"host": "host", "username": "user"}),
        ("redis://user:@host", {"host": "host", "username": "user", "password": ""}),
        (
            "redis://us%40er:p%2Fa%3As%23s@host",
            {"host": "host", "username": "us@er", "password": "p/a:s#s"},
        ),
        ("unix:///run/redis.sock", {"unix_socket_path": "/run/redis.sock"}),
        ("unix://run/redis.sock", {"unix_socket_path": "run/redis.sock"}),
        (
            "unix://user:pass@/run/a%20b.sock?db=2",
            {
                "unix_socket_path": "/run/a b.sock",
                "username": "user",
                "password": "pass",
                "db": 2,
            },
        ),
    ],
)
def test_a_url_has_address_credentials_and_database(url: str, options: dict[str, Any]) -> None:
    """Contract 1.1: `redis://`, `rediss://` and `unix://` with user, password, database."""
    assert parse_url(url) == options
    ConnectionOptions(**options)


PARAMETERS = {
    "username": ("me", "me"),
    "password": (SECRET, SECRET),
    "db": ("5", 5),
    "protocol": ("3", 3),
    "client_name": ("reader", "reader"),
    "ssl_ca_certs": ("/etc/ca.pem", "/etc/ca.pem"),
    "ssl_certfile": ("/etc/cert.pem", "/etc/cert.pem"),
    "ssl_keyfile": ("/etc/key.pem", "/etc/key.pem"),
    "ssl_check_hostname": ("no", False),
    "socket_timeout": ("0.5", 0.5),
    "socket_connect_timeout": ("2", 2.0),
    "socket_keepalive": ("False", False),
    "decode_responses": ("true", True),
    "encoding": ("latin-1", "latin-1"),
    "encoding_errors": ("strict", "strict"),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_connection_options_come_as_query_parameters(name: str) -> None:
    """Contract 1.1: the connection options as query parameters."""
    text, value = PARAMETERS[name]
    assert parse_url(f"redis://?{urlencode({name: text})}") == {name: value}


def test_all_of_them_may_come_at_once() -> None:
    """Contract 1.1."""
    query = urlencode({name: text for name, (text, _) in PARAMETERS.items()})
    expected = {name: value for name, (_, value) in PARAMETERS.items()}
    assert parse_url(f"rediss://host/1?{query}") == {"ssl": True, "host": "host"} | expected


@pytest.mark.parametrize("text", ["true", "True", "YES", "1"])
@pytest.mark.parametrize("name", ["ssl_check_hostname", "socket_keepalive", "decode_responses"])
def test_truth_is_written_in_the_usual_ways(name: str, text: str) -> None:
    negation = {"true": "false", "True": "FALSE", "YES": "no", "1": "0"}[text]
    assert parse_url(f"redis://?{name}={text}") == {name: True}
    assert parse_url(f"redis://?{name}={negation}") == {name: False}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ssl_check_hostname", "true or false"),
        ("socket_timeout", "a number"),
        ("db", "a whole number"),
        ("protocol", "a whole number"),
        ("decode_responses", "true or false"),
    ],
)
@pytest.mark.parametrize("text", ["", "maybe", "1,5"])
def test_a_parameter_that_cannot_be_read_is_refused(name: str, expected: str, text: str) -> None:
    """Contract 7: the option and the value are named."""
    with pytest.raises(ValueError, match=rf"^url: {name} is '{text}', but must be {expected}$"):
        parse_url(f"redis://host?{name}={text}")


@pytest.mark.parametrize("url", ["redis://host/db", "redis://host/1/2", "redis://host/0.5"])
def test_a_database_is_a_number(url: str) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match=r"^url: db is '.*', but must be a whole number$"):
        parse_url(url)


@pytest.mark.parametrize("name", ["count", "tiemout", "Stream0", "fields"])
def test_an_unknown_parameter_is_refused(name: str) -> None:
    """Contract 7: an unknown query parameter; what there is comes with it."""
    with pytest.raises(
        ValueError, match=rf"^url: unknown parameter '{name}'; those known are user"
    ):
        parse_url(f"redis://host?db=1&{name}=0")


@pytest.mark.parametrize("scheme", ["http", "redis+tls", ""])
def test_an_unknown_scheme_is_refused(scheme: str) -> None:
    """Contract 7: an unknown URL scheme."""
    with pytest.raises(
        ValueError, match=r"^url: unknown scheme '.*'; give redis://host:port, "
    ) as caught:
        parse_url(f"{scheme}://host")
    assert repr(scheme) in str(caught.value)


@pytest.mark.parametrize("url", ["", "host", "host:6379", "127.0.0.1:6379", "redis:host", "/s"])
def test_an_address_alone_is_no_url(url: str) -> None:
    """Contract 7."""
    with pytest.raises(
        ValueError, match=r"^url: it has no scheme in front; give redis://host:port, "
    ):
        parse_url(url)


@pytest.mark.parametrize("url", ["redis://host:port", "redis://host:65536", "redis://[::1"])
def test_an_address_that_cannot_be_read_is_refused(url: str) -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match=r"^url: its host or port cannot be read; give host:port$"):
        parse_url(url)


def test_a_unix_socket_needs_a_path() -> None:
    """Contract 7."""
    with pytest.raises(ValueError, match=r"^url: unix:// has no path; give unix:"):
        parse_url("unix://")


@pytest.mark.parametrize("url", [None, b"redis://host", 5])
def test_a_url_is_text(url: Any) -> None:
    """Contract 7."""
    with pytest.raises(TypeError, match=r"^url is of type \w+, but must be a str$"):
        parse_url(url)


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_user_and_password_survive_the_url(username: str, password: str) -> None:
    """Contract 1.1: percent-encoded, everything can be written."""
    user, word = quote(username, safe="", errors="replace"), quote(password, safe="")
    expected = {"password": password} | ({"username": username} if username else {})
    assert parse_url(f"redis://{user}:{word}@") == expected
    assert parse_url(f"unix://{user}:{word}@/s") == {"unix_socket_path": "/s"} | expected


@pytest.mark.parametrize(
    "broken",
    [
        "redis://u:{}@host:port/0",
        "redis://u:{}@host:99999/0",
        "redis://u:{}@host/db",
        "redis://u:{}@host?db=x",
        "redis://u:{}@host?no_option=1",
        "http://u:{}@host",
        "unix://u:{}@",
        "redis://u:{}@[::1/0",
    ],
)
@pytest.mark.parametrize("password", [quote(SECRET, safe=""), "sesame"])
def test_no_text_of_an_error_has_the_password(broken: str, password: str) -> None:
    """Contract 7: passwords are in no error text."""
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        parse_url(broken.format(password))
    error: BaseException | None = caught.value
    while error is not None:
        assert password not in str(error)
        assert SECRET not in str(error)
        error = error.__cause__ if error.__suppress_context__ else error.__context__


@pytest.mark.parametrize(
    "url",
    [
        "redis://:12/sesame@host:6379/0",
        "redis://:12?sesame@host:6379/0",
        "redis://:12?db=sesame@host:6379/0",
    ],
)
def test_no_text_of_an_error_has_a_password_that_was_not_encoded(url: str) -> None:
    """Contract 7: passwords are in no error text. An "@" after the address tells such a one."""
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        parse_url(url)
    assert "sesame" not in str(caught.value)
