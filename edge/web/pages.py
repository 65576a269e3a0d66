"""Pages from templates; whatever is put into one is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from edge.web.sessions import Visitor
from engines.page.heat import STOPS

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"
# What people are shown for an evaluation besides its word: a shape, and a class for its colour.
LOOKS = {"OK": ("\N{HEAVY CHECK MARK}", "ok"), "NotOK": ("\N{HEAVY BALLOT X}", "bad"), "NotDecidable": ("?", "warn")}


class Pages:
    """The templates of one station."""

    def __init__(self, station: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(station=station, looks=LOOKS, stops=msgspec.json.encode(STOPS).decode())
        self._environment.filters["local"] = local

    def show(
        self, template: str, visitor: Visitor | None, values: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK
    ) -> HTMLResponse:
        """A page for this visitor."""
        return HTMLResponse(self._environment.get_template(template).render(values, visitor=visitor), status)

    def problem(self, visitor: Visitor | None, status: HTTPStatus, what: str) -> HTMLResponse:
        """A page that says why there is no other."""
        return self.show("problem.html", visitor, {"title": status.phrase, "what": what}, status)


def local(moment: str | datetime) -> str:
    """A moment in the station's own time, for people."""
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return found.astimezone().strftime("%Y-%m-%d %H:%M:%S")
