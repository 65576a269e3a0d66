"""A report's input with made-up scores, so that the page can be tested without training."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.demo.parts import Part, render_many
from edge.demo.report import Judged, Story
from edge.verdict import Evaluation, StageTimes, Verdict
from engines.bundle import BackboneInfo, BundleInfo, Calibration, Provenance
from engines.engine import EngineDescription
from engines.page.heat import Scale
from engines.preprocess import Preprocessing

THRESHOLD = -0.12


def verdict(seq: int, name: str, score: float | None, reason: str = "") -> Verdict:
    evaluation = Evaluation.NOT_DECIDABLE
    if score is not None:
        evaluation = Evaluation.NOT_OK if score > THRESHOLD else Evaluation.OK
    times = StageTimes(
        capture=11.0, queue=0.4, preprocess=0.7, infer=8.0 + seq % 3, decide=0.3, publish=0.1, total=21.0
    )
    return Verdict(
        session_id="s",
        station="demo",
        sent_at="2030-01-01T00:00:00Z",
        seq=seq,
        camera="top",
        recipe="flange",
        frame_id=seq,
        part_id=name,
        trigger_id=None,
        evaluation=evaluation,
        reason=reason,
        score=score,
        threshold=THRESHOLD,
        margin=None if score is None else THRESHOLD - score,
        regions=(),
        bundle_digest="d" * 64,
        captured_at="2030-01-01T00:00:00Z",
        captured_ns=seq,
        stage_ms=times,
    )


def judged(index: int, part: Part, score: float | None, name: str | None = None) -> Judged:
    """`part` with a map that glows where its defect is, as far as `score` lies above the quiet level."""
    name = name or f"part-{index + 1:02d}.png"
    glow = cv2.GaussianBlur(cv2.resize(part.mask, (256, 256))[16:240, 16:240].astype(np.float32), (0, 0), 6)
    glow /= max(float(glow.max()), 1e-6)
    anomaly_map = (-0.55 + glow * ((score if score is not None else 0.0) + 0.55)).astype(np.float32)
    reason = "" if score is not None else "the file is truncated <b>"
    return Judged(name, part.defect, verdict(index + 1, name, score, reason), part.image, part.mask, anomaly_map)


def story(
    defects: Sequence[str | None],
    scores: Sequence[float | None],
    *,
    weights: str = "resnet18.pth",
    names: Sequence[str] | None = None,
) -> Story:
    parts = render_many("flange", 5, list(defects))
    calibration = Calibration(
        "openvino", "CPU", "f32", {}, 0.01, THRESHOLD, -0.3, 100, 0.0099, "of 100 good parts", (), 1e-3, (), "2030"
    )
    provenance = Provenance("d", 80, (), 0, {"epochs": 10}, {"torch": "2"}, "2030-01-01T00:00:00Z")
    info = BundleInfo(1, "flange", Preprocessing(), BackboneInfo("resnet18", "a" * 64, weights), provenance)
    return Story(
        kind="flange",
        parts=tuple(
            judged(index, part, score, names[index] if names else None)
            for index, (part, score) in enumerate(zip(parts, scores, strict=True))
        ),
        info=info,
        calibration=calibration,
        engine=EngineDescription("openvino", "CPU", "f32", {"openvino": "2026"}, "the CPU has no bf16 units"),
        bundle_digest="b" * 64,
        scale=Scale(-0.5, -0.3),
        metrics={"image_auroc": 0.987, "n_good": 8},
        seconds={"train": 61.2, "calibrate": 4.1},
    )
