"""`edge-inspect web`: one process that listens to the daemon and serves the page. The daemon does not know it."""

from __future__ import annotations

import os
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import cv2

from edge.config import StationConfig
from edge.keys import credential
from edge.sockets import local_address
from edge.stop import StopRequest
from edge.web.bell import Bell
from edge.web.listener import Listener
from edge.web.pictures import Pictures
from edge.web.scene import Scene
from edge.web.table import WebTable
from edge.web.watched import Watched
from edge.worker import Worker, WorkerError
from engines.errors import ConfigError
from engines.extras import import_extra

if TYPE_CHECKING:
    from edge.web.live_page import Heard

_NICE = 10
_STOP_S = 2
_SETTINGS: dict[str, Any] = {
    "ws": "none",
    "loop": "asyncio",
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "limit_concurrency": 256,
    "timeout_graceful_shutdown": _STOP_S,
}
# A peer that takes nothing, or is gone without a word, costs a connection for so long.
_STUCK_MS = 30_000


def serve_page(config: StationConfig) -> int:
    """Serve the page until SIGTERM or SIGINT. Exit code 0.

    Raises ConfigError or UsageError where it cannot begin, WorkerError where what it hears by has failed.
    """
    uvicorn = import_extra("uvicorn", "web")
    for module in ("argon2", "jinja2", "starlette"):
        import_extra(module, "web")
    from edge.web.app import make_app
    from edge.web.connection import Connection
    from edge.web.live_page import Heard

    cv2.setNumThreads(1)
    bell = Bell()
    pictures = None if config.live.bind is None else Pictures(local_address(config.live.bind), bell)
    heard = Heard(Scene(config.station, bell.ring), bell, pictures)
    listening = _listen(config.web)
    address = f"{'https' if config.web.certificate else 'http'}://{_name(config.web)}:{listening.getsockname()[1]}"
    workers = _workers(config, heard)

    def give_up() -> None:
        server.should_exit = True

    app = make_app(config, heard, Watched(config.station, address, workers, give_up))
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, **_SETTINGS, **_tls(config.web)))
    for worker in workers:
        worker.start()
    with suppress(OSError):
        os.nice(_NICE)  # the engine's cores are the engine's
    # Both hear the signals: without it the server would end by sending itself the signal again.
    with StopRequest():
        server.run(sockets=[listening])
    for worker in workers:
        worker.stop(_STOP_S)
        if worker.failure is not None:
            raise WorkerError(f"the page's {worker.name} failed: {worker.failure!r}; start it again")
    return 0


def _workers(config: StationConfig, heard: Heard) -> list[Worker]:
    from edge.web.gateway_listener import GatewayListener

    workers = [Worker("listener", _listener(config, heard.scene))]
    if heard.pictures is not None:
        workers.append(Worker("pictures", heard.pictures))
    if config.plc is not None and config.plc.publish is not None:
        address = local_address(config.plc.publish.bind)
        gateway = GatewayListener(heard.scene, address, config.station, config.web.key)
        workers.append(Worker("gateway listener", gateway))
    return workers


def _listener(config: StationConfig, scene: Scene) -> Listener:
    control = None if config.control.bind is None else local_address(config.control.bind)
    return Listener(scene, local_address(config.publish.bind), config.station, control, config.web.key)


def _listen(table: WebTable) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(table.host, table.port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"web.bind: cannot listen on {table.bind}: {error.strerror}; stop the other program or name another address"
        ) from None
    # Inherited by the connections.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STUCK_MS)
    return listening


def _tls(table: WebTable) -> dict[str, object]:
    if table.certificate is None or table.private_key is None:
        return {}
    key = credential(table.private_key.name) or table.private_key
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(table.certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"web.certificate: {table.certificate} and {table.private_key} are no certificate and its key in PEM: "
            f"{error.strerror or error}"
        ) from None
    return {"ssl_certfile": str(table.certificate), "ssl_keyfile": str(key)}


def _name(table: WebTable) -> str:
    return f"[{table.host}]" if ":" in table.host else table.host
