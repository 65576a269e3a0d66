"""The table `[live]` of the station file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from edge.table import Address, Rate, Table, is_loopback


class LiveTable(Table, frozen=True, kw_only=True):
    """Pictures for the [live page](live-page.md): the newest part of each camera, small, while somebody watches."""

    bind: Annotated[
        Address | None,
        msgspec.Meta(
            description="Address that the page connects to, `ipc://PATH`, or `tcp://127.0.0.1:PORT`: it takes no keys, "
            "so no other machine may reach it. Without it there are no live pictures."
        ),
    ] = None
    rate: Annotated[Rate, msgspec.Meta(description="Pictures a second of each camera, at most.")] = 10.0
    side: Annotated[
        Annotated[int, msgspec.Meta(ge=64, le=4096)],
        msgspec.Meta(description="The longer side of a picture in pixels, at most."),
    ] = 800
    quality: Annotated[Annotated[int, msgspec.Meta(ge=1, le=100)], msgspec.Meta(description="Quality of the JPEG.")] = (
        80
    )

    def contradictions(self) -> Iterator[str]:
        """What does not go together, a line each."""
        if self.bind is not None and self.bind.startswith("tcp:"):
            host = self.bind.removeprefix("tcp://").rpartition(":")[0].strip("[]")
            if not is_loopback(host):
                yield (
                    f"`live.bind`: other machines can reach {self.bind}, and pictures take no keys; name an "
                    "`ipc://` path or tcp://127.0.0.1"
                )
