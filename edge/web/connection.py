"""A browser's connection: it has to say what it wants in time, and one address does not take them all.

uvicorn itself waits for the headers of a request without end.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

_HEADERS_S = 10.0
_A_PEER = 64


class Connection(H11Protocol):
    """One connection to the page."""

    _deadline: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """Address of the other side."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or hang up where the peer's address has too many already."""
        super().connection_made(transport)
        if sum(isinstance(each, Connection) and each.peer == self.peer for each in self.connections) > _A_PEER:
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in what came; a request that is not whole yet has until the deadline."""
        super().data_received(data)
        asked = self.cycle is not None and not self.cycle.response_complete
        if asked:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(_HEADERS_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
