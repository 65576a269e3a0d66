"""A line whose drawn parts a real engine has judged, and people who know what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.severity import GRADES
from edge.archive.index import ArchiveIndex
from edge.archive.part import Kept
from edge.archive.store import ArchiveStore, Entry
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import Says, Statement
from edge.verdict import Evaluation
from engines.bundle import Bundle
from engines.registry import open_engine
from tests.edge.archive.parts import verdict

Render = Callable[..., NDArray[np.uint8]]


def run_line(folder: Path, bundle: Bundle, render: Render, good: range, defects: range) -> dict[int, bool]:
    """Judge parts drawn with these seeds, archive all with their frames, and return by key whether the part is good."""
    entries = []
    calibration = bundle.latest_calibration
    seeds = [(seed, True) for seed in good] + [(seed, False) for seed in defects]
    with open_engine(bundle, calibration.backend, calibration.precision) as engine:
        for seed, is_good in seeds:
            frame = render(seed, defect=not is_good)
            score = float(engine.infer(bundle.info.preprocessing(frame)[None]).scores[0])
            entries.append(_entry(bundle, seed, frame, score))
    with ArchiveStore(folder) as store:
        keys = store.add(entries)
    return {key: is_good for key, (_, is_good) in zip(keys, seeds, strict=True)}


def look_at(folder: Path, truth: dict[int, bool]) -> None:
    """Say of every part what it is. Of the defects a third each is minor, major and critical, by their scores."""
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder) as book:
        parts = [part for key in truth if (part := index.part(key)) is not None]
        defects = sorted((part.verdict.score or 0.0, part.key) for part in parts if not truth[part.key])
        grades = {key: GRADES[3 * rank // len(defects)] for rank, (_, key) in enumerate(defects)}
        for part in parts:
            says = Says.GOOD if truth[part.key] else Says.DEFECT
            book.add(part, Statement(says, "looked at it", "Ada", grades.get(part.key)))


def _entry(bundle: Bundle, second: int, frame: NDArray[np.uint8], score: float) -> Entry:
    threshold = bundle.latest_calibration.threshold
    rejected = score > threshold
    judged = verdict(
        second,
        part_id=f"P{second}",
        evaluation=Evaluation.NOT_OK if rejected else Evaluation.OK,
        score=score,
        threshold=threshold,
        margin=threshold - score,
        bundle_digest=bundle.digest,
    )
    drawn = second % 3 != 0
    passed = Kept.SAMPLE if drawn else Kept.REVIEW
    return Entry(judged, bundle.info.product, Kept.REJECT if rejected else passed, drawn, 0.7, frame)
