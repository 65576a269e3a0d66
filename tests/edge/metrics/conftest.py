"""A station whose figures are given, and the figures of a real daemon."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from edge.metrics.latencies import Histogram, StageLatencies
from edge.metrics.station import Depth
from edge.verdict import ArchiveStatus, CameraStatus, Counters, DriftStatus, Heartbeat, StageTimes, State
from tests.edge.messages import WHEN


class Figures:
    """A station as a daemon has it after some parts, with everything that there can be."""

    def __init__(self) -> None:
        self.state = State.RUNNING
        self.stuck_worker = ""
        self._latencies = StageLatencies(["top"])
        self._latencies.observe("top", StageTimes(capture=0.2, queue=0.1, infer=4.0, total=5.0))

    def status(self) -> Heartbeat:
        counters = Counters(
            frames=9, ok=5, not_ok=2, not_decidable=1, dropped={"newer frame": 1}, restarts={"top.feeder": 2}
        )
        camera = CameraStatus(
            state=self.state,
            state_s=1.0,
            reason="",
            counters=counters,
            recipe="flange",
            bundle_digest="d",
            engine="openvino",
            precision="f32",
            drift={"score": DriftStatus(alarm=True, level=1.0, usual=0.05, raised=0.1, parts_to_alarm=100)},
        )
        archive = ArchiveStatus(
            state=State.DEGRADED,
            reason="full",
            parts=7,
            bytes=1000,
            limit_bytes=2000,
            waiting=3,
            kept=4,
            pictures_lost={"overrun": 6},
        )
        return Heartbeat(
            session_id="s",
            station="cell-7",
            sent_at=WHEN,
            interval_s=1.0,
            last_seq=8,
            state=self.state,
            state_s=3.5,
            reason="" if self.state is State.RUNNING else "camera top: away",
            counters=counters,
            cameras={"top": camera},
            archive=archive,
        )

    def depths(self) -> list[Depth]:
        return [Depth("", "verdicts", 2), Depth("top", "frames", 1)]

    def thresholds(self) -> dict[str, float]:
        return {"top": 1.25}

    def latencies(self) -> list[Histogram]:
        return list(self._latencies.histograms())

    def workers(self) -> list[str]:
        return ["top.feeder", "publisher"]

    def unaudited(self) -> int:
        return 0

    def stuck(self) -> str:
        return self.stuck_worker


@pytest.fixture
def figures() -> Figures:
    return Figures()


def fetch(address: str, path: str = "/metrics") -> tuple[int, str]:
    """Status and body of a page."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def real_figures(start_daemon, listener, tmp_path: Path, free_address: str, render_part) -> Callable[[], str]:
    """`real_figures()`: what a real daemon exports after three parts, one of them a defective one."""

    def read() -> str:
        inbox = tmp_path / "inbox"
        inbox.mkdir()
        for seed, defect in ((300, False), (301, False), (302, True)):
            cv2.imwrite(str(inbox / f"{seed}.png"), render_part(seed, defect))
        tables = (
            f'[metrics]\nbind = "{free_address}"\n[archive]\nfolder = "{tmp_path}/archive"\n'
            f'[audit]\nfile = "{tmp_path}/audit.jsonl"\n'
        )
        start_daemon(f'kind = "folder"\npath = "{inbox}"', tables)
        listener.until(lambda heard: heard.heartbeats and heard.heartbeats[-1].archive.kept == 3)
        assert fetch(free_address, "/readyz") == (200, "Running\n")
        assert fetch(free_address, "/healthz") == (200, "it lives\n")
        return fetch(free_address)[1]

    return read
