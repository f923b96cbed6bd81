"""`share/`: the manual page and completion, as their programs take them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pystreamredis.command.arguments import make_parser
from tools import share
from tools.share import ROOT

BASH = ROOT / "share/bash-completion/completions/pystreamredis"
ZSH = ROOT / "share/zsh/site-functions"
FISH = ROOT / "share/fish/vendor_completions.d/pystreamredis.fish"
MANUAL = ROOT / "share/man/man1/pystreamredis.1"


def options() -> dict[str, bool]:
    """The options of the command: True for those with a value."""
    found = re.findall(r"^  ((?:-\w(?: \w+)?, )?--[a-z-]+)( \w+)?", help_text(), flags=re.MULTILINE)
    return {
        text: bool(value)
        for names, value in found
        for text in re.findall(r"(?<!\S)--?[\w-]+", names)
    }


def help_text() -> str:
    return make_parser(0, "1.2.3").format_help()


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def output_of(*command: str | Path, folder: Path = ROOT, **env: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", share.files())
def test_the_files_are_those_that_are_made(name: str) -> None:
    """`python -m tools.share` writes them."""
    assert (ROOT / name).read_text("utf-8") == share.files()[name]


def test_every_option_is_on_the_reference_page_with_its_value() -> None:
    page = share.PAGE.read_text("utf-8")
    listed = re.findall(r"^(``-.*``)\n    \S", page, flags=re.MULTILINE)
    found = {
        name: bool(value)
        for line in listed
        for name, value in re.findall(r"``(--?[\w-]+)( \w+)?``", line)
    }
    assert found == options()
    assert len(found) > 20


def bash_completes(folder: Path, *words: str) -> set[str]:
    program = f"""
        source '{BASH}'
        COMP_WORDS=({" ".join(f"'{word}'" for word in ("pystreamredis", *words))})
        COMP_CWORD={len(words)}
        _pystreamredis
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    found = output_of(needs("bash"), "--norc", "-c", program, folder=folder).splitlines()
    return set(filter(None, found))


def test_bash_completes_options(tmp_path: Path) -> None:
    assert bash_completes(tmp_path, "Stream0", "-") == set(options())
    assert bash_completes(tmp_path, "--tls-") == {
        "--tls-ca",
        "--tls-cert",
        "--tls-key",
        "--tls-any-host",
    }
    assert bash_completes(tmp_path, "--limit", "") == set()
    assert bash_completes(tmp_path, "S") == set()


def test_bash_completes_values(tmp_path: Path) -> None:
    (tmp_path / "state one.json").touch()
    assert bash_completes(tmp_path, "--state", "st") == {"state one.json"}
    assert bash_completes(tmp_path, "--color", "a") == {"always", "auto"}
    # As bash splits --color= and --color=n.
    assert bash_completes(tmp_path, "--color", "=") == {"always", "never", "auto"}
    assert bash_completes(tmp_path, "--color", "=", "n") == {"never"}


def test_fish_completes(tmp_path: Path) -> None:
    fish = needs("fish")
    (tmp_path / "positions.json").touch()

    def completes(line: str) -> set[str]:
        program = f"source '{FISH}'; complete -C 'pystreamredis {line}'"
        home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        output = output_of(fish, "--no-config", "-c", program, folder=tmp_path, **home)
        return {found.partition("\t")[0] for found in output.splitlines()}

    assert completes("Stream0 --") == {name for name in options() if name.startswith("--")}
    assert completes("--color a") == {"always", "auto"}
    assert "positions.json" in completes("--state pos")
    assert completes("pos") == set()


def test_zsh_completes(tmp_path: Path) -> None:
    zsh = needs("zsh")
    (tmp_path / "positions.json").touch()
    # A shell on a terminal of its own, in which Tab is typed.
    program = f"""
        zmodload zsh/zpty
        zpty shell '{zsh} -f -i'
        zpty -w shell "PS1=; unsetopt zle_bracketed_paste; fpath=({ZSH} \\$fpath)"
        zpty -w shell 'autoload -Uz compinit; compinit -u -d {tmp_path}/dump; echo READY'
        zpty -r shell text '*READY*READY*'
        zpty -n -w shell $'pystreamredis --js\\t --state=pos\\t --color=n\\t --ver\\t'
        zpty -r -m shell text '*--version*'
        print -r -- $text
        zpty -d shell
    """
    output = output_of(zsh, "-f", "-c", program, folder=tmp_path, TERM="dumb")
    typed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07|.\x08", "", output)
    assert "--json" in typed
    assert "--state=positions.json" in typed
    assert "--color=never" in typed


def test_the_manual_has_every_option_and_no_mistake() -> None:
    roff = MANUAL.read_text("utf-8")
    assert "``" not in roff
    assert ":doc:" not in roff
    text = output_of(needs("mandoc"), "-T", "utf8", "-W", "error", MANUAL)
    text = re.sub(".\x08", "", text)
    for name in options():
        assert re.search(rf"^ +(-\w.*, )?{name}\b", text, flags=re.MULTILINE), name
    for line in ("NAME", "SYNOPSIS", "DESCRIPTION", "FAILURES AND EXIT CODES"):
        assert f"\n{line}\n" in text
    assert """$ redis-cli XADD Stream3 1530403200000-0 celsius 20.5 note 'warm, "dry"'""" in text
