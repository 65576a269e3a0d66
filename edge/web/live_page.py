"""The live page: what the camera sees, what was rejected, how the station is."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from http import HTTPStatus

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edge.archive.part import ArchivedPart, ArchiveError
from edge.web.access import Access
from edge.web.archive import Archive
from edge.web.bell import Bell
from edge.web.pages import Pages
from edge.web.pictures import Pictures
from edge.web.scene import Scene
from edge.web.sessions import Visitor
from edge.web.stream import MOST_READERS, EventStream, event

_REJECTS = 12
# Eyes need no more, and what came within goes out as one event.
_PAUSE_S = 0.1
# A sign of life, so that browsers and those between notice a dead connection.
_QUIET_S = 5.0
_PICTURE_S = 10.0
_NO_PICTURES = "This station shows no live pictures: name an address in [live] bind."


@dataclass(frozen=True)
class Heard:
    """What is heard of the station, and the bell that rings when there is more. No `pictures` where it shows none."""

    scene: Scene
    bell: Bell
    pictures: Pictures | None


class LivePage:
    """Routes of the live page."""

    def __init__(
        self, heard: Heard, cameras: Collection[str], archive: Archive | None, pages: Pages, access: Access
    ) -> None:
        self._scene, self._bell, self._pictures = heard.scene, heard.bell, heard.pictures
        self._cameras = cameras
        self._archive = archive
        self._pages = pages
        self._access = access
        self._readers = 0

    @property
    def routes(self) -> list[Route]:
        """The page, its events, and the rejects that it shows."""
        viewers = self._access.for_viewers
        return [
            Route("/", viewers(self._page)),
            Route("/events", viewers(self._events)),
            Route("/rejects", viewers(self._rejects)),
            Route("/live/{camera}", viewers(self._picture)),
        ]

    async def _page(self, request: Request, visitor: Visitor) -> Response:
        return self._pages.show("live.html", visitor, {"archived": self._archive is not None})

    async def _events(self, request: Request, visitor: Visitor) -> Response:
        if self._readers >= MOST_READERS:
            return PlainTextResponse(
                f"{MOST_READERS} pages are open already; close one of them", HTTPStatus.SERVICE_UNAVAILABLE
            )
        self._readers += 1
        return EventStream(self._told(request))

    async def _told(self, request: Request) -> AsyncGenerator[bytes, None]:
        try:
            place, changes, told_at = 0, -1, 0.0
            # Who is logged out hears nothing more.
            while self._access.visitor(request) is not None:
                place, parts = self._scene.parts_since(place)
                if parts:
                    yield event("parts", b"[" + b",".join(parts) + b"]")
                if changes != self._scene.changes or time.monotonic() - told_at > _QUIET_S:
                    changes, told_at = self._scene.changes, time.monotonic()
                    yield event("state", self._scene.shown())
                await anyio.sleep(_PAUSE_S)
                if place == self._scene.parts_since(place)[0] and changes == self._scene.changes:
                    await self._bell.wait(_QUIET_S)
        finally:
            self._readers -= 1

    async def _picture(self, request: Request, visitor: Visitor) -> Response:
        """The newest picture, unless it is number `after`; 204 where none comes within some seconds."""
        camera, after = request.path_params["camera"], request.query_params.get("after", "0")
        if camera not in self._cameras or not after.isascii() or not after.isdecimal():
            return PlainTextResponse("There is no such camera.", HTTPStatus.NOT_FOUND)
        if self._pictures is None:
            return PlainTextResponse(_NO_PICTURES, HTTPStatus.SERVICE_UNAVAILABLE)
        body = await self._pictures.newest(camera, int(after[:20]), _PICTURE_S)
        if body is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return Response(body, media_type="application/octet-stream")

    async def _rejects(self, request: Request, visitor: Visitor) -> Response:
        if self._archive is None:
            return JSONResponse([])
        try:
            found = await self._archive.rejects(_REJECTS)
        except ArchiveError as error:
            return JSONResponse({"problem": str(error)}, HTTPStatus.SERVICE_UNAVAILABLE)
        return JSONResponse([_card(part) for part in found])


def _card(part: ArchivedPart) -> dict[str, object]:
    verdict = part.verdict
    return {
        "key": part.key,
        "name": verdict.part_id if verdict.part_id is not None else f"frame {verdict.frame_id}",
        "camera": verdict.camera,
        "evaluation": verdict.evaluation.value,
        "reason": verdict.reason,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "captured_at": verdict.captured_at,
        "picture": part.picture is not None,
    }
