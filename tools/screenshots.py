"""Make screenshots of pages of the built documentation, to be looked at.

Usage: python -m tools.screenshots FOLDER [page ...]

It needs ``make docs`` before, and Chromium (Debian: ``chromium``). Each page is shown at the width
of a telephone and of a laptop, light and dark; pages that are wider than the window are reported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "docs"
PAGES = ["index", "tutorial", "reference/command", "explanation/performance"]
WIDTHS = (390, 1280)
THEMES = ("light", "dark")
HEIGHT = 2400  # pixels of a page that are shown
_LIMIT = 120.0  # seconds for one picture
# Furo takes the theme from an attribute that its script sets from what the browser has stored.
_SCRIPT = """<script>
window.addEventListener("load", function () {
  document.body.dataset.theme = "%s";
  var wide = document.documentElement.scrollWidth;
  document.title = "width " + wide;
});
</script></body>"""


def find_browser() -> str:
    """Find Chromium, or end with a sentence that says how to get it."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise SystemExit("found no Chromium: apt-get install chromium")


def shoot(browser: str, page: Path, width: int, picture: Path) -> int:
    """Make a picture of a page; return how wide its content is, in pixels."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless=new",
            "--no-sandbox",  # for root, and pages of our own alone
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            "--virtual-time-budget=3000",
            f"--user-data-dir={profile}",
        ]
        # A window is at least 500 pixels wide: a frame in it is as narrow as a telephone.
        frame = picture.with_suffix(".html")
        frame.write_text(
            f"<body style='margin:0'><iframe src='{page.as_uri()}' width={width} "
            f"height={HEIGHT} style='border:0' onload='document.title = "
            "this.contentDocument.documentElement.scrollWidth'></iframe>",
            "utf-8",
        )
        options = [f"--window-size={max(width, 500)},{HEIGHT}", f"--screenshot={picture}"]
        _run([*command, *options, frame.as_uri()])
        dom = _run(
            [*command, f"--window-size={max(width, 500)},{HEIGHT}", "--dump-dom", frame.as_uri()]
        )
        frame.unlink()
    found = re.search(r"<title>(\d+)</title>", dom)
    return int(found[1]) if found else 0


def _run(command: list[str]) -> str:
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, timeout=_LIMIT, check=True
    )
    return done.stdout


def themed(page: Path, theme: str) -> Path:
    """Write a copy of a page beside it that has one theme."""
    copy = page.with_name(f"{page.stem}-{theme}.html")
    copy.write_text(page.read_text("utf-8").replace("</body>", _SCRIPT % theme), "utf-8")
    return copy


def main(folder: Path, pages: list[str]) -> int:
    """Make all pictures; return 1 if a page is wider than its window."""
    browser, is_wide = find_browser(), False
    folder.mkdir(parents=True, exist_ok=True)
    for name in pages:
        for theme in THEMES:
            copy = themed(SITE / f"{name}.html", theme)
            for width in WIDTHS:
                picture = folder.resolve() / f"{name.replace('/', '-')}-{width}-{theme}.png"
                wide = shoot(browser, copy, width, picture)
                is_wide |= wide > width
                note = f", content is {wide} wide" if wide > width else ""
                print(f"{os.path.relpath(picture)}{note}", flush=True)
            copy.unlink()
    return 1 if is_wide else 0


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] or PAGES))
