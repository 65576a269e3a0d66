"""What every request has to pass: a Host header that is ours, a body that is small; and what every answer carries.

Pure ASGI, so that streams go through as they are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LONGEST_BODY = 64 << 10
# blob: is what scripts of the page make of the live pictures' bytes.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: under that browsers call the origin of our own forms `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_YEAR_S = 365 * 24 * 3600


class Hosts:
    """The names that browsers may call this page by.

    A foreign page whose name was made to point here (DNS rebinding) would be read by its scripts as their own; it is
    told by the name in its Host header. An address cannot be made to point elsewhere, so any is ours off loopback.
    """

    def __init__(self, names: Iterable[str], on_loopback: bool) -> None:
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._on_loopback = on_loopback

    def admit(self, header: str) -> bool:
        """Whether a Host header, `NAME` or `NAME:PORT`, is ours."""
        name = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
        name = name.lower().rstrip(".")
        try:
            address = ipaddress.ip_address(name[1:-1] if name[:1] + name[-1:] == "[]" else name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._on_loopback


class Guard:
    """Refuses foreign hosts and large bodies before anything else sees them, and puts the safety headers on answers."""

    def __init__(self, app: ASGIApp, hosts: Hosts, tls: bool) -> None:
        self._app = app
        self._hosts = hosts
        self._headers = {**_HEADERS, **({"Strict-Transport-Security": f"max-age={_YEAR_S}"} if tls else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive)
        refusal = self._refusal(Headers(scope=scope))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        try:
            await self._app(scope, body.receive, answer)
        except TooLargeError:
            await _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")(scope, receive, answer)

    def _refusal(self, headers: Headers) -> PlainTextResponse | None:
        if len(headers.getlist("host")) != 1 or not self._hosts.admit(headers["host"]):
            return _plain(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this page is not known by that name; an administrator can add it to web.hosts in the station file",
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > LONGEST_BODY:
            return _plain(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected a body of at most {LONGEST_BODY} bytes")
        return None


class TooLargeError(Exception):
    """A body without a length that goes on and on."""


class _Body:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > LONGEST_BODY:
            raise TooLargeError
        return message


def _plain(status: HTTPStatus, text: str) -> PlainTextResponse:
    return PlainTextResponse(text, status)
