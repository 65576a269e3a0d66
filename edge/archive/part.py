"""What the archive holds of one part, and what can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from edge.anomaly_map import MapView
from edge.verdict import Evaluation, Verdict
from engines.errors import InspectError


class ArchiveError(InspectError):
    """An archive that is absent, of another schema, foreign or in use."""


class Kept(str, Enum):
    """Why the archive holds a part.

    `reject`: it is not OK. `review`: it is OK, and a person should look at it. `sample`: it is OK, and of the random
    sample. `verdict`: it is OK and none of these, so that only its verdict is held.
    """

    REJECT = "reject"
    REVIEW = "review"
    SAMPLE = "sample"
    VERDICT = "verdict"


@dataclass(frozen=True)
class ArchivedPart:
    """One part of the archive. `key` names it for good and grows with the time of capture.

    `product` is the bundle's. `picture` is the frame as the camera gave it, a PNG, and `map` the anomaly map, an 8-bit
    grey PNG that `map_view` explains; each is None where it is not held, and then `missing` says why, if it should
    have been. `drawn` parts are a random sample of one in 1 / `share`: the draw was made before the verdict was looked
    at, so that they, rejects and all, speak for every part of their time.
    """

    key: int
    verdict: Verdict
    product: str
    kept_because: Kept
    picture: Path | None
    map: Path | None
    map_view: MapView | None
    missing: str
    drawn: bool
    share: float


@dataclass(frozen=True)
class Query:
    """Which parts to search for; what is None does not matter, and everything else must hold at once.

    `since` and `until` are moments of capture with a time zone, both included. `part_id` is the whole id. Scores are
    raw, limits included; parts without a score are within none.
    """

    since: datetime | None = None
    until: datetime | None = None
    part_id: str | None = None
    product: str | None = None
    camera: str | None = None
    evaluation: Evaluation | None = None
    drawn: bool | None = None
    min_score: float | None = None
    max_score: float | None = None

    def __post_init__(self) -> None:
        if any(moment is not None and moment.tzinfo is None for moment in (self.since, self.until)):
            raise ArchiveError("expected `since` and `until` with a time zone, found a moment without one")
