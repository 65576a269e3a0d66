"""Who may see and do what: every route goes through `for_viewers` or `for_operators`, or is open on purpose."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from secrets import token_urlsafe
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edge.web.attempts import Attempts
from edge.web.form import form_of
from edge.web.pages import Pages
from edge.web.sessions import ANYBODY, LIFETIME_S, Sessions, Visitor, same
from edge.web.users import UserFile
from engines.errors import ConfigError

_log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]
Told = Callable[[Request, Visitor], Awaitable[Response]]
_NO_TOKEN = "this form has gone stale, or it is not ours: go back, load the page again and repeat"
_WRONG = "wrong name or password"


class Access:
    """Logins and what they open. Without `users` everybody is a viewer, which is for loopback only."""

    def __init__(self, users: UserFile | None, pages: Pages, tls: bool) -> None:
        self._users = users
        self._sessions = None if users is None else Sessions(users)
        self._pages = pages
        self._tls = tls
        self._attempts = Attempts()
        # One hash at a time: the engine needs the cores, and each takes 64 MiB.
        self._hashing = anyio.CapacityLimiter(1)

    @property
    def routes(self) -> list[Route]:
        """Logging in and out."""
        if self._users is None:
            return []
        return [
            Route("/login", self._login_page, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self.for_viewers(self._logout), methods=["POST"]),
        ]

    def for_viewers(self, endpoint: Told) -> Endpoint:
        """A route for everybody who is logged in."""
        return self._checked(endpoint, operators_only=False)

    def for_operators(self, endpoint: Told) -> Endpoint:
        """A route for operators."""
        return self._checked(endpoint, operators_only=True)

    def _checked(self, endpoint: Told, operators_only: bool) -> Endpoint:
        async def checked(request: Request) -> Response:
            visitor = self.visitor(request)
            if visitor is None:
                return self._to_login(request)
            if request.method not in ("GET", "HEAD") and not await _is_ours(request, visitor):
                return self._pages.problem(visitor, HTTPStatus.FORBIDDEN, _NO_TOKEN)
            if operators_only and not visitor.may_write:
                return self._pages.problem(visitor, HTTPStatus.FORBIDDEN, "only an operator may do that")
            return await endpoint(request, visitor)

        return checked

    def visitor(self, request: Request) -> Visitor | None:
        """Who asks, at this moment; None for somebody who is not logged in, or not any more."""
        if self._sessions is None:
            return ANYBODY
        try:
            return self._sessions.visitor(request.cookies.get(self._cookie(request, "session"), ""))
        except ConfigError as error:  # the file of users is gone or broken: nobody is let in
            _log.error("%s", error)
            return None

    def _to_login(self, request: Request) -> Response:
        if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
            return Response("log in first", HTTPStatus.UNAUTHORIZED, media_type="text/plain")
        asked = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
        return RedirectResponse(f"/login?next={quote(asked)}", HTTPStatus.SEE_OTHER)

    async def _login_page(self, request: Request) -> Response:
        return self._form(request, "", HTTPStatus.OK)

    def _form(self, request: Request, problem: str, status: HTTPStatus) -> Response:
        token = token_urlsafe(32)
        values = {"token": token, "next": _inside(request.query_params.get("next", "/")), "problem": problem}
        response = self._pages.show("login.html", None, values, status)
        self._set(response, self._cookie(request, "login"), token, 3600)
        return response

    async def _login(self, request: Request) -> Response:
        form = await form_of(request)
        token = request.cookies.get(self._cookie(request, "login"), "")
        if not _same_origin(request) or not same(form.get("token", ""), token):
            return self._form(request, _NO_TOKEN, HTTPStatus.FORBIDDEN)
        address = request.client.host if request.client else ""
        wait_s = self._attempts.wait_s(address)
        if wait_s > 0:
            response = self._form(request, f"too many attempts; wait {wait_s:.0f} s", HTTPStatus.TOO_MANY_REQUESTS)
            response.headers["Retry-After"] = f"{wait_s:.0f}"
            return response
        return await self._try(request, address, form)

    async def _try(self, request: Request, address: str, form: dict[str, str]) -> Response:
        if self._users is None or self._sessions is None:
            raise RuntimeError("nobody can log in without users")
        name = form.get("name", "")
        self._attempts.begin(address)
        check, password = self._users.check, form.get("password", "")
        try:
            user = await anyio.to_thread.run_sync(check, name, password, limiter=self._hashing)
        except ConfigError as error:
            _log.error("%s", error)
            user = None
        if user is None:
            _log.warning("refused a login from %s", address)
            return self._form(request, _WRONG, HTTPStatus.UNAUTHORIZED)
        self._attempts.succeed(address)
        _log.info("%s logged in from %s as %s", user.name, address, user.role.value)
        response = RedirectResponse(_inside(form.get("next", "/")), HTTPStatus.SEE_OTHER)
        self._set(response, self._cookie(request, "session"), self._sessions.begin(user), round(LIFETIME_S))
        self._set(response, self._cookie(request, "login"), "", 0)
        return response

    async def _logout(self, request: Request, visitor: Visitor) -> Response:
        if self._sessions is not None:
            self._sessions.end(request.cookies.get(self._cookie(request, "session"), ""))
        response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        self._set(response, self._cookie(request, "session"), "", 0)
        return response

    def _cookie(self, request: Request, name: str) -> str:
        # With the port, since browsers share a host's cookies between its ports, and it may show several stations.
        # A browser does not take one of the prefix from plain http, nor from another host of the domain.
        return f"{'__Host-' if self._tls else ''}{name}-{request.scope['server'][1]}"

    def _set(self, response: Response, name: str, value: str, lifetime_s: int) -> None:
        response.set_cookie(
            name, value, max_age=lifetime_s, path="/", secure=self._tls, httponly=True, samesite="strict"
        )


async def _is_ours(request: Request, visitor: Visitor) -> bool:
    """Whether a request that changes something comes from a form of this visitor's page."""
    token = request.headers.get("x-csrf-token") or (await form_of(request)).get("csrf", "")
    return _same_origin(request) and same(token, visitor.csrf)


def _same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _inside(path: str) -> str:
    """A path of this site, whatever was asked for: never another site's address."""
    return path if path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() else "/"
