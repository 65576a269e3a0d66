"""The archive's pages: the search, one part, and its pictures, each named by the part's key alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from edge.archive.part import ArchivedPart, ArchiveError, Query
from edge.feedback.opinion import FeedbackError
from edge.verdict import Evaluation
from edge.web.access import Access, Endpoint, Told
from edge.web.archive import Archive
from edge.web.feedback import Feedback
from edge.web.pages import Pages
from edge.web.sessions import Visitor

_A_PAGE = 24
_LONGEST_ID = 256
_FOR_GOOD = {"Cache-Control": "private, max-age=86400, immutable"}
_FIELDS = ("since", "until", "part_id", "camera", "product", "evaluation", "min_score", "max_score")
_NO_ARCHIVE = "this station keeps no archive; the table [archive] of the station file begins one"
_GONE = "there is no such part in the archive, or none any more"


class FieldError(ValueError):
    """A search field that makes no sense."""


class PartPages:
    """Routes below /parts. Without an archive they say so."""

    def __init__(self, archive: Archive | None, feedback: Feedback | None, pages: Pages, access: Access) -> None:
        self._archive = archive
        self._feedback = feedback
        self._pages = pages
        self._access = access

    @property
    def routes(self) -> list[Route]:
        """The search, a part, and its pictures."""
        return [
            Route("/parts", self._guarded(self._search)),
            Route("/parts/{key:int}", self._guarded(self._part)),
            Route("/parts/{key:int}/thumbnail.jpg", self._guarded(self._thumbnail)),
            Route("/parts/{key:int}/picture.png", self._guarded(self._picture)),
            Route("/parts/{key:int}/map.png", self._guarded(self._map)),
        ]

    def _guarded(self, endpoint: Told) -> Endpoint:
        async def guarded(request: Request, visitor: Visitor) -> Response:
            try:
                return await endpoint(request, visitor)
            except (ArchiveError, FeedbackError) as error:
                return self._pages.problem(visitor, HTTPStatus.SERVICE_UNAVAILABLE, str(error))

        return self._access.for_viewers(guarded)

    @property
    def _opened(self) -> Archive:
        if self._archive is None:
            raise ArchiveError(_NO_ARCHIVE)
        return self._archive

    async def _search(self, request: Request, visitor: Visitor) -> Response:
        fields = {name: request.query_params.get(name, "").strip() for name in _FIELDS}
        problem, found = "", []
        try:
            query, before = query_of(fields), _key(request.query_params.get("before", ""))
            found = await self._opened.search(query, _A_PAGE + 1, before)
        except FieldError as error:
            problem = str(error)
        choices = await self._opened.choices()
        older = ""
        if len(found) > _A_PAGE:
            filled = {name: value for name, value in fields.items() if value}
            older = f"/parts?{urlencode({**filled, 'before': found[_A_PAGE - 1].key})}"
        values = {
            "fields": fields,
            "problem": problem,
            "parts": found[:_A_PAGE],
            "older": older,
            "choices": choices,
            "evaluations": [each.value for each in Evaluation],
            "first_page": "before" not in request.query_params,
        }
        status = HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK
        return self._pages.show("parts.html", visitor, values, status)

    async def _found(self, request: Request) -> ArchivedPart | None:
        return await self._opened.part(int(request.path_params["key"]))

    async def _part(self, request: Request, visitor: Visitor) -> Response:
        part = await self._found(request)
        if part is None:
            return self._pages.problem(visitor, HTTPStatus.NOT_FOUND, _GONE)
        view = "" if part.map_view is None else msgspec.json.encode(part.map_view).decode()
        opinions = [] if self._feedback is None else await self._feedback.of(part.key)
        return self._pages.show("part.html", visitor, {"part": part, "view": view, "opinions": opinions})

    async def _thumbnail(self, request: Request, visitor: Visitor) -> Response:
        part = await self._found(request)
        data = None if part is None else await self._opened.thumbnail(part)
        if data is None:
            return Response(status_code=HTTPStatus.NOT_FOUND)
        return Response(data, media_type="image/jpeg", headers=_FOR_GOOD)

    async def _picture(self, request: Request, visitor: Visitor) -> Response:
        part = await self._found(request)
        return _file(None if part is None else part.picture)

    async def _map(self, request: Request, visitor: Visitor) -> Response:
        part = await self._found(request)
        return _file(None if part is None else part.map)


def query_of(fields: Mapping[str, str]) -> Query:
    """What was typed in as a query; times are the station's own. Raises FieldError that names the field."""
    return Query(
        since=_moment("from", fields["since"]),
        until=_moment("to", fields["until"]),
        part_id=fields["part_id"][:_LONGEST_ID] or None,
        camera=fields["camera"] or None,
        product=fields["product"] or None,
        evaluation=_evaluation(fields["evaluation"]),
        min_score=_number("score from", fields["min_score"]),
        max_score=_number("score to", fields["max_score"]),
    )


def _moment(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone() if found.tzinfo is None else found
    except (ValueError, OverflowError, OSError):
        raise FieldError(f"{name}: expected a time such as 2026-03-31 14:00, found {text!r}") from None


def _number(name: str, text: str) -> float | None:
    try:
        number = float(text.replace(",", ".")) if text else None
    except ValueError:
        raise FieldError(f"{name}: expected a number, found {text!r}") from None
    return number


def _evaluation(text: str) -> Evaluation | None:
    try:
        return Evaluation(text) if text else None
    except ValueError:
        known = ", ".join(each.value for each in Evaluation)
        raise FieldError(f"verdict: expected one of {known}, found {text!r}") from None


def _key(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 16:
        raise FieldError("before: expected the number of a part")
    return int(text)


def _file(path: Path | None) -> Response:
    # It may be removed between the two.
    if path is None or not path.is_file():
        return Response(status_code=HTTPStatus.NOT_FOUND)
    return FileResponse(path, media_type="image/png", headers=_FOR_GOOD)
