"""The chart for the README: how fast each reader is, measured in redis-py with hiredis.

SVG without a background and in colours of middle lightness, so that it reads on a
light page as on a dark one; its text stays text, so that the file stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from readers import PLAIN, READERS
from results import HIREDIS, PLAIN_HIREDIS, READING, Results, geometric_mean

if TYPE_CHECKING:
    from pathlib import Path

INK = "#7d8590"
GRID = "#7d859044"
STYLES = {
    "ours": ("pystreamredis", "#e5484d", "o", 110),
    "ours asyncio": ("pystreamredis.asyncio", "#e5484d", "*", 50),
    "hiredis loop": ("hand-written hiredis loop", "#3b82f6", "D", 38),
    HIREDIS: ("redis-py with hiredis", INK, "|", 130),
    PLAIN_HIREDIS: ("redis-py with hiredis, plain loop", INK, ">", 30),
    "redis.asyncio+hiredis": ("redis.asyncio with hiredis", "#64748b", "1", 60),
    "valkey-py": ("valkey-py", "#d08700", "s", 34),
    "glide": ("valkey-glide (Rust)", "#2e9e6b", "^", 44),
    "coredis": ("coredis", "#a855f7", "v", 44),
    "redis-py pure": ("redis-py, pure parser", "#b7791f", "x", 40),
    "raw": ("bytes discarded: the limit", INK, "_", 60),
}
# The rows in words; kinds of real data have short names that say it.
ROWS = {
    "small": "3 short fields",
    "one": "3 short fields, 1 stream",
    "single": "1 field of JSON",
    "wide": "20 fields",
    "mixed": "5 kinds of entries",
    "hundred": "100 streams",
    "decoded": "as text",
    "unique": "names never repeat",
    "binary": "random bytes",
    "64k": "values of 64 KiB",
    "1m": "values of 1 MiB",
}


def draw(results: Results, path: Path) -> None:
    """Draw the chart of the reading workloads.

    Raises:
        ImportError: There is no matplotlib.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

    mpl.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "pystreamredis",
            "font.family": "sans-serif",
            "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    # Real data comes first, the slowest of all at the top.
    kinds = sorted(results.kinds(), key=lambda kind: speed(results, "ours", kind) or 0)
    jobs = [*kinds, *(job for job in READING if results.select(job=job))]
    figure, axes = plt.subplots(figsize=(5.4, 1.9 + 0.33 * len(jobs)))
    for reader in (*READERS, *PLAIN):
        label, colour, marker, area = STYLES[reader]
        points = [(speed(results, reader, job), row) for row, job in enumerate(jobs)]
        known = [(x, y) for x, y in points if x is not None]
        if not known:
            continue
        order = 4 if reader == "ours" else 3
        xs, ys = zip(*known, strict=True)
        axes.scatter(xs, ys, s=area, c=colour, marker=marker, label=label, zorder=order)
        if reader == "ours":
            for x, y in known:
                axes.annotate(
                    f"{x:.1f}x",
                    (x, y),
                    (0, 8),
                    textcoords="offset points",
                    ha="center",
                    color=colour,
                    fontsize=9,
                    fontweight="bold",
                )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.1, 0.2, 0.5, 1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(jobs)), [ROWS.get(job, job) for job in jobs])
    axes.set_ylim(len(jobs) - 0.5, -0.7)
    axes.set_xlabel("times as fast as redis-py with hiredis")
    axes.xaxis.label.set_color(INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.axvline(1, color=INK, linewidth=1)
    axes.tick_params(length=0, which="both")
    axes.spines[:].set_visible(False)
    figure.legend(loc="upper center", ncols=2, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 1.15 / figure.get_figheight()))
    figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def speed(results: Results, reader: str, job: str) -> float | None:
    """Return a reader's speed in terms of redis-py with hiredis, all its cases taken together."""
    return geometric_mean(
        results.ratio("us", HIREDIS, reader, **case)
        for case in results.cases(job).values()
        if results.select(reader=reader, **case)
    )
