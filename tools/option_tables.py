"""Write the tables of docs/reference/options.rst from the options and the docstring of `Streams`.

Usage: python -m tools.option_tables
"""

from __future__ import annotations

import re
from inspect import getdoc
from pathlib import Path
from textwrap import wrap

from pystreamredis import Streams
from pystreamredis.options import CONNECTION, READ

PAGE = Path(__file__).parent.parent / "docs/reference/options.rst"
_TABLES = {"read": (READ, "30 15 55"), "connection": (CONNECTION, "30 20 50")}
# Pages that have more on an option.
_MORE = {
    "streams": "starts",
    "stop_on_timeout": "`Waiting`_",
    "raise_connection_exceptions": "/explanation/failures",
    "retry_delay": "/explanation/failures",
    "hold": "/explanation/order",
    "on_rewind": "/explanation/guarantees",
    "connections": "/explanation/growing",
    "host": "/howto/find-the-server",
    "password": "/howto/tls-and-acl",
    "credentials_max_age": "/howto/cloud",
    "ssl": "/howto/tls-and-acl",
}


def meanings() -> dict[str, str]:
    """Return the meaning of each argument of `Streams`, out of its docstring."""
    _, _, arguments = (getdoc(Streams) or "").partition("\nArgs:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", arguments, re.MULTILINE)
    return {name: _in_rst(name, " ".join(text.split())) for name, text in found}


def _in_rst(name: str, text: str) -> str:
    text = re.sub(r"(?<!`)`([\w.]+)`(?!`)", r"``\1``", text)
    more = _MORE.get(name)
    if more is None:
        return text
    return f"{text} See {more if more.startswith('`') else f':doc:`{more}`'}."


def make_table(kind: str) -> str:
    """Return the options of one kind as a table in reStructuredText."""
    options, widths = _TABLES[kind]
    # `streams` is not an option that is checked by itself, but an argument like them.
    defaults = {"streams": "None"} if options is READ else {}
    defaults |= {name: _show(option.default) for name, option in options.items()}
    lines = [
        ".. list-table::",
        "   :class: options",
        "   :header-rows: 1",
        f"   :widths: {widths}",
        "",
        "   * - option",
        "     - default",
        "     - meaning",
    ]
    meaning = meanings()
    for name, default in defaults.items():
        lines += [f"   * - ``{name}``", f"     - ``{default}``"]
        lines += wrap(
            meaning[name],
            100,
            initial_indent="     - ",
            subsequent_indent="       ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    return "\n".join(lines) + "\n"


def fill(page: str) -> str:
    """Return the page with its tables made again."""
    for kind in _TABLES:
        begin = re.escape(f".. The options of the kind {kind}, by tools/option_tables.py:\n\n")
        found = re.search(rf"{begin}(\.\. list-table::\n(?:(?:   .*)?\n)*)", page)
        if found is None:
            raise ValueError(f"{PAGE.name} has no mark for the table of kind {kind}")
        page = f"{page[: found.start(1)]}{make_table(kind)}\n{page[found.end(1) :]}"
    return page


def _show(default: object) -> str:
    shown = default.__name__ if isinstance(default, type) else repr(default)
    return shown.replace("'", '"')


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text("utf-8")), "utf-8")
