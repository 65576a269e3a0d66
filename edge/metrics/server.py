"""`/metrics`, `/healthz` and `/readyz` over HTTP, from the standard library's server in threads of its own.

Nobody who reads can hold up what is shown: there are as many readers at a time as `_MOST_READERS`, each has some
seconds and sends a request line and headers, of which nothing is kept.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any

from edge.metrics.subject import Subject
from edge.metrics.table import MetricsTable
from engines.errors import ConfigError
from engines.extras import import_extra

_log = logging.getLogger(__name__)
_MOST_READERS = 8
_READER_S = 5.0
_STOP_S = 5.0


class MetricsServer:
    """Serves one subject's figures while it is entered. `address` is where, as `host:port`."""

    def __init__(self, key: str, table: MetricsTable, subject: Subject) -> None:
        """Bind; `key` is the table's in the station file.

        Raises ConfigError for an address that is taken, impossible, or open to others without leave, and UsageError
        where the extra `web` is not installed.
        """
        host, _, port = table.bind.rpartition(":")
        host = host.strip("[]")
        if not table.allow_remote and not _is_local(host):
            raise ConfigError(
                f"{key}.bind: other machines can reach {table.bind}, and whoever does reads the figures: bind to "
                f"127.0.0.1, or set `{key}.allow_remote = true`"
            )
        prometheus = import_extra("prometheus_client", "web")
        registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        registry.register(subject)
        self._server = _bound(host, int(port), key, table.bind)
        self._server.pages = Pages(prometheus, registry, subject)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(_STOP_S)


class Pages:
    """What there is to read, by path: status, content type, and body."""

    def __init__(self, prometheus: Any, registry: Any, subject: Subject) -> None:
        self._prometheus = prometheus
        self._registry = registry
        self._subject = subject

    def read(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """The page at `path`."""
        if path == "/metrics":
            return HTTPStatus.OK, self._prometheus.CONTENT_TYPE_LATEST, self._prometheus.generate_latest(self._registry)
        if path == "/healthz":
            stuck = self._subject.stuck()
            return _said(HTTPStatus.SERVICE_UNAVAILABLE if stuck else HTTPStatus.OK, stuck or "it lives")
        if path == "/readyz":
            ready, said = self._subject.readiness()
            return _said(HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE, said)
        return _said(HTTPStatus.NOT_FOUND, "there are /metrics, /healthz and /readyz")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A reader that is slow must not keep the process from ending.
    block_on_close = False
    pages: Pages

    def __init__(self, address: tuple[str, int]) -> None:
        self._room = threading.BoundedSemaphore(_MOST_READERS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer's asks for the name of the address, and waits for a name server that does not answer.
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # The handler's own time limit begins anew with each byte.
        cut_off = threading.Timer(_READER_S, _cut_off, (request,))
        cut_off.daemon = True
        cut_off.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            cut_off.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Somebody who broke off, mostly.
        _log.debug("a reader of the metrics was not served", exc_info=True)


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    timeout = _READER_S
    server: _Server
    server_version = "edge-inspect"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("metrics: %s", format % args)

    def _answer(self, with_body: bool) -> None:
        status, kind, body = self.server.pages.read(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def _cut_off(reader: socket.socket) -> None:
    with suppress(OSError):
        reader.shutdown(socket.SHUT_RDWR)


def _said(status: HTTPStatus, text: str) -> tuple[HTTPStatus, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()


def _bound(host: str, port: int, key: str, address: str) -> _Server:
    try:
        return (_ServerV6 if ":" in host else _Server)((host, port))
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) else "a port is at most 65535"
        raise ConfigError(f"{key}.bind: cannot listen on {address}: {why}; name a free address") from None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
