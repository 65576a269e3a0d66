"""From what the network says of a part to its evaluation, and to regions in the camera's own frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.severity import grade, measure_exceedance
from edge.verdict import Evaluation, Region, Severity
from engines.bundle import SeverityScale
from engines.preprocess import Grid, Preprocessing

# A torn or foreign part can light up hundreds of specks; a message stays small, and the largest peaks say enough.
MAX_REGIONS = 32


class Ignored(Protocol):
    """Areas of a camera's frame that are not looked at."""

    def seen(self, preprocessing: Preprocessing, frame_shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Where the map `(H, W)` counts. Raises DataError where it cannot be told."""


@dataclass(frozen=True)
class Decision:
    """The evaluation of one part. Without a trustworthy score it is NotDecidable, and `reason` says why.

    `review` marks a part that passes and that a person should look at. `unusual` are the guards that found its picture
    among the tenth of good parts that is least usual, `signed` what control charts count of it. `threshold` is what
    the score was compared with, where that was not the calibration's for scores.
    """

    evaluation: Evaluation
    reason: str = ""
    score: float | None = None
    regions: tuple[Region, ...] = ()
    severity: Severity | None = None
    review: bool = False
    unusual: tuple[str, ...] = ()
    signed: Mapping[str, NDArray[np.float64]] | None = field(default=None, compare=False)
    threshold: float | None = None


def undecidable(reason: str) -> Decision:
    """The decision on a part that has no trustworthy score."""
    return Decision(Evaluation.NOT_DECIDABLE, reason)


@dataclass(frozen=True)
class Judge:
    """Compares a score with its threshold, and finds the regions of the map above theirs.

    Where areas are `ignored`, the raw score says nothing of what is left, so the map's largest value there is compared
    with the map's threshold: both have the same false-reject rate. `scale` grades what is rejected; without one its
    severity is uncalibrated. A part that passes with a score above `review_above`, where there is one, is to be
    reviewed.
    """

    threshold: float
    map_threshold: float
    preprocessing: Preprocessing
    scale: SeverityScale | None = None
    review_above: float | None = None
    ignored: Ignored | None = None

    def decide(self, score: float, anomaly_map: NDArray[np.float32], frame_shape: tuple[int, ...]) -> Decision:
        """Judge one part by its raw score and its blurred map `(H, W)`; `frame_shape` is the camera frame's.

        A score above the threshold is NotOK, one equal to it is OK. NaN compares false with everything, so a score
        or map that is not finite is refused first.
        """
        if not math.isfinite(score):
            return undecidable(f"the engine gave the score {score}, which is no number to compare")
        if not np.isfinite(anomaly_map).all():
            return undecidable("the engine gave an anomaly map that is not finite")
        if self.ignored is not None:
            seen = self.ignored.seen(self.preprocessing, frame_shape)
            return self._compare_map(np.where(seen, anomaly_map, np.float32(-np.inf)), frame_shape)
        regions = find_regions(anomaly_map, self.map_threshold, self.preprocessing, frame_shape)
        if score > self.threshold:
            reason = f"score {score:.4g} is above the threshold {self.threshold:.4g}"
            return Decision(Evaluation.NOT_OK, reason, score, regions, self._severity(score, anomaly_map))
        review = self.review_above is not None and score > self.review_above
        return Decision(Evaluation.OK, "", score, regions, review=review)

    def _compare_map(self, anomaly_map: NDArray[np.float32], frame_shape: tuple[int, ...]) -> Decision:
        limit, peak = self.map_threshold, float(anomaly_map.max())
        regions = find_regions(anomaly_map, limit, self.preprocessing, frame_shape)
        if peak <= limit:
            return Decision(Evaluation.OK, "", peak, regions, threshold=limit)
        reason = f"the map's largest value outside of what is ignored, {peak:.4g}, is above its threshold {limit:.4g}"
        found = measure_exceedance(peak, anomaly_map, limit, limit)
        severity = Severity(peak=found.peak, area=found.area, integrated=found.integrated, grade=grade(found, None))
        return Decision(Evaluation.NOT_OK, reason, peak, regions, severity, threshold=limit)

    def _severity(self, score: float, anomaly_map: NDArray[np.float32]) -> Severity:
        found = measure_exceedance(score, anomaly_map, self.threshold, self.map_threshold)
        return Severity(peak=found.peak, area=found.area, integrated=found.integrated, grade=grade(found, self.scale))


def find_regions(
    anomaly_map: NDArray[np.float32], threshold: float, preprocessing: Preprocessing, frame_shape: tuple[int, ...]
) -> tuple[Region, ...]:
    """8-connected regions of a map `(H, W)` above `threshold`, highest peak first, `MAX_REGIONS` at most.

    Boxes and peaks are in pixels of the camera frame of `frame_shape`.
    """
    if anomaly_map.max() <= threshold:  # most parts are good, and labelling takes sixty times as long
        return ()
    above = (anomaly_map > threshold).astype(np.uint8)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    grid = Grid(preprocessing, frame_shape)
    regions = [_region(anomaly_map, labels, label, boxes[label], grid) for label in range(1, count)]
    return tuple(sorted(regions, key=lambda region: -region.peak)[:MAX_REGIONS])


def _region(
    anomaly_map: NDArray[np.float32], labels: NDArray[np.int32], label: int, box: NDArray[np.int32], grid: Grid
) -> Region:
    left, top, width, height = (int(value) for value in box[:4])
    inside = (slice(top, top + height), slice(left, left + width))
    values = np.where(labels[inside] == label, anomaly_map[inside], -np.inf)
    row, column = divmod(int(values.argmax()), width)
    x, y = grid.edge(left, top)
    right, bottom = grid.edge(left + width, top + height)
    peak_x, peak_y = grid.edge(left + column + 0.5, top + row + 0.5)
    return Region(
        x=math.floor(x),
        y=math.floor(y),
        width=math.ceil(right) - math.floor(x),
        height=math.ceil(bottom) - math.floor(y),
        peak=float(values.max()),
        peak_x=math.floor(peak_x),
        peak_y=math.floor(peak_y),
    )
