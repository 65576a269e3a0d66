"""What a person says of one archived part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from calibration.severity import GRADES
from edge.archive.part import Kept
from edge.verdict import Evaluation, Verdict
from engines.errors import InspectError

_LONGEST_REASON = 500
_LONGEST_NAME = 64


class FeedbackError(InspectError):
    """An opinion that says nothing, or a place where none can be kept."""


class Says(str, Enum):
    """What the part is. `withdrawn` takes back what was said before."""

    GOOD = "good"
    DEFECT = "defect"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Statement:
    """What is said, why and by whom; `grade` is how bad a defect is, one of `severity.GRADES`.

    Raises FeedbackError where the reason or the name is empty, too long or not in one line, or a grade makes no sense.
    """

    says: Says
    reason: str
    by: str
    grade: str | None = None

    def __post_init__(self) -> None:
        _check_text("a reason", self.reason, _LONGEST_REASON)
        _check_text("a name", self.by, _LONGEST_NAME)
        if self.grade is not None and self.grade not in GRADES:
            raise FeedbackError(f"expected a grade out of {', '.join(GRADES)}, found {self.grade!r}")
        if self.grade is not None and self.says is not Says.DEFECT:
            raise FeedbackError(f"only a defect has a grade; the part was called {self.says.value}")


@dataclass(frozen=True)
class Opinion:
    """A statement on the part `key` at the moment `at` (UTC, ISO 8601), with what the archive held of it then.

    `kept` is why the archive held the part. `has_picture` tells whether its frame was still there to be kept.
    """

    key: int
    statement: Statement
    at: str
    verdict: Verdict
    product: str
    kept: Kept
    has_picture: bool

    @property
    def says(self) -> Says:
        """What the part is."""
        return self.statement.says

    @property
    def disputes(self) -> bool:
        """Whether it contradicts the verdict: good after all, or missed."""
        rejected = self.verdict.evaluation is not Evaluation.OK
        return (self.says is Says.GOOD and rejected) or (self.says is Says.DEFECT and not rejected)


def _check_text(what: str, text: str, longest: int) -> None:
    if not text.strip() or len(text) > longest or not text.isprintable():
        raise FeedbackError(f"expected {what} of 1 to {longest} characters in one line, found {text[:80]!r}")
