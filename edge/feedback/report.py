"""What `edge-inspect feedback` tells a person."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from calibration.proposal import Outcome, Proposal
from calibration.threshold import percent
from edge.feedback.data_set import CALIBRATE, CAUGHT, GRADES_TABLE, MISSED, TABLE, TRAIN, WAITING, Place
from edge.feedback.opinion import Opinion
from edge.feedback.review import Review

NOT_CERTIFIED = (
    "The least threshold that every disputed part passes. It rejects no more good parts than today's, whose promise "
    "goes on. What more it lets through nothing certifies: most defects are known because they were rejected, so their "
    "share is not that of defects to come."
)
MOVING = (
    "Calibrate with the photographs of the earlier calibration and the exported ones together (feedback export, then "
    "calibrate --good), and have the daemon take the bundle up: edge-inspect control recipe NAME. The audit trail "
    "names the threshold before and after."
)
_NAMED = 5
_WIDTH = 117
_WHAT = {
    TRAIN: "good parts to train with; they may not calibrate",
    CALIBRATE: "good parts to calibrate with",
    WAITING: "good parts that will calibrate once all of the sample was looked at",
    MISSED: "defective parts that passed",
    CAUGHT: "defective parts that were rejected",
}


def line(opinion: Opinion) -> str:
    """One opinion in one line."""
    verdict, said = opinion.verdict, opinion.statement
    score = "no score" if verdict.score is None else f"score {verdict.score:.4g}"
    called = said.says.value + (f" ({said.grade})" if said.grade else "")
    dispute = " disputed" if opinion.disputes else ""
    part = f"{opinion.key}  {verdict.captured_at}  {verdict.part_id or '-'}"
    return f"{part}  {verdict.evaluation.value} {score}{dispute}  {called}: {said.reason} [{said.by}, {opinion.at}]"


def exported(review: Review, places: Sequence[Place], to: Path) -> str:
    """What an export has written, and what is still to be looked at."""
    counts = Counter(place.image.rpartition("/")[0] for place in places)
    lines = [f"{counts[folder]:>6}  {to / folder}  {what}" for folder, what in _WHAT.items() if counts[folder]]
    if counts[""]:
        lines.append(f"{counts['']:>6}  without a picture of their own; {to / TABLE} says why")
    if (to / GRADES_TABLE).is_file():
        lines.append(f"        {to / GRADES_TABLE}  for grade --labels")
    return "\n".join([*lines, *open_parts(review)])


def open_parts(review: Review) -> list[str]:
    """Which parts of the sample nobody has looked at, if there are any."""
    if not review.unseen:
        return []
    keys = ", ".join(str(part.key) for part in review.unseen[:_NAMED])
    more = f" and {len(review.unseen) - _NAMED} more" if len(review.unseen) > _NAMED else ""
    return [f"{len(review.unseen)} parts of the sample wait for somebody to look at them: {keys}{more}"]


def proposal(found: Proposal) -> str:
    """Where the threshold would go, and what that is worth: a few labelled lines."""
    return "\n".join(_labelled(label, text) for label, text in proposal_rows(found))


def proposal_rows(found: Proposal) -> Iterator[tuple[str, str]]:
    """The same as labels and their sentences."""
    yield "today", _does(found, found.now)
    yield "sample", f"{len(found.heard.sample)} good parts that may calibrate; {found.heard.unseen} to be looked at"
    if found.sampled is not None:
        yield "with the sample", _does(found, found.sampled)
        yield "certified" if found.certified else "not certified", found.promise
    if found.forgiving is not None:
        yield "disputed pass", _does(found, found.forgiving)
        yield "not certified", NOT_CERTIFIED
    yield "to move it", MOVING


def _does(found: Proposal, outcome: Outcome) -> str:
    heard, escapes = found.heard, outcome.escapes
    said = f"threshold {outcome.threshold:.6g}: {outcome.passing} of {len(heard.disputed)} disputed parts pass"
    if escapes is None:
        return f"{said}; no defect is known"
    low, high = escapes.interval
    missed = f" ({outcome.passing_missed} of the {len(heard.missed)} missed ones)" if len(heard.missed) else ""
    share = f"between {percent(low)} and {percent(high)} with 95 % confidence, for defects found as these were"
    return f"{said}, and {escapes.escaped} of {escapes.parts} known defects{missed}, {share}"


def _labelled(label: str, text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=f"{label:<17}", subsequent_indent=" " * 17)
