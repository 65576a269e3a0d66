"""Parts for the tests of the archive: verdicts, frames and maps that can be told apart."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.anomaly_map import AnomalyMap
from edge.archive.part import Kept
from edge.archive.store import Entry
from edge.verdict import Evaluation, StageTimes, Verdict
from engines.preprocess import Preprocessing

BEGAN = datetime(2026, 3, 1, 6, 0, tzinfo=timezone.utc)
_VERDICT = Verdict(
    session_id="s1",
    station="cell-7",
    sent_at=BEGAN.isoformat(),
    seq=1,
    camera="top",
    recipe="flange",
    frame_id=1,
    part_id=None,
    trigger_id=None,
    evaluation=Evaluation.NOT_OK,
    reason="score 2 is above the threshold 1",
    score=2.0,
    threshold=1.0,
    margin=-1.0,
    regions=(),
    bundle_digest="d",
    captured_at=BEGAN.isoformat(timespec="milliseconds"),
    captured_ns=1,
    stage_ms=StageTimes(capture=0.0, queue=0.0),
)


def moment(second: float) -> datetime:
    return BEGAN + timedelta(seconds=second)


def verdict(second: float = 0.0, **fields: object) -> Verdict:
    captured_at = moment(second).isoformat(timespec="milliseconds")
    return msgspec.structs.replace(_VERDICT, captured_at=captured_at, **fields)


def frame(seed: int = 0, shape: tuple[int, ...] = (48, 64, 3)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def anomaly_map(seed: int = 0) -> AnomalyMap:
    values = np.random.default_rng(seed).normal(size=(32, 32)).astype(np.float32)
    return AnomalyMap(values, Preprocessing("crop", 48, 32), 1.5)


def entry(second: float = 0.0, seed: int = 0, product: str = "Flange", **fields: object) -> Entry:
    """A part with frame and map, a reject where `fields` of its verdict do not say otherwise."""
    judged = verdict(second, **fields)
    kept = Kept.SAMPLE if judged.evaluation is Evaluation.OK else Kept.REJECT
    return Entry(judged, product, kept, seed % 3 == 2, 0.25, frame(seed), anomaly_map(seed))


def bare(second: float = 0.0, **fields: object) -> Entry:
    """A part that is OK and whose pictures are not held."""
    good = {"evaluation": Evaluation.OK, "score": 0.5, "reason": "", "margin": 0.5, **fields}
    return Entry(verdict(second, **good), "Flange", Kept.VERDICT)
