"""The tables `[metrics]` and `[plc.metrics]` of the station file."""

from __future__ import annotations

from typing import Annotated

import msgspec

from edge.table import Table


class MetricsTable(Table, frozen=True, kw_only=True):
    """Where figures can be fetched over HTTP, for Prometheus ([metrics](metrics.md))."""

    bind: Annotated[
        Annotated[str, msgspec.Meta(pattern=r"^[^\s/]+:\d{1,5}$(?!\n)")],
        msgspec.Meta(description="`HOST:PORT` to listen on. Needs the extra `web`."),
    ]
    allow_remote: Annotated[
        bool,
        msgspec.Meta(
            description="Bind to an address that other machines can reach: whoever reaches it reads the figures, which "
            "are neither encrypted nor guarded. It changes nothing, and tells of no single part."
        ),
    ] = False
