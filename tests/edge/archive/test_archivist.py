from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge.archive import archivist as module
from edge.archive.archivist import Archivist
from edge.archive.index import FILE_NAME, PICTURES, ArchiveIndex
from edge.archive.part import ArchivedPart, Kept, Query
from edge.archive.store import ArchiveStore
from edge.archive.table import ArchiveTable
from edge.cameras.camera import Frame
from edge.decision import Decision
from edge.inspector import Judgement
from edge.product import Recipe
from edge.verdict import Evaluation, State, Verdict
from edge.worker import Worker
from tests.edge.archive.parts import anomaly_map, frame, verdict

GOOD = {"evaluation": Evaluation.OK, "score": 0.5, "reason": "", "margin": 0.5}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.02)


@pytest.fixture
def table(tmp_path: Path) -> ArchiveTable:
    return ArchiveTable(folder=tmp_path / "archive", ok_share=0.0, keep_free_gb=0.001)


@pytest.fixture
def offered(recipe: Recipe) -> Callable[..., tuple[Verdict, Judgement]]:
    """`offered(second, seed, **fields)`: what the publisher hands over, a reject where the fields do not say else."""

    def make(second: float = 0.0, seed: int = 0, **fields: object) -> tuple[Verdict, Judgement]:
        judged = verdict(second, **fields)
        picture = Frame(seed, frame(seed), 1, 1.0, 0.0)
        judgement = Judgement("top", recipe, picture, Decision(judged.evaluation), {}, 1, anomaly_map(seed))
        return judged, judgement

    return make


class Running:
    """An archivist with its worker, and the parts that it has kept once it is done."""

    def __init__(self, table: ArchiveTable) -> None:
        self.folder = table.folder
        self.archivist = Archivist(table)
        self.worker = Worker("archive", self.archivist)
        self.worker.start()

    def until(self, condition: Callable[[Archivist], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition(self.archivist):
            if time.monotonic() > deadline:
                pytest.fail(f"it did not happen within 30 s: {self.archivist.status()}")
            time.sleep(0.005)

    def finish(self) -> list[ArchivedPart]:
        self.archivist.close()
        self.worker.join(30)
        assert self.worker.failure is None
        with ArchiveIndex.open(self.folder) as index:
            return index.search(Query(), 1000)


@pytest.fixture
def running(table: ArchiveTable) -> Iterator[Running]:
    running = Running(table)
    yield running
    running.worker.stop(30)


def test_rejects_are_kept_with_everything(running: Running, offered) -> None:
    running.archivist.offer(*offered(1, part_id="A"))
    running.archivist.offer(*offered(2, evaluation=Evaluation.NOT_DECIDABLE, score=None, margin=None))
    second, first = running.finish()
    assert (first.verdict.part_id, first.kept_because, first.missing) == ("A", Kept.REJECT, "")
    assert second.kept_because is Kept.REJECT
    for part in (first, second):
        assert part.picture is not None
        assert part.picture.exists()
        assert part.map is not None
        assert part.map.exists()
    status = running.archivist.status()
    assert (status.state, status.kept, status.parts, status.waiting) == (State.RUNNING, 2, 2, 0)
    assert status.limit_bytes == 10_000_000_000


def test_of_good_parts_the_verdict_is_kept_and_of_those_to_review_all(running: Running, offered) -> None:
    running.archivist.offer(*offered(1, **GOOD))
    running.archivist.offer(*offered(2, **GOOD, review=True))
    review, plain = running.finish()
    assert (plain.kept_because, plain.picture, plain.missing) == (Kept.VERDICT, None, "")
    assert review.kept_because is Kept.REVIEW
    assert review.picture is not None


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("good", [True, False])
def test_a_share_of_all_is_drawn_whatever_they_are(table: ArchiveTable, offered, share: float, good: bool) -> None:
    archivist = Archivist(replace_table(table, ok_share=share))
    part = offered(0, **(GOOD if good else {}))
    for _ in range(1000):
        archivist.offer(*part)
    drawn = [entry for entry in archivist._waiting if entry.drawn]
    # Six standard deviations: one run in 10^9 fails by chance.
    assert abs(len(drawn) - 1000 * share) <= 6 * (share * (1 - share) * 1000) ** 0.5
    assert {entry.share for entry in archivist._waiting} == {share}
    assert {entry.kept for entry in drawn} <= {Kept.SAMPLE if good else Kept.REJECT}
    assert all(entry.kept is not Kept.SAMPLE for entry in archivist._waiting if not entry.drawn)


def replace_table(table: ArchiveTable, **fields: object) -> ArchiveTable:
    return ArchiveTable(**{**{name: getattr(table, name) for name in table.__struct_fields__}, **fields})


def test_verdicts_of_good_parts_can_be_left_out(table: ArchiveTable, offered) -> None:
    running = Running(replace_table(table, ok_verdicts=False))
    running.archivist.offer(*offered(1, **GOOD))
    running.archivist.offer(*offered(2))
    assert len(running.finish()) == 1


def test_a_part_whose_frame_never_came_is_kept_without(running: Running, offered) -> None:
    judged, judgement = offered(1, evaluation=Evaluation.NOT_DECIDABLE, score=None, margin=None, reason="missing")
    running.archivist.offer(judged, replace(judgement, frame=replace(judgement.frame, image=None), map=None))
    (part,) = running.finish()
    assert (part.picture, part.map, part.missing) == (None, None, "no frame")
    assert running.archivist.status().pictures_lost == {}


def test_a_map_that_is_no_number_costs_the_map_alone(running: Running, offered) -> None:
    judged, judgement = offered(1)
    broken = replace(judgement.map, values=np.full((32, 32), np.nan, np.float32))
    running.archivist.offer(judged, replace(judgement, map=broken))
    (part,) = running.finish()
    assert part.picture is not None
    assert part.map is None


def test_an_overrun_costs_pictures_and_no_verdict(table: ArchiveTable, offered) -> None:
    archivist = Archivist(replace_table(table, pictures=3))
    for second in range(5):
        archivist.offer(*offered(second, second))
    assert archivist.status().pictures_lost == {"overrun": 2}
    archivist.close()
    worker = Worker("archive", archivist)
    worker.start()
    worker.join(30)
    with ArchiveIndex.open(table.folder) as index:
        found = index.search(Query())
    assert [part.missing for part in found] == ["overrun", "overrun", "", "", ""]
    assert [part.picture is None for part in found] == [True, True, False, False, False]


def test_room_for_pictures_comes_back(table: ArchiveTable, offered) -> None:
    running = Running(replace_table(table, pictures=1))
    for second in range(5):
        running.archivist.offer(*offered(second, second))
        running.until(lambda archivist, kept=second + 1: archivist.status().kept == kept)
    assert [part.missing for part in running.finish()] == [""] * 5


def test_nothing_waits_without_a_limit(table: ArchiveTable, offered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING", 3)
    archivist = Archivist(table)
    for second in range(5):
        archivist.offer(*offered(second, **GOOD))
    status = archivist.status()
    assert (status.waiting, status.verdicts_lost) == (3, 2)


def test_the_publisher_hands_over_references(table: ArchiveTable, offered) -> None:
    archivist = Archivist(table)
    judged, judgement = offered()
    archivist.offer(judged, judgement)
    (entry,) = archivist._waiting
    assert entry.frame is judgement.frame.image
    assert entry.map is judgement.map


def test_its_thread_gives_way_to_those_that_judge(running: Running) -> None:
    assert running.worker._thread is not None
    number = running.worker._thread.native_id
    assert os.getpriority(os.PRIO_PROCESS, number) >= 10
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == os.getpriority(os.PRIO_PROCESS, os.getpid())


def test_with_little_left_on_the_disk_only_verdicts_are_kept_until_there_is_more(
    running: Running, offered, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free = shutil.disk_usage("/").free
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    running.archivist.offer(*offered(1))
    running.until(lambda archivist: archivist.status().kept == 1)
    free = 900_000
    running.archivist.offer(*offered(2))
    running.until(lambda archivist: archivist.status().kept == 2)
    running.until(lambda archivist: archivist.status().state is State.DEGRADED)
    assert "less than 0.001 GB is free" in running.archivist.status().reason
    free = 1_050_000  # not yet a tenth more
    running.archivist.offer(*offered(3))
    running.until(lambda archivist: archivist.status().kept == 3)
    free = 1_200_000
    running.until(lambda archivist: archivist.status().state is State.RUNNING)
    running.archivist.offer(*offered(4))
    assert [part.missing for part in running.finish()] == ["", "disk full", "disk full", ""]
    assert running.archivist.status().pictures_lost == {"disk full": 2}
    said = [record.message for record in caplog.records if record.name == module.__name__]
    assert len(said) == 2
    assert "degraded" in said[0]
    assert said[1] == "the archive keeps everything again"


def test_an_archive_that_cannot_be_opened_is_tried_again_and_no_verdict_is_lost(table: ArchiveTable, offered) -> None:
    with ArchiveStore(table.folder):  # another process's, it might be
        running = Running(table)
        running.archivist.offer(*offered(1))
        running.until(lambda archivist: archivist.status().state is State.DEGRADED)
        assert "another process writes" in running.archivist.status().reason
    running.until(lambda archivist: archivist.status().kept == 1)
    running.until(lambda archivist: archivist.status().state is State.RUNNING)
    (part,) = running.finish()
    assert part.missing == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of sixteen mebibytes."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "edge-inspect-test", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting takes root")
@pytest.mark.parametrize("left", [500_000, 0])
def test_on_a_full_disk_no_verdict_is_lost_and_pictures_come_back_with_room(
    table: ArchiveTable, offered, small_disk: Path, left: int
) -> None:
    running = Running(replace_table(table, folder=small_disk / "archive", pictures=2))
    running.archivist.offer(*offered(0))
    running.until(lambda archivist: archivist.status().kept == 1)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - left))
    for second in range(1, 400):
        running.archivist.offer(*offered(second, second % 7))
        time.sleep(0.0005)
    running.until(lambda archivist: archivist.status().state is State.DEGRADED)
    ballast.unlink()
    running.until(lambda archivist: archivist.status().kept == 400)
    running.until(lambda archivist: archivist.status().state is State.RUNNING)
    running.archivist.offer(*offered(400))
    found = running.finish()
    assert len(found) == 401
    assert (found[0].missing, found[-1].missing) == ("", "")
    assert {part.missing for part in found[1:-1]} <= {"", "disk full", "overrun"}
    assert all((part.picture is None) == bool(part.missing) for part in found)
    status = running.archivist.status()
    assert sum(status.pictures_lost.values()) == sum(part.picture is None for part in found) > 300
    assert status.verdicts_lost == 0


def test_one_picture_that_cannot_be_written_costs_no_other(running: Running, offered) -> None:
    running.until(lambda archivist: (running.folder / FILE_NAME).exists())
    empty, judgement = offered(2)
    hollow = replace(judgement, frame=replace(judgement.frame, image=frame()[:0]))
    for one in (offered(1, 1), (empty, hollow), offered(3, 3)):
        running.archivist.offer(*one)
    assert [part.missing for part in running.finish()] == ["", "disk error", ""]
    assert len(list((running.folder / PICTURES).rglob("*.png"))) == 4


def test_given_up_it_says_so_and_takes_no_more(table: ArchiveTable, offered) -> None:
    archivist = Archivist(table)
    archivist.give_up("worker 'archive' failed too often")
    archivist.offer(*offered())
    status = archivist.status()
    assert (status.state, status.reason, status.verdicts_lost, status.waiting) == (
        State.DEGRADED,
        "worker 'archive' failed too often",
        1,
        0,
    )
