"""The table `[archive]` of the station file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from edge.table import Count, Table

Gigabytes = Annotated[float, msgspec.Meta(ge=0.001, le=1_000_000)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ArchiveTable(Table, frozen=True, kw_only=True):
    """What is kept of the parts, and for how long ([archive](archive.md)). Without this table nothing is.

    Every part that is not OK is kept with its frame and its map, and so is every one that is to be reviewed.
    """

    folder: Annotated[Path, msgspec.Meta(description="Folder of this station's archive; made where it is absent.")]
    ok_share: Annotated[
        Share,
        msgspec.Meta(
            description="Share of all parts that is drawn at random, before their verdict is looked at; of those "
            "the OK ones, too, are kept with frame and map."
        ),
    ] = 0.01
    ok_verdicts: Annotated[
        bool, msgspec.Meta(description="Keep the verdicts of all other OK parts, too, about a kilobyte each.")
    ] = True
    max_gb: Annotated[
        Gigabytes,
        msgspec.Meta(
            description="What the archive may take up, in 10^9 bytes, index and all. Beyond it the oldest OK part goes "
            "first; when there is none left, the oldest of the others."
        ),
    ] = 10.0
    max_age_days: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=36_500)] | None,
        msgspec.Meta(description="Parts older than this go, whatever they are. Not set, only `max_gb` counts."),
    ] = None
    keep_free_gb: Annotated[
        Gigabytes,
        msgspec.Meta(
            description="With less than this free on the disk only verdicts are kept and no pictures, until there is "
            "a tenth more."
        ),
    ] = 1.0
    pictures: Annotated[
        Count,
        msgspec.Meta(
            description="Parts with pictures that may wait in memory to be written; of a further one only the verdict "
            "is kept."
        ),
    ] = 16
