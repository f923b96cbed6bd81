"""Write the tables of docs/reference/options.rst from the table of options.

Usage: python -m tools.option_tables
"""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import wrap

from pystreamredis.options import CONNECTION, OPTIONS, READ

PAGE = Path(__file__).parent.parent / "docs/reference/options.rst"
_WIDTHS = {READ: "30 15 55", CONNECTION: "30 20 50"}
# Not an option that is checked by itself, but an argument like them.
_STREAMS = ("streams", "None", "streams that are not named by keywords; see :doc:`starts`")


def make_table(kind: str) -> str:
    """Return the options of one kind as a table in reStructuredText."""
    rows = [] if kind == CONNECTION else [_STREAMS]
    rows += [(o.name, _show(o.default), o.meaning) for o in OPTIONS.values() if o.kind == kind]
    lines = [
        ".. list-table::",
        "   :class: options",
        "   :header-rows: 1",
        f"   :widths: {_WIDTHS[kind]}",
        "",
        "   * - option",
        "     - default",
        "     - meaning",
    ]
    for name, default, meaning in rows:
        lines += [f"   * - ``{name}``", f"     - ``{default}``"]
        lines += wrap(
            meaning,
            100,
            initial_indent="     - ",
            subsequent_indent="       ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    return "\n".join(lines) + "\n"


def fill(page: str) -> str:
    """Return the page with its tables made again."""
    for kind in (READ, CONNECTION):
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
