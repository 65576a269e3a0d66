"""How a bundle's threshold would move by what people said, before anybody moves it.

The reviews that are taken here are of the time since the bundle's calibration: what was there before may be part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.parts import GoodParts, check_parts, select_defects
from calibration.proposal import Heard, Proposal, propose
from calibration.scoring import score_parts
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import Opinion
from edge.feedback.review import Review
from engines.bundle import Bundle, Calibration
from engines.engine import Engine
from engines.errors import CalibrationError
from engines.registry import open_engine

Score = Callable[[Opinion], float | None]
"""The score that the calibrated engine gives an opinion's part; None where that cannot be told."""


def preview(bundle: Bundle, review: Review) -> Proposal:
    """From the scores of the archive alone, within milliseconds. Parts that another calibration judged are left out.

    Raises CalibrationError where the bundle is for another product, or has no calibration.
    """
    calibration = _calibration(bundle, review)
    return propose(calibration, _heard(review, archived_score(bundle, calibration)))


def preview_exactly(bundle: Bundle, book: FeedbackBook, review: Review, defects: Path | None = None) -> Proposal:
    """As `preview`, with parts that another calibration judged scored anew; `defects` is a folder of more of them."""
    calibration = _calibration(bundle, review)
    known = archived_score(bundle, calibration)
    with open_engine(bundle, calibration.backend, calibration.precision) as engine:

        def score(opinion: Opinion) -> float | None:
            found, picture = known(opinion), book.picture(opinion)
            if found is not None or picture is None:
                return found
            return float(score_parts(engine, GoodParts((picture,), bundle.info.preprocessing)).scores[0])

        more = _scores_in(defects, bundle, engine) if defects is not None else ()
        return propose(calibration, _heard(review, score, more))


def since_calibration(bundle: Bundle) -> datetime:
    """The moment from which on no part can have calibrated the bundle. Raises CalibrationError where none has."""
    return datetime.fromisoformat(bundle.latest_calibration.created)


def archived_score(bundle: Bundle, calibration: Calibration) -> Score:
    """The score in a part's verdict, where the same calibration of the same bundle gave that."""

    def score(opinion: Opinion) -> float | None:
        verdict = opinion.verdict
        same = verdict.bundle_digest == bundle.digest and verdict.threshold == calibration.threshold
        return verdict.score if same else None

    return score


def _heard(review: Review, score: Score, defects: Sequence[float] | NDArray[np.float32] = ()) -> Heard:
    sample = _scores(review.sample, score)
    return Heard(
        sample=sample,
        unseen=len(review.unseen),
        unscored=len(review.sample) - len(sample),
        disputed=_scores(review.disputed, score),
        missed=_scores(review.missed, score),
        defects=np.concatenate([_scores(review.caught, score), np.asarray(defects, np.float32)]),
    )


def _scores(opinions: Sequence[Opinion], score: Score) -> NDArray[np.float32]:
    found = [value for opinion in opinions if (value := score(opinion)) is not None]
    return np.asarray(found, np.float32)


def _scores_in(folder: Path, bundle: Bundle, engine: Engine) -> NDArray[np.float32]:
    parts = check_parts(select_defects(folder), bundle.info.preprocessing, bundle.info.provenance)
    return score_parts(engine, parts).scores


def _calibration(bundle: Bundle, review: Review) -> Calibration:
    if bundle.info.product != review.product:
        raise CalibrationError(
            f"the bundle is for {bundle.info.product}, the feedback for {review.product}; name the bundle of that one"
        )
    return bundle.latest_calibration
