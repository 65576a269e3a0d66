"""The archive with a million parts: how fast it starts and is searched, whether it keeps its limit, what a kill costs.

    python benchmarks/bench_archive.py --json archive.json
    python benchmarks/bench_archive.py --rows 20000 --pictures 200 --kills 3

A script makes the parts (`archive_parts.py`); `--pictures` of them have a frame and a map, which are small. Searches
are for 50 parts, each kind with twenty values by chance, on a connection that others have warmed: the index is larger
than what a page needs of it, and fits the memory. A *kill* is SIGKILL to a process that writes and removes parts, at a
moment by chance; *acknowledged* is what it had said was kept (`ArchiveStore.add` had returned) and not yet asked to
remove. After each the next start must find all of that, and not one file too many or too few.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.archive_parts import BEGAN, CAMERAS, DAYS, PRODUCTS, THRESHOLD, Line
from benchmarks.machine import REPOSITORY, describe_machine
from benchmarks.results import Row, check_folders, format_table
from edge.archive.index import PICTURES, ArchiveIndex
from edge.archive.part import Query
from edge.archive.retention import Retention
from edge.archive.store import ArchiveStore
from edge.verdict import Evaluation
from engines.errors import InspectError

ROWS, WITH_PICTURES, KILLS = 1_000_000, 2000, 20
LIMIT_MS, START_LIMIT_S, SIZE_TOLERANCE = 200.0, 2.0, 0.01
_BATCH = 2000
_PICTURES_A_BATCH = 50
_MORE = 2000
_LIMIT = 50
_TRIES = 20
_WRITE = "import sys; from benchmarks.bench_archive import write_until_killed; write_until_killed(sys.argv[1])"


class ArchiveBenchError(InspectError):
    """An archive that lost something."""

    exit_code = 1


def fill(folder: Path, line: Line, pictures: int) -> float:
    """Make an archive, the last parts that are kept with pictures having them, and return the seconds it took."""
    began = time.monotonic()
    plain = line.parts - min(pictures * 34, line.parts)  # about one part in 34 is kept with pictures
    with ArchiveStore(folder) as store:
        for first in range(0, plain, _BATCH):
            store.add(list(line.entries(first, min(first + _BATCH, plain), pictures=False)))
        for first in range(plain, line.parts, _PICTURES_A_BATCH):
            store.add(list(line.entries(first, min(first + _PICTURES_A_BATCH, line.parts), pictures=True)))
    return time.monotonic() - began


def measure_starts(folder: Path) -> dict[str, float]:
    """Seconds until the writer and a reader of an archive are ready; medians of five."""
    starts: dict[str, Callable[[], object]] = {
        "writer_start_s": lambda: ArchiveStore(folder).close(),
        "reader_start_s": lambda: _first_page(folder),
    }
    return {name: statistics.median(_seconds(start) for _ in range(5)) for name, start in starts.items()}


def queries(line: Line, choice: random.Random) -> Iterator[tuple[str, Query, int | None]]:
    """Each kind of search with values by chance, and the key to page on from."""
    moment = BEGAN + timedelta(days=DAYS) * choice.random()
    hour, day = timedelta(hours=1), timedelta(days=1)
    part = f"P{choice.randrange(line.parts):07d}"
    camera, product = choice.choice(CAMERAS), choice.choice(PRODUCTS)
    yield "newest", Query(), None
    yield "an hour", Query(since=moment, until=moment + hour), None
    yield "further down", Query(until=moment), None
    yield "part id", Query(part_id=part), None
    yield "part id that is not there", Query(part_id=f"{part}x"), None
    yield "part id, last week", Query(part_id=part, since=BEGAN + 23 * day), None
    yield "not OK", Query(evaluation=Evaluation.NOT_OK), None
    yield "not decidable on a day", Query(evaluation=Evaluation.NOT_DECIDABLE, since=moment, until=moment + day), None
    yield "camera and not OK", Query(camera=camera, evaluation=Evaluation.NOT_OK), None
    yield "product and camera", Query(product=product, camera=camera), None
    yield "product of one day", Query(product=PRODUCTS[-1]), None
    yield "product of one day, not OK", Query(product=PRODUCTS[-1], evaluation=Evaluation.NOT_OK), None
    yield "camera with a product long ago", Query(product=PRODUCTS[-1], camera=camera, min_score=1.5), None
    yield "random sample", Query(drawn=True), None
    yield "near the threshold", Query(min_score=THRESHOLD - 0.1, max_score=THRESHOLD), None
    yield "highest scores", Query(min_score=THRESHOLD + 2.6), None
    yield "a score that none has", Query(min_score=1000.0), None
    yield "OK with a score that none has", Query(evaluation=Evaluation.OK, min_score=1000.0), None


def measure_searches(folder: Path, line: Line) -> list[Row]:
    """A row for each kind of search: milliseconds, and how many parts were found on the first page."""
    choice = random.Random(1)
    times: dict[str, list[float]] = {}
    found: dict[str, int] = {}
    with ArchiveIndex.open(folder) as index:
        for _ in range(_TRIES):
            for kind, query, before in queries(line, choice):
                began = time.monotonic()
                page = index.search(query, _LIMIT, before)
                times.setdefault(kind, []).append((time.monotonic() - began) * 1e3)
                found[kind] = len(page)
    return [{"search": kind, "found": found[kind], **_percentiles(ms)} for kind, ms in times.items()]


def measure_retention(folder: Path, line: Line) -> Row:
    """Cut a tenth off, then go on with parts: how far from its limit the folder ever is, and what went."""
    before = on_disk(folder)
    retention = Retention(round(before * 0.9))
    with ArchiveStore(folder) as store:
        rejects = _rejects(store)
        began = time.monotonic()
        removed = _apply(retention, store)
        seconds = time.monotonic() - began
        sizes = [on_disk(folder)]
        more = Line(line.parts, seed=1)
        for first in range(0, _MORE, _PICTURES_A_BATCH):
            store.add(list(more.entries(first, first + _PICTURES_A_BATCH, pictures=True)))
            retention.apply(store)
            sizes.append(on_disk(folder))
        new = sum(entry.verdict.evaluation is not Evaluation.OK for entry in more.entries(0, _MORE, pictures=False))
        lost = rejects + new - _rejects(store)
    return {
        "limit_bytes": retention.max_bytes,
        "removed": removed,
        "seconds": seconds,
        "rejects_removed": lost,
        "smallest": min(sizes) / retention.max_bytes,
        "largest": max(sizes) / retention.max_bytes,
    }


def measure_kills(folder: Path, kills: int) -> Row:
    """Kill a writer again and again. Raises ArchiveBenchError where an acknowledged part or a file is amiss."""
    choice = random.Random(2)
    acknowledged: set[int] = set()
    starts = []
    for kill in range(kills):
        said = _killed(folder, choice.uniform(0.05, 1.5))
        acknowledged |= {key for key in said if key > 0}
        acknowledged -= {-key for key in said if key < 0}
        starts.append(_seconds(lambda: ArchiveStore(folder).close()))
        _check(folder, acknowledged, kill)
    return {"kills": kills, "acknowledged": len(acknowledged), "slowest_start_s": max(starts)}


def write_until_killed(folder: str) -> None:
    """Keep parts and remove some, and say so after each: keys that are kept, and with a minus what is to go."""
    line = Line(ROWS)
    with ArchiveStore(Path(folder)) as store:
        for first in itertools.count(time.time_ns() // 1_000_000 % 900_000, 40):
            kept = store.add(list(line.entries(first, first + 40, pictures=True)))
            print(*kept, flush=True)
            if first % 200 == 0:
                gone = store.oldest(Evaluation.OK, 30)
                print(*(-key for key in gone), flush=True)
                store.remove(gone)


def on_disk(folder: Path) -> int:
    """What the folder's files take up, in bytes; its pictures in blocks, as the archive counts."""
    pictures = sum(-(-file.stat().st_size // 4096) * 4096 for file in (folder / PICTURES).rglob("*.png"))
    return pictures + sum(file.stat().st_size for file in folder.glob("index.sqlite*"))


def _killed(folder: Path, seconds: float) -> list[int]:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(folder)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as writer:
        if writer.stdout is None:
            raise ArchiveBenchError("the writer says nothing")
        first = writer.stdout.readline()
        time.sleep(seconds)
        writer.kill()
        lines = [first, *writer.stdout.readlines()]
    # The last line may be half of one.
    return [int(word) for line in lines if line.endswith("\n") for word in line.split()]


def _check(folder: Path, acknowledged: set[int], kill: int) -> None:
    parts, named = set(), set()
    with ArchiveIndex.open(folder) as index:
        before = None
        while page := index.search(Query(), 1000, before):
            parts |= {part.key for part in page}
            named |= {path for part in page for path in (part.picture, part.map) if path is not None}
            before = page[-1].key
    files = {path for path in (folder / PICTURES).rglob("*") if path.is_file()}
    if acknowledged - parts or files != named:
        raise ArchiveBenchError(
            f"kill {kill}: {len(acknowledged - parts)} acknowledged parts lost, {len(files - named)} orphan files, "
            f"{len(named - files)} files missing"
        )


def _rejects(store: ArchiveStore) -> int:
    rows = store.index.database.execute("SELECT parts FROM totals WHERE evaluation != 0").fetchall()
    return sum(parts for (parts,) in rows)


def _apply(retention: Retention, store: ArchiveStore) -> int:
    removed = 0
    while gone := retention.apply(store):
        removed += gone
    return removed


def _first_page(folder: Path) -> None:
    with ArchiveIndex.open(folder) as index:
        index.search(Query(), _LIMIT)


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _percentiles(ms: list[float]) -> dict[str, float]:
    p50, p95 = (float(np.percentile(ms, percent, method="inverted_cdf")) for percent in (50, 95))
    return {"p50_ms": p50, "p95_ms": p95, "max_ms": max(ms)}


def measure(folder: Path, rows: int, pictures: int, kills: int) -> Row:
    """Every figure of an archive that is made in `folder`."""
    line = Line(rows)
    big, killed = folder / "big", folder / "killed"
    _tell(f"making {rows} parts")
    fill_s = fill(big, line, pictures)
    _tell("starting and searching")
    found: Row = {
        "rows": rows,
        "with_pictures": pictures,
        "bytes": on_disk(big),
        "fill_s": fill_s,
        **measure_starts(big),
        "searches": measure_searches(big, line),
    }
    _tell("holding it to a limit")
    found["retention"] = measure_retention(big, line)
    shutil.rmtree(big)
    _tell(f"killing its writer {kills} times")
    found["killed"] = measure_kills(killed, kills)
    return found


def tables(found: Row) -> str:
    """What was measured, and beside it what is demanded."""
    searches, kept, killed = found["searches"], found["retention"], found["killed"]
    times = ("p50_ms", "p95_ms", "max_ms")
    rows = [[row["search"], str(row["found"]), *(f"{row[key]:.1f}" for key in times)] for row in searches]
    return "\n".join(
        [
            format_table(("search", "found", "p50 ms", "p95 ms", "max ms"), rows),
            "",
            f"worst p95 {max(row['p95_ms'] for row in searches):.1f} ms (limit {LIMIT_MS:g})",
            f"start: writer {found['writer_start_s']:.3f} s, reader {found['reader_start_s']:.3f} s "
            f"(limit {START_LIMIT_S:g})",
            f"size: {kept['removed']} parts removed in {kept['seconds']:.1f} s, {kept['rejects_removed']} of all "
            f"that went rejects; then between {kept['smallest']:.4f} and {kept['largest']:.4f} of the limit "
            f"(demanded: at most {1 + SIZE_TOLERANCE:g})",
            f"kills: {killed['kills']}; of {killed['acknowledged']} acknowledged parts none lost, no file too many or "
            f"too few; slowest start after one {killed['slowest_start_s']:.3f} s",
        ]
    )


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the figures where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N")
    parser.add_argument("--pictures", type=int, default=WITH_PICTURES, metavar="N", help="parts with pictures")
    parser.add_argument("--kills", type=int, default=KILLS, metavar="N")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the archive is made (default: a temporary one)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args(argv)
    try:
        check_folders(options.json)
        with tempfile.TemporaryDirectory(prefix="bench-archive-", dir=options.folder) as folder:
            found = measure(Path(folder), options.rows, options.pictures, options.kills)
    except InspectError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(tables(found))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": describe_machine(), **found}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
