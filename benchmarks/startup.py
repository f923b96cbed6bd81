"""Start-up: the time that an import takes, and the memory that it adds."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

IMPORTS = {
    "ours": ("pystreamredis", "from pystreamredis import Streams"),
    "redis-py": ("redis", "from redis import Redis"),
}

# Runs in a bare interpreter, without site: what a .pth file imports would be missing
# from the bill. redis-py goes without hiredis, whose import would only add to it.
SCRIPT = """
import sys, time
def memory():
    texts = [open("/proc/self/" + name, "rb").read() for name in ("status", "smaps_rollup")]
    sizes = {}
    for line in b"".join(texts).splitlines():
        words = line.split()
        if words[0] in (b"VmRSS:", b"Private_Clean:", b"Private_Dirty:"):
            sizes[words[0]] = int(words[1])
    return sizes.pop(b"VmRSS:"), sum(sizes.values())
sys.path[:0] = [sys.argv[1]]
sys.modules["hiredis"] = None
memory()
before = memory()
start = time.perf_counter()
exec(sys.argv[2])
seconds = time.perf_counter() - start
after = memory()
print([seconds, after[0] - before[0], after[1] - before[1]])
"""


def measure_imports(rounds: int) -> Iterator[dict[str, Any]]:
    """Measure the imports in turn; yield a row for each library and round."""
    for number in range(-1, rounds):
        for reader, (module, statement) in IMPORTS.items():
            row = {"job": "startup", "round": number, "reader": reader}
            result = row | _measure_one(module, statement)
            if number >= 0:  # the round before the first fills the caches of the disk
                yield result


def _measure_one(module: str, statement: str) -> dict[str, Any]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return {"void": f"{module} is not installed"}
    folder = Path(spec.origin).resolve().parent.parent
    command = [sys.executable, "-I", "-S", "-c", SCRIPT, str(folder), statement]
    process = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if process.returncode:
        return {"void": process.stderr.strip().splitlines()[-1]}
    seconds, rss, private = json.loads(process.stdout)
    return {"import_ms": seconds * 1000, "rss_kib": rss, "private_kib": private}
