from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from edge.archive.index import PICTURES, ArchiveIndex
from edge.archive.lane import ArchiveLane
from edge.archive.part import Query
from edge.archive.table import ArchiveTable
from edge.config import PipelineTable
from edge.health import Health
from edge.verdict import Evaluation, State


def test_a_real_daemon_archives_what_it_publishes(
    start_daemon: Callable[..., object], listener, tmp_path: Path, render_part
) -> None:
    inbox, folder = tmp_path / "inbox", tmp_path / "archive"
    inbox.mkdir()
    pictures = {f"{seed}.png": render_part(seed, defect) for seed, defect in ((300, False), (301, True), (302, True))}
    for name, picture in pictures.items():
        cv2.imwrite(str(inbox / name), picture)
    (inbox / "303.png").write_bytes(b"no image")
    daemon = start_daemon(f'kind = "folder"\npath = "{inbox}"', f'[archive]\nfolder = "{folder}"\nok_share = 0.0')
    heard = listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].archive.kept == 4)
    assert heard.heartbeats[-1].archive.state is State.RUNNING
    assert daemon.end() == 0
    with ArchiveIndex.open(folder) as index:
        parts = index.search(Query())
        (good,) = index.search(Query(evaluation=Evaluation.OK))
    assert sorted((part.verdict for part in parts), key=lambda verdict: verdict.seq) == heard.verdicts
    assert {part.product for part in parts} == {good.product} != {""}
    for part in parts:
        if part.verdict.evaluation is Evaluation.NOT_OK:
            assert part.picture is not None
            assert part.map_view is not None
            assert np.array_equal(cv2.imread(str(part.picture)), pictures[str(part.verdict.part_id)])
            # The largest value of the map is the peak of its largest region.
            assert part.map_view.high == max(region.peak for region in part.verdict.regions)
    assert good.picture is None


def test_what_was_kept_is_there_after_a_kill(start_daemon, listener, tmp_path: Path, render_part) -> None:
    inbox, folder = tmp_path / "inbox", tmp_path / "archive"
    inbox.mkdir()
    for seed in range(20):
        cv2.imwrite(str(inbox / f"{seed}.png"), render_part(seed, defect=True))
    table = f'[archive]\nfolder = "{folder}"'
    daemon = start_daemon(f'kind = "folder"\npath = "{inbox}"', table)
    heard = listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].archive.kept >= 5)
    daemon.end(signal.SIGKILL)
    kept = heard.heartbeats[-1].archive.kept
    (tmp_path / "empty").mkdir()
    session = heard.verdicts[0].session_id
    start_daemon(f'kind = "folder"\npath = "{tmp_path / "empty"}"', table)
    listener.until(
        lambda heard: heard.heartbeats[-1].session_id != session and heard.heartbeats[-1].archive.parts >= kept
    )
    with ArchiveIndex.open(folder) as index:
        parts = index.search(Query())
    assert {verdict.seq for verdict in heard.verdicts[:kept]} <= {part.verdict.seq for part in parts}
    named = {path for part in parts for path in (part.picture, part.map) if path is not None}
    assert named == {path for path in (folder / PICTURES).rglob("*") if path.is_file()}


def test_an_archive_that_fails_for_good_stops_nothing_else(tmp_path: Path, monkeypatch) -> None:
    lane = ArchiveLane(ArchiveTable(folder=tmp_path), PipelineTable(restarts=0), Health(["top"]))

    def fail(stopping: object) -> bool:
        raise MemoryError("no room for a batch")

    monkeypatch.setattr(lane.archivist, "step", fail)
    lane.start()
    for _ in range(1000):
        lane.supervise()
        if lane.archivist.status().state is State.DEGRADED:
            break
    assert "MemoryError: no room for a batch" in lane.archivist.status().reason
    lane.finish(5.0)
