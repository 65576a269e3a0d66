"""What an operator says of a part, and where the threshold would go by it. Nothing here moves one."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edge.feedback.opinion import FeedbackError, Says, Statement
from edge.web.access import Access, Told
from edge.web.archive import Archive
from edge.web.feedback import Feedback
from edge.web.form import form_of
from edge.web.pages import Pages
from edge.web.sessions import Visitor
from engines.errors import InspectError

_GONE = "there is no such part in the archive, or none any more"


class FeedbackPages:
    """The route that takes opinions, and the page of what they come to."""

    def __init__(self, archive: Archive, feedback: Feedback, pages: Pages, access: Access) -> None:
        self._archive = archive
        self._feedback = feedback
        self._pages = pages
        self._access = access

    @property
    def routes(self) -> list[Route]:
        """Saying something, for operators, and seeing what it comes to, for viewers."""
        say, look = self._guarded(self._say), self._guarded(self._look)
        return [
            Route("/parts/{key:int}/feedback", self._access.for_operators(say), methods=["POST"]),
            Route("/feedback", self._access.for_viewers(look)),
        ]

    def _guarded(self, endpoint: Told) -> Told:
        async def guarded(request: Request, visitor: Visitor) -> Response:
            try:
                return await endpoint(request, visitor)
            except FeedbackError as error:
                return self._pages.problem(visitor, HTTPStatus.BAD_REQUEST, str(error))
            except InspectError as error:
                return self._pages.problem(visitor, HTTPStatus.SERVICE_UNAVAILABLE, str(error))

        return guarded

    async def _say(self, request: Request, visitor: Visitor) -> Response:
        statement = _statement(await form_of(request), visitor)
        part = await self._archive.part(int(request.path_params["key"]))
        if part is None:
            return self._pages.problem(visitor, HTTPStatus.NOT_FOUND, _GONE)
        await self._feedback.add(part, statement)
        return RedirectResponse(f"/parts/{part.key}#feedback", HTTPStatus.SEE_OTHER)

    async def _look(self, request: Request, visitor: Visitor) -> Response:
        return self._pages.show("feedback.html", visitor, {"outlooks": await self._feedback.outlooks()})


def _statement(form: dict[str, str], visitor: Visitor) -> Statement:
    """What the form says. Raises FeedbackError."""
    said = form.get("says", "")
    if said not in {each.value for each in Says}:
        raise FeedbackError(f"expected good, defect or withdrawn, found {said!r}")
    says = Says(said)
    # The field of the grade is beside both buttons, and means something for one of them.
    grade = (form.get("grade") or None) if says is Says.DEFECT else None
    return Statement(says, form.get("reason", "").strip(), visitor.name, grade)
