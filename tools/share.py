"""Write `share/`: the manual page, and completion for shells: ``python -m tools.share``.

The manual page is made of ``docs/reference/command.rst``, completion of the command's own parser. A
test holds the files to both.
"""

from __future__ import annotations

import re
from argparse import Action, ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path

from pystreamredis import __version__
from pystreamredis.command.arguments import USAGE, make_parser

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "command.rst"
COMMAND = "pystreamredis"
_SUMMARY = "print the messages of Redis streams, merged in ID order, and follow them"
_MADE = "made by tools/share.py"


def files() -> dict[str, str]:
    """Make all files; return their content by path in the repository."""
    parser = make_parser(0, __version__)
    return {
        f"share/man/man1/{COMMAND}.1": manual(PAGE.read_text("utf-8")),
        f"share/bash-completion/completions/{COMMAND}": bash(parser),
        f"share/zsh/site-functions/_{COMMAND}": zsh(parser),
        f"share/fish/vendor_completions.d/{COMMAND}.fish": fish(parser),
    }


# The manual page.


def manual(page: str) -> str:
    """Make a manual page of the reference page."""
    _, _, text = page.partition("\n\n")  # without the title
    text = re.sub(r"\\\n", "", text)
    lines = [
        f'.\\" {_MADE} of docs/reference/command.rst',
        f'.TH {COMMAND.upper()} 1 "" "{COMMAND} {__version__}" "User Commands"',
        ".SH NAME",
        f"{COMMAND} \\- {_SUMMARY}",
        ".SH SYNOPSIS",
        f".B {_plain(USAGE)}",
        ".SH DESCRIPTION",
        *(line for block in _blocks(text) for line in _roff(block)),
    ]
    # A heading begins a paragraph itself.
    return re.sub(r"^(\.SH .*\n)\.PP\n", r"\1", "\n".join(lines) + "\n", flags=re.MULTILINE)


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield headings, paragraphs, items and examples, each as its lines."""
    # An item of a list begins a block of its own, and an example keeps its empty lines.
    text = re.sub(r"\n(?=\* |``.*``\n    )", "\n\n", text)
    text = re.sub(
        r"^\.\. code-block:: \w+\n\n((?:(?: {4}.*)?\n)+)",
        lambda found: ".. example\n" + found[1].rstrip().replace("\n\n", "\n    \n") + "\n\n",
        text,
        flags=re.MULTILINE,
    )
    for block in re.split(r"\n{2,}", text.strip()):
        yield block.split("\n")


def _roff(block: list[str]) -> Iterator[str]:
    first, *rest = block
    if rest and re.fullmatch("=+", rest[0]):
        yield f".SH {_plain(first.upper())}"
    elif first == ".. example":
        yield from (".PP", ".RS 4", ".EX")
        yield from (_line(_plain(line[4:])) for line in rest)
        yield from (".EE", ".RE")
    elif rest and rest[0].startswith("    "):
        yield from (".TP", _inline(first))
        yield _inline(" ".join(line.strip() for line in rest))
    elif first.startswith("* "):
        yield ".IP \\(bu 2"
        yield _inline(" ".join([first[2:], *(line.strip() for line in rest)]))
    else:
        yield ".PP"
        yield _inline(" ".join(block))


def _inline(text: str) -> str:
    parts = re.split("``(.+?)``", text)
    literals = {1: lambda part: f"\\fB{_plain(part)}\\fR", 0: _prose}
    return _line("".join(literals[at % 2](part) for at, part in enumerate(parts)))


def _prose(text: str) -> str:
    text = re.sub(":doc:`/?(.+?)`", r"docs/\1.rst of the sources", text)
    return _plain(re.sub(r"`(.+?) <.*?>`__", r"\1", text))


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")


def _line(text: str) -> str:
    # A line that begins so would be a request.
    return f"\\&{text}" if text.startswith((".", "'")) else text


# Completion.


def _options(parser: ArgumentParser) -> list[Action]:
    return [action for action in parser._actions if action.option_strings]


def _takes_file(action: Action) -> bool:
    return action.metavar == "FILE"


def _takes_value(action: Action) -> bool:
    return action.nargs != 0


def _about(action: Action) -> str:
    """Return the first clause of an option's help, which has room in a menu."""
    return re.split(r" \(|; |: |, with ", (action.help or "").replace("%%", "%"))[0]


def _words(actions: Iterable[Action]) -> list[str]:
    return [text for action in actions for text in action.option_strings]


def bash(parser: ArgumentParser) -> str:
    """Make completion for bash, which loads it when the command's name was typed."""
    options = _options(parser)
    files = "|".join(_words(filter(_takes_file, options)))
    choices = [action for action in options if action.choices]
    others = [
        action
        for action in options
        if _takes_value(action) and not _takes_file(action) and not action.choices
    ]
    cases = [f"        {files}) kind=-f ;;"]
    for action in choices:
        words = " ".join(map(str, action.choices or ()))
        cases.append(f"        {'|'.join(action.option_strings)}) words='{words}' ;;")
    cases.append(f"        {'|'.join(_words(others))}) return ;;")
    return f"""\
# Completion of {COMMAND} for bash; {_MADE}.

_{COMMAND}() {{
    local at=$COMP_CWORD kind='' words='' word
    word=${{COMP_WORDS[at]}}
    COMPREPLY=()
    # --color=al arrives as three words.
    if [[ $word == '=' ]]; then
        word=''
        ((at += 1))
    fi
    if [[ ${{COMP_WORDS[at-1]}} == '=' ]]; then
        ((at -= 1))
    fi
    case ${{COMP_WORDS[at-1]}} in
{chr(10).join(cases)}
        *) [[ $word != -* ]] || words='{" ".join(_words(options))}' ;;
    esac
    if [[ $kind ]]; then
        compopt -o filenames 2>/dev/null # bash 3.2, which macOS has, knows no compopt
        local IFS=$'\\n'
        COMPREPLY=($(compgen -f -- "$word"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    fi
}}
complete -F _{COMMAND} {COMMAND}
"""


def zsh(parser: ArgumentParser) -> str:
    """Make completion for zsh, in a file that its `fpath` finds."""
    lines = []
    for action in _options(parser):
        value = ""
        if _takes_value(action):
            kind = "_files" if _takes_file(action) else " "
            if action.choices:
                kind = f"({' '.join(map(str, action.choices))})"
            value = f":{action.metavar}:{kind}"
        about = re.sub(r"([\[\]:\\])", r"\\\1", _about(action)).replace("'", "'\\''")
        others = " ".join(action.option_strings)
        for text in action.option_strings:
            mark = "" if not value else "=" if text.startswith("--") else "+"
            lines.append(f"    '({others}){text}{mark}[{about}]{value}' \\")
    body = "\n".join(lines)
    return f"""\
#compdef {COMMAND}
# Completion of {COMMAND} for zsh; {_MADE}.

_arguments -s -S \\
{body}
    '*:URL, NAME or NAME=START: '
"""


def fish(parser: ArgumentParser) -> str:
    """Make completion for fish."""
    lines = [f"# Completion of {COMMAND} for fish; {_MADE}.", f"complete -c {COMMAND} -f"]
    for action in _options(parser):
        names = [
            f"-l {text[2:]}" if text.startswith("--") else f"-s {text[1:]}"
            for text in action.option_strings
        ]
        value = []
        if action.choices:
            value = [f"-x -a '{' '.join(map(str, action.choices))}'"]
        elif _takes_value(action):
            value = ["-r -F" if _takes_file(action) else "-x"]
        about = _about(action).replace("\\", "\\\\").replace("'", "\\'")
        lines.append(" ".join([f"complete -c {COMMAND}", *names, *value, f"-d '{about}'"]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the files."""
    for name, text in files().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")
        print(name)


if __name__ == "__main__":
    main()
