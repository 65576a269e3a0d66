"""What a station demands of its bundles before and while it judges by them: the table `[trust]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from edge.table import Table


class TrustTable(Table, frozen=True, kw_only=True):
    """What a station demands of its bundles."""

    keys: Annotated[
        tuple[Path, ...],
        msgspec.Meta(
            description="Public keys (Ed25519, PEM files). Where any is named, only bundles that one of them signed "
            "are opened: at the start, at a change of recipe and at a reload."
        ),
    ] = ()
