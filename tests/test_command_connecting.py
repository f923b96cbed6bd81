"""The connection of the command: its server, its password, its certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystreamredis import AuthenticationError, ResponseError
from pystreamredis.command.arguments import parse
from pystreamredis.command.connecting import describe
from tests.certificates import Authority
from tests.commands import ENDED_BY_CTRL_C, Terminal, run, url_of
from tests.peer import Conversation, Peer, closed_port
from tests.proxy import Proxy
from tests.servers import StartServer

LINE = '{"stream": "s", "id": "1-0", "data": {"f": "v"}}\n'


def test_without_a_url_it_is_the_server_at_home() -> None:
    # Whatever is there or is not, nobody has this stream.
    done = run("pystreamredis-no-such-stream", "--exit")
    assert done.returncode == 0 or "localhost:6379" in done.stderr.splitlines()[0]


def test_a_missing_server_is_reported() -> None:
    port = closed_port()
    done = run(f"redis://127.0.0.1:{port}", "s")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"pystreamredis: cannot connect to 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("is_temporary", [True, False])
def test_the_text_of_a_server_is_one_line_that_no_terminal_obeys(*, is_temporary: bool) -> None:
    text = "x\r\npystreamredis: all is well\x1b[2J\u202e\u200f\x07".encode() + b"\xff"
    error = b"!%d\r\n%b\r\n"
    code = b"LOADING " if is_temporary else b"ERR "

    def handle(conversation: Conversation) -> None:
        conversation.expect("XREAD")
        conversation.send(error % (len(code + text), code + text))
        conversation.stay_silent()

    with Peer(handle) as peer:
        done = run(f"redis://{peer.host}:{peer.port}", "s=0", "--exit")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert r"x\r\npystreamredis: all is well\x1b[2J\u202e\u200f\x07\xff" in done.stderr


@pytest.mark.parametrize(
    "url", ["http://:hush@h", "redis://:hush@h?nothing=1", "redis://:hush@h:x"]
)
def test_a_url_that_cannot_be_is_bad_usage(url: str) -> None:
    done = run(url, "s")
    assert done.returncode == 2
    assert done.stderr.startswith("pystreamredis: url: ")
    assert "hush" not in done.stderr


def test_the_password_comes_from_the_environment(start_server: StartServer) -> None:
    server = start_server("--requirepass", "hush")
    server.command("XADD", "s", "1-0", "f", "v")
    done = run(url_of(server), "s", "-e", "--json", env={"REDISCLI_AUTH": "hush"})
    assert (done.returncode, done.stdout, done.stderr) == (0, LINE, "")
    done = run(url_of(server), "s", "-e", env={"REDISCLI_AUTH": "wrong"})
    assert done.returncode == 1
    assert "REDISCLI_AUTH" in done.stderr
    assert "wrong" not in done.stderr.replace("WRONGPASS", "")
    # The password of the URL takes precedence.
    url = f"redis://:hush@{server.host}:{server.port}"
    done = run(url, "s", "-e", "--json", env={"REDISCLI_AUTH": "wrong"})
    assert (done.returncode, done.stdout) == (0, LINE)


@pytest.mark.parametrize("url", ["redis://{}", "redis://:@{}", "redis://{}?password="])
def test_an_empty_password_is_none(start_server: StartServer, url: str) -> None:
    """Contract 6.7."""
    server = start_server()
    server.command("XADD", "s", "1-0", "f", "v")
    plain = f"redis://{server.host}:{server.port}"
    done = run(plain, "s", "-e", "--json", env={"REDISCLI_AUTH": ""})
    assert (done.returncode, done.stdout, done.stderr) == (0, LINE, "")
    server.command("CONFIG", "SET", "requirepass", "hush")
    # An empty one in the URL is none, so the environment's is taken.
    address = url.format(f"{server.host}:{server.port}")
    done = run(address, "s", "-e", "--json", env={"REDISCLI_AUTH": "hush"})
    assert (done.returncode, done.stdout, done.stderr) == (0, LINE, "")


def test_an_empty_password_at_the_prompt_is_none(start_server: StartServer) -> None:
    server = start_server()
    server.command("XADD", "s", "1-0", "f", "v")
    with Terminal(url_of(server), "s", "-e", "--json", "--ask-password") as terminal:
        terminal.wait_for("password: ")
        terminal.type("\n")
        assert terminal.finish() == 0
        assert LINE.strip() in terminal.screen


def test_the_url_comes_from_the_environment(start_server: StartServer) -> None:
    server = start_server("--requirepass", "hush")
    server.command("XADD", "s", "1-0", "f", "v")
    url = f"redis://:hush@{server.host}:{server.port}"
    done = run("s", "-e", "--json", env={"REDIS_URL": url})
    assert (done.returncode, done.stdout, done.stderr) == (0, LINE, "")
    # One that is given overrides it.
    port = closed_port()
    done = run(f"redis://127.0.0.1:{port}", "s", "-e", env={"REDIS_URL": url})
    assert f"cannot connect to 127.0.0.1:{port}" in done.stderr
    done = run(url, "s", "-e", "--json", env={"REDIS_URL": "nonsense"})
    assert (done.returncode, done.stdout, done.stderr) == (0, LINE, "")


def test_an_empty_url_in_the_environment_is_none() -> None:
    done = run("pystreamredis-no-such-stream", "--exit", env={"REDIS_URL": ""})
    assert done.returncode == 0 or "localhost:6379" in done.stderr


def test_a_bad_url_in_the_environment_is_bad_usage() -> None:
    done = run("s", env={"REDIS_URL": "redis://:hush@h?nothing=1"})
    assert done.returncode == 2
    assert done.stderr.startswith("pystreamredis: the environment's REDIS_URL: url: unknown")
    assert "hush" not in done.stderr


def test_a_missing_password_gets_a_hint_at_its_sources(
    start_server: StartServer,
) -> None:
    done = run(url_of(start_server("--requirepass", "hush")), "s", "-e")
    assert done.returncode == 1
    assert "NOAUTH" in done.stderr
    assert "the password comes from --ask-password, the URL or REDISCLI_AUTH" in done.stderr


def test_the_password_is_prompted_for_and_not_shown(start_server: StartServer) -> None:
    server = start_server("--requirepass", "hush")
    server.command("XADD", "s", "1-0", "f", "v")
    arguments = url_of(server), "s", "-e", "--json", "--ask-password"
    with Terminal(*arguments, env={"REDISCLI_AUTH": "wrong"}) as terminal:
        terminal.wait_for("password: ")
        terminal.type("hush\n")
        assert terminal.finish() == 0
        assert LINE.strip() in terminal.screen
        assert "hush" not in terminal.text


def test_ctrl_c_at_the_prompt_ends_it() -> None:
    with Terminal("s", "--ask-password") as terminal:
        terminal.wait_for("password: ")
        terminal.interrupt()
        assert terminal.finish() == ENDED_BY_CTRL_C
        assert "Traceback" not in terminal.text


def test_nobody_to_prompt_is_bad_usage() -> None:
    done = run("s", "--ask-password", start_new_session=True)
    assert done.returncode == 2
    assert "--ask-password needs a terminal" in done.stderr


def test_tls(start_server: StartServer, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = start_server()
    server.command("XADD", "s", "1-0", "f", "v")
    context = authority.sign("server", "DNS:localhost").server_context()
    with Proxy(server.host, server.port, ssl_context=context) as proxy:
        ca = ["--tls-ca", authority.certfile]
        for url in f"rediss://localhost:{proxy.port}", f"redis://localhost:{proxy.port}":
            done = run(url, "s", "-e", "-J", *ca)
            assert (done.returncode, done.stdout, done.stderr) == (0, LINE, "")
        done = run(f"redis://localhost:{proxy.port}", "s", "-e")
        assert done.returncode == 1
        assert "--tls, or rediss://" in done.stderr
        # Not signed by one that is trusted, and for another host.
        done = run(f"rediss://localhost:{proxy.port}", "s", "-e")
        assert done.returncode == 1
        assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
        other = f"redis://127.0.0.1:{proxy.port}"
        assert run(other, "s", "-e", *ca).returncode == 1
        done = run(other, "s", "-e", "-J", *ca, "--tls-any-host")
        assert (done.returncode, done.stdout) == (0, LINE)


def test_a_file_of_certificates_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    done = run("s", "--tls-ca", tmp_path / "none.pem")
    assert done.returncode == 2
    assert "none.pem" in done.stderr


@pytest.mark.parametrize(
    ("option", "name"), [("--tls-ca", "ssl_ca_certs"), ("--tls-cert", "ssl_certfile")]
)
def test_errors_have_the_commands_own_names(tmp_path: Path, option: str, name: str) -> None:
    done = run("s", option, tmp_path / "none.pem")
    assert option in done.stderr
    assert name not in done.stderr
    # As a parameter of the URL it has the library's name.
    done = run(f"rediss://localhost?{name}={tmp_path}/none.pem", "s")
    assert name in done.stderr
    assert option not in done.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ssl_keyfile is given without ssl_certfile", "--tls-key is given without --tls-cert"),
        ("or take ssl_check_hostname=False", "or take --tls-any-host"),
        ("try ssl=True, or rediss://", "try --tls, or rediss://"),
    ],
)
def test_names_of_options_become_those_of_the_command(text: str, shown: str) -> None:
    assert describe(ValueError(text), parse(["s"], 0, "1.2.3")) == shown


def test_a_key_without_its_certificate_is_bad_usage(tmp_path: Path) -> None:
    done = run("s", "--tls-key", tmp_path / "key.pem")
    assert done.returncode == 2
    assert "--tls-key is given without --tls-cert; give both" in done.stderr


def test_only_refused_credentials_need_a_hint() -> None:
    settings = parse(["s"], 0, "1.2.3")
    assert describe(ResponseError("refused"), settings) == "refused"
    assert describe(AuthenticationError("refused"), settings).startswith("refused (the password")
