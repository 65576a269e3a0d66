from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from edge.archive.part import Query
from edge.archive.retention import SLACK, Retention
from edge.archive.store import ArchiveStore
from edge.verdict import Evaluation
from tests.edge.archive.parts import bare, entry, frame, moment

MB = 1_000_000


def seconds(store: ArchiveStore) -> list[float]:
    found = store.index.search(Query(), 1000)
    return sorted(part.verdict.seq for part in found)


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fill(store: ArchiveStore, seconds: range, **fields: object) -> None:
    for second in seconds:
        store.add([entry(second, second, seq=second, **fields)])


def test_what_is_too_old_goes_whatever_it_is(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        fill(store, range(0, 6, 2))
        fill(store, range(1, 6, 2), evaluation=Evaluation.OK)
        retention = Retention(1000 * MB, timedelta(hours=1), clock=lambda: moment(3603))
        assert retention.apply(store) == 3
        assert seconds(store) == [3, 4, 5]
        assert retention.apply(store) == 0


def test_below_the_limit_nothing_goes(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        fill(store, range(3))
        assert Retention(100 * MB).apply(store) == 0


def test_good_parts_go_first_and_the_oldest_of_them_before_the_others(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        fill(store, range(10))
        fill(store, range(10, 20), evaluation=Evaluation.OK)
        before = store.room()
        each = before.pictures / 20
        Retention(round((before.total - 3.5 * each) / (1 - SLACK))).apply(store)
        left = seconds(store)
        assert left[:10] == list(range(10))
        assert left[10:] == list(range(20 - (len(left) - 10), 20))
        assert 3 <= 20 - len(left) <= 4


def test_rejects_go_when_no_good_part_is_left_the_oldest_first(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        fill(store, range(10))
        fill(store, range(10, 15), evaluation=Evaluation.NOT_DECIDABLE)
        fill(store, range(15, 20), evaluation=Evaluation.OK)
        before = store.room()
        Retention(round((before.total - 7.5 * before.pictures / 20) / (1 - SLACK))).apply(store)
        left = seconds(store)
        assert left == list(range(left[0], 15))
        assert 2 <= left[0] <= 3


@pytest.mark.parametrize("with_good", [False, True])
def test_the_limit_is_kept_while_parts_come(tmp_path: Path, with_good: bool) -> None:
    limit = 12 * MB
    retention = Retention(limit)
    with ArchiveStore(tmp_path) as store:
        largest = 0
        for second in range(200):
            batch = [bare(second + 0.1 * k) for k in range(3)] if with_good else []
            large = replace(entry(second), frame=frame(second, (160, 160, 3)))
            store.add([large, *batch])
            retention.apply(store)
            largest = max(largest, on_disk(tmp_path))
        assert store.room().total <= limit * 1.01
        assert largest <= limit * 1.01
        assert store.room().total >= limit * 0.97
