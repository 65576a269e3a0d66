"""Parts for an archive, made up by the number: as a line makes them in thirty days, one in fifty not OK."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from edge.anomaly_map import AnomalyMap
from edge.archive.part import Kept
from edge.archive.store import Entry
from edge.verdict import Evaluation, StageTimes, Verdict
from engines.preprocess import Preprocessing

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAYS = 30
CAMERAS = ("top", "side", "rear", "inside")
# The last one ran for one day only.
PRODUCTS = ("flange", "plate", "cap", "bush", "ring", "prototype")
THRESHOLD = 2.0
_NOT_OK_EVERY, _UNDECIDED_EVERY, _DRAWN_EVERY = 50, 500, 100
_SIDE = 96


class Line:
    """`parts` parts, evenly over the days."""

    def __init__(self, parts: int, seed: int = 0) -> None:
        self.parts = parts
        random = np.random.default_rng(seed)
        self._scores = random.gamma(2.0, 0.2, parts)
        self._frames = random.integers(0, 256, (8, _SIDE, _SIDE, 3), dtype=np.uint8)
        self._maps = random.normal(size=(8, 64, 64)).astype(np.float32)

    def moment(self, number: int) -> datetime:
        """When part `number` was captured."""
        return BEGAN + timedelta(days=DAYS) * (number / self.parts)

    def entries(self, first: int, last: int, pictures: bool) -> Iterator[Entry]:
        """Parts `first` to `last - 1`; with `pictures`, those that are kept with them have them."""
        for number in range(first, last):
            verdict = self._verdict(number)
            drawn = number % _DRAWN_EVERY == 0
            good = verdict.evaluation is Evaluation.OK
            kept = Kept.REJECT if not good else Kept.SAMPLE if drawn else Kept.VERDICT
            shown = pictures and kept is not Kept.VERDICT
            yield Entry(
                verdict=verdict,
                product=verdict.recipe,
                kept=kept,
                drawn=drawn,
                share=1 / _DRAWN_EVERY,
                frame=self.frame(number) if shown else None,
                map=self._map(number) if shown else None,
            )

    def frame(self, number: int) -> NDArray[np.uint8]:
        """A picture of noise."""
        return self._frames[number % len(self._frames)]

    def _map(self, number: int) -> AnomalyMap:
        return AnomalyMap(self._maps[number % len(self._maps)], Preprocessing("full", 64, 64), 1.5)

    def _verdict(self, number: int) -> Verdict:
        undecided, bad = number % _UNDECIDED_EVERY == 7, number % _NOT_OK_EVERY == 3
        score = None if undecided else float(self._scores[number]) + (THRESHOLD if bad else 0.0)
        judged = Evaluation.NOT_DECIDABLE if undecided else Evaluation.NOT_OK if bad else Evaluation.OK
        captured = self.moment(number).isoformat(timespec="milliseconds")
        return Verdict(
            session_id="0123456789abcdef0123456789abcdef",
            station="bench",
            sent_at=captured,
            seq=number + 1,
            camera=CAMERAS[number % len(CAMERAS)],
            recipe=self._product(number),
            frame_id=number + 1,
            part_id=f"P{number:07d}",
            trigger_id=number + 1,
            evaluation=judged,
            reason="" if judged is Evaluation.OK else "score 2.5 is above the threshold 2",
            score=score,
            threshold=THRESHOLD,
            margin=None if score is None else THRESHOLD - score,
            regions=(),
            bundle_digest="0" * 64,
            captured_at=captured,
            captured_ns=number,
            stage_ms=StageTimes(capture=1.0, queue=0.1, preprocess=0.5, infer=5.0, decide=0.2, publish=0.1, total=7.0),
        )

    def _product(self, number: int) -> str:
        if number * DAYS // self.parts == 3:
            return PRODUCTS[-1]
        return PRODUCTS[number * 997 // self.parts % (len(PRODUCTS) - 1)]
