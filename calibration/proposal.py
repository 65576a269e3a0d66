"""Where a threshold would go if what people said of parts counted, and what that is worth.

Three kinds of parts, and what each can say:

- A *sample* that the scores had no say in joins the calibration, and certifies as it does: where parts are exchangeable
  the old scores and the new are one sample of good ones. Confirmed parts that passed are no such sample, for they end
  at the threshold; neither are rejected parts that are good, for they begin there.
- *Disputed* parts, rejected and good, say how high the threshold must be for them to pass. A higher threshold rejects
  no more good parts than today's, so today's promise goes on; what more it lets through is not certified by anything.
- *Defects* that somebody knows of show that: how many of them would pass. Most are known because the station rejected
  them, so their share is not that of defects to come, whatever its interval says.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from calibration.escapes import count_escapes
from calibration.guarantee import guarantee
from calibration.threshold import Goal, Threshold, set_threshold
from engines.bundle import Calibration, Escapes


def _none() -> NDArray[np.float32]:
    return np.empty(0, np.float32)


@dataclass(frozen=True)
class Heard:
    """Scores, float32 `(N,)`, of parts that people have spoken of; each is what the calibrated engine gave.

    `sample` are good parts that the scores had no say in and that have not calibrated yet. Of the same sample nobody
    has looked at `unseen` parts, and `unscored` good ones have no score of that engine. `disputed` are good and were
    rejected, `missed` defective and passed, `defects` all other known ones.
    """

    sample: NDArray[np.float32] = field(default_factory=_none)
    unseen: int = 0
    unscored: int = 0
    disputed: NDArray[np.float32] = field(default_factory=_none)
    missed: NDArray[np.float32] = field(default_factory=_none)
    defects: NDArray[np.float32] = field(default_factory=_none)


@dataclass(frozen=True)
class Outcome:
    """What a threshold would do to the parts that people have spoken of.

    `passing` disputed parts and `passing_missed` missed ones would pass. `escapes` counts all known defects; None
    where there is none.
    """

    threshold: float
    passing: int
    passing_missed: int
    escapes: Escapes | None


@dataclass(frozen=True)
class Proposal:
    """Today's threshold, and two others. Nothing is moved by it.

    `sampled` is what the old calibration and the sample would set, None where they hold no part; `promise` says what it
    is worth, and `certified` whether it is more than an estimate. `forgiving` is the least threshold that every
    disputed part passes, None where they all do today; it is never certified.
    """

    heard: Heard
    now: Outcome
    sampled: Outcome | None
    promise: str
    certified: bool
    forgiving: Outcome | None


def propose(calibration: Calibration, heard: Heard) -> Proposal:
    """Work out where `calibration`'s threshold would go."""
    now = outcome(heard, calibration.threshold)
    threshold, promise, certified = _from_sample(calibration, heard)
    highest = float(heard.disputed.max()) if len(heard.disputed) else now.threshold
    return Proposal(
        heard=heard,
        now=now,
        sampled=None if threshold is None else outcome(heard, threshold.value),
        promise=promise,
        certified=certified,
        forgiving=outcome(heard, highest) if highest > now.threshold else None,
    )


def outcome(heard: Heard, threshold: float) -> Outcome:
    """What `threshold` would do to the parts heard of; a part passes where its score is no greater."""
    limit = np.float32(threshold)
    defects = np.concatenate([heard.missed, heard.defects])
    return Outcome(
        threshold=threshold,
        passing=int(np.sum(heard.disputed <= limit)),
        passing_missed=int(np.sum(heard.missed <= limit)),
        escapes=count_escapes(defects, threshold) if len(defects) else None,
    )


def _from_sample(calibration: Calibration, heard: Heard) -> tuple[Threshold | None, str, bool]:
    """The threshold of old and new good parts together, in words what it is worth, and whether it is certified."""
    # Heads that were trained without a part scored it; those scores are not of the head that scored the new ones.
    old = () if calibration.folds is not None else calibration.scores
    scores = np.concatenate([np.asarray(old, np.float32), heard.sample])
    if not len(scores):
        return None, "No part has a score that may calibrate.", False
    goal = Goal(calibration.false_reject_rate, calibration.confidence)
    threshold = set_threshold(scores, goal)
    said = guarantee(threshold, goal)
    doubt = _doubt(calibration, heard)
    return threshold, f"{doubt} {said}" if doubt else said, not doubt and not threshold.missing


def _doubt(calibration: Calibration, heard: Heard) -> str:
    if heard.unseen:
        waiting = "1 part waits" if heard.unseen == 1 else f"{heard.unseen} parts wait"
        return (
            f"An estimate, not certified: {waiting} for somebody to look, and all of the sample have to be judged "
            f"({len(heard.sample)} good ones so far). If those were like these:"
        )
    if heard.unscored:
        return (
            f"An estimate, not certified: {heard.unscored} parts of the sample were judged by another calibration, and "
            "have no score of this one here. If they are like the others:"
        )
    if calibration.lots is not None and len(heard.sample):
        return (
            "An estimate, not certified: the calibration counted lots, and the lots of the new parts are not known. If "
            "parts did not resemble those of their lot:"
        )
    return ""
