"""Settings of Sphinx, which builds the documentation: `make docs`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pystreamredis import __version__

ROOT = Path(__file__).parent.parent

project = "pystreamredis"
author = "The pystreamredis authors"
copyright = f"2026, {author}"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Docstrings name what they speak of in single backticks: a link where it is documented.
default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"pystreamredis {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]


def figures() -> str:
    """Return the chart and the tables of `make bench`, if there are any."""
    folder = ROOT / "benchmarks"
    if not (folder / "results.json").exists():
        return "This was built where nothing had been measured yet.\n"
    report = subprocess.run(
        [sys.executable, folder / "report.py", folder / "results.json"],
        capture_output=True,
        check=True,
        encoding="utf-8",
    ).stdout
    chart = (
        ".. container:: chart\n\n"
        "   .. image:: ../../benchmarks/chart.svg\n      :alt: How fast each reader is\n\n"
    )
    return (chart if (folder / "chart.svg").exists() else "") + report


# For explanation/performance.rst, which includes it.
generated = Path(__file__).parent / "generated"
generated.mkdir(exist_ok=True)
(generated / "figures.txt").write_text(figures(), "utf-8")
