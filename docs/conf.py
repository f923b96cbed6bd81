"""How Sphinx builds the documentation: `make docs`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent

project = "pystreamredis"
author = "The pystreamredis authors"
copyright = f"2026, {author}"
version = release = re.findall(
    r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), flags=re.MULTILINE
)[0]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Docstrings name what they speak of in single backticks: a link where it is documented.
default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"pystreamredis {release}"
html_copy_source = False
html_show_sphinx = False
