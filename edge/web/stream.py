"""Server-sent events, each as fast as its reader: one that does not take them is dropped."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import anyio
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

_log = logging.getLogger(__name__)
MOST_READERS = 64
# A reader that takes nothing for so long, while what fits into the sockets' buffers waits.
_PATIENCE_S = 10.0


def event(name: str, data: bytes) -> bytes:
    """One event; `data` is JSON without a line break."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


class EventStream(Response):
    """Sends what `events` yields until the reader goes, or does not read.

    `events` must wait by itself, and is never asked for the next one before the last was taken.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(None)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with aclosing(self._events), anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, receive, tasks.cancel_scope)
            try:
                await self._send(send)
            except TimeoutError:
                _log.warning("dropped a browser that took nothing for %g s", _PATIENCE_S)
            finally:
                tasks.cancel_scope.cancel()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._events:
            with anyio.fail_after(_PATIENCE_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        message: Message = {}
        with suppress(Exception):
            while message.get("type") != "http.disconnect":
                message = await receive()
        scope.cancel()
