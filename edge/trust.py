"""What a station demands of its bundles before and while it judges by them: the table `[trust]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from edge.table import Table


class TrustTable(Table, frozen=True, kw_only=True):
    """What a station demands of its bundles, and when it replays golden parts through the engines that judge.

    Cameras whose engine does not give the calibrated scores any more are disarmed.
    """

    keys: Annotated[
        tuple[Path, ...],
        msgspec.Meta(
            description="Public keys (Ed25519, PEM files). Where any is named, only bundles that one of them signed "
            "are opened: at the start, at a change of recipe and at a reload."
        ),
    ] = ()
    self_test_at: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")], ...],
        msgspec.Meta(description='Times of the day, local, for a self-test: the changes of shift, e.g. `["06:00"]`.'),
    ] = ()
    self_test_hours: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=10_000)] | None,
        msgspec.Meta(description="A self-test every so many hours."),
    ] = None
