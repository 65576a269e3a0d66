"""The table `[audit]` of the station file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from edge.table import Table


class AuditTable(Table, frozen=True, kw_only=True):
    """Where changes of the station are written down ([audit trail](audit.md)). Without this table they are not."""

    file: Annotated[Path, msgspec.Meta(description="The daemon's trail; appended to, and made where it is absent.")]
    gateway: Annotated[
        Path | None,
        msgspec.Meta(
            description="The trail of `edge-inspect plc`: lockouts and their resets. Another file, for the two may run "
            "as different users."
        ),
    ] = None
