"""The page's application: what there is, put together, for one station."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from edge.config import StationConfig
from edge.web.access import Access
from edge.web.archive import Archive
from edge.web.feedback import Feedback
from edge.web.feedback_pages import FeedbackPages
from edge.web.guard import Guard, Hosts
from edge.web.live_page import Heard, LivePage
from edge.web.pages import STATIC, Pages
from edge.web.part_pages import PartPages
from edge.web.table import WebTable
from edge.web.users import UserFile


def make_app(config: StationConfig, heard: Heard, life: AbstractAsyncContextManager[object]) -> Guard:
    """The ASGI application of one station. `life` is entered while it can be asked. Raises ConfigError."""
    table, tls = config.web, config.web.certificate is not None
    pages = Pages(config.station)
    access = Access(_users(table), pages, tls)
    archive = None if config.archive is None else Archive(config.archive.folder)
    feedback = None if config.archive is None else Feedback(config, config.archive.folder)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        heard.bell.attach()
        async with life:
            yield
        if archive is not None:
            archive.close()

    # Not getfqdn, which may wait for a name server that is not there.
    hosts = Hosts((*table.hosts, table.host, socket.gethostname()), table.on_loopback)
    app = Starlette(
        routes=[
            *LivePage(heard, config.cameras, archive, pages, access).routes,
            *PartPages(archive, feedback, pages, access).routes,
            *(FeedbackPages(archive, feedback, pages, access).routes if archive and feedback else ()),
            *access.routes,
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        lifespan=lifespan,
    )
    # Around everything, also around the answer to an error of ours.
    return Guard(app, hosts, tls)


def _users(table: WebTable) -> UserFile | None:
    if table.users is None:
        return None
    users = UserFile(table.users)
    users.users()  # a file that is absent or foreign is told at the start
    return users
