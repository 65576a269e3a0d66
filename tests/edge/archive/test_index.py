from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from edge.archive.index import FILE_NAME, ArchiveIndex
from edge.archive.part import ArchiveError, Kept, Query
from edge.archive.store import ArchiveStore
from edge.verdict import Evaluation
from tests.edge.archive.parts import bare, entry, moment

UNDECIDED = {"evaluation": Evaluation.NOT_DECIDABLE, "score": None, "margin": None, "reason": "late"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of ten parts, a second apart, in two batches and not in the order of their capture."""
    folder = tmp_path_factory.mktemp("archive")
    with ArchiveStore(folder) as store:
        store.add([bare(second, part_id=f"P{second}", score=second / 10) for second in (5, 6, 7, 8, 9)])
        store.add(
            [
                entry(0, 2, part_id="P0", camera="side", score=3.5),
                entry(1, part_id="P1", product="Gear", recipe="gear"),
                entry(2, part_id="4711", **UNDECIDED),
                entry(3, score=2.5, part_id="<b>ä'\"%_*</b>"),
                entry(4, part_id="4711"),
            ]
        )
    return folder


@pytest.fixture
def index(folder: Path) -> Iterator[ArchiveIndex]:
    with ArchiveIndex.open(folder) as index:
        yield index


def seconds(index: ArchiveIndex, query: Query, **paging: int) -> list[float]:
    found = index.search(query, **paging)
    return [(datetime.fromisoformat(part.verdict.captured_at) - moment(0)).total_seconds() for part in found]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (Query(since=moment(7)), [9, 8, 7]),
        (Query(since=moment(7.0005)), [9, 8, 7]),
        (Query(until=moment(2)), [2, 1, 0]),
        (Query(since=moment(2), until=moment(4)), [4, 3, 2]),
        (Query(part_id="4711"), [4, 2]),
        (Query(part_id="471"), []),
        (Query(part_id="<b>ä'\"%_*</b>"), [3]),
        (Query(part_id="%"), []),
        (Query(product="Gear"), [1]),
        (Query(product="Flange", evaluation=Evaluation.NOT_OK), [4, 3, 0]),
        (Query(product="nothing"), []),
        (Query(camera="side"), [0]),
        (Query(evaluation=Evaluation.NOT_DECIDABLE), [2]),
        (Query(evaluation=Evaluation.OK, min_score=0.6, max_score=0.8), [8, 7, 6]),
        (Query(drawn=True), [0]),
        (Query(drawn=False, evaluation=Evaluation.NOT_OK), [4, 3, 1]),
        (Query(min_score=2.5), [3, 0]),
        (Query(max_score=100.0), [9, 8, 7, 6, 5, 4, 3, 1, 0]),
        (Query(part_id="4711", camera="top", since=moment(3)), [4]),
    ],
)
def test_everything_asked_for_must_hold_and_the_newest_comes_first(
    index: ArchiveIndex, query: Query, expected: list[float]
) -> None:
    assert seconds(index, query) == expected


def test_pages_follow_one_another_without_a_gap(index: ArchiveIndex) -> None:
    found, before = [], None
    while page := index.search(Query(evaluation=Evaluation.NOT_OK), 2, before):
        assert len(page) <= 2
        found += [part.verdict.part_id for part in page]
        before = page[-1].key
    assert found == ["4711", "<b>ä'\"%_*</b>", "P1", "P0"]


@pytest.mark.parametrize(("limit", "expected"), [(0, 0), (-1, 0), (3, 3), (1 << 40, 10)])
def test_a_page_has_a_limit(index: ArchiveIndex, limit: int, expected: int) -> None:
    assert len(index.search(Query(), limit)) == expected


def test_a_part_is_found_by_its_key(index: ArchiveIndex) -> None:
    (found,) = index.search(Query(camera="side"))
    assert index.part(found.key) == found
    assert found.kept_because is Kept.REJECT
    assert (found.drawn, found.share) == (True, 0.25)
    assert index.part(found.key + 1) is None
    assert index.part(-1) is None


def test_parts_of_the_same_moment_have_keys_of_their_own(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        keys = store.add([bare(part_id="a"), bare(part_id="b")]) + store.add([bare(part_id="c")])
        assert keys == [keys[0], keys[0] + 1, keys[0] + 2]
        assert store.index.search(Query())[0].verdict.part_id == "c"


def test_names_of_cameras_and_products_are_listed(index: ArchiveIndex) -> None:
    assert index.cameras() == ["side", "top"]
    assert index.products() == ["Flange", "Gear"]


def test_another_process_reads_while_parts_come(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from edge.archive.index import ArchiveIndex; from edge.archive.part import Query\n"
        "with ArchiveIndex.open(pathlib.Path(sys.argv[1])) as index:\n"
        "    for line in sys.stdin: print(len(index.search(Query())), flush=True)"
    )
    with ArchiveStore(tmp_path) as store:
        store.add([bare()])
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            for expected in (1, 2, 3):
                reader.stdin.write("go\n")
                reader.stdin.flush()
                assert int(reader.stdout.readline()) == expected
                store.add([bare(expected)])
            reader.stdin.close()


def test_a_reader_writes_nothing(index: ArchiveIndex) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        index.database.execute("DELETE FROM parts")


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"expected the index of an archive at .*index\.sqlite"):
        ArchiveIndex.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_reader_who_may_not_write_reads_while_the_writer_runs_and_is_told_what_to_do_when_not(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib; from edge.archive.index import ArchiveIndex; from edge.archive.part import Query\n"
        "os.setuid(65534)\n"
        "with ArchiveIndex.open(pathlib.Path(sys.argv[1])) as index: print(len(index.search(Query())))"
    )

    def read() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    tmp_path.chmod(0o755)
    with ArchiveStore(tmp_path) as store:
        store.add([bare()])
        assert read().stdout == "1\n"
    assert re.search(r"the user 65534 may not write in .*: read as the user 0, or start the daemon", read().stderr)
    tmp_path.chmod(0o700)
    assert re.search(r"the user 65534 may not look into .*: read as the user of the daemon", read().stderr)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(ArchiveError, match="archive"):
        ArchiveIndex.open(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        store.index.database.execute("PRAGMA user_version = 2")
    with pytest.raises(ArchiveError, match=r"expected schema 1 in .*, found 2"):
        ArchiveIndex.open(tmp_path)
    with pytest.raises(ArchiveError, match="expected schema 1"):
        ArchiveStore(tmp_path)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ArchiveError, match="time zone"):
        Query(since=datetime(2026, 1, 1))
