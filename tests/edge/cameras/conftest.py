"""Fixtures that start the cameras' real peers."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import REPOSITORY, missing
from tests.edge.cameras.peers import Peer


@pytest.fixture
def start_peer() -> Iterator[Callable[..., Peer]]:
    """`start_peer(command, ready=None)`: a program that says `ready` first; killed at the end."""
    started: list[Peer] = []

    def start(command: list[str], ready: str | None = None) -> Peer:
        started.append(Peer(command, ready))
        return started[-1]

    yield start
    for peer in started:
        peer.kill()


@pytest.fixture
def need_gi() -> Callable[[str, str], None]:
    """`need_gi(namespace, version)`: skip where these bindings are missing; in CI that is a failure."""

    def need(namespace: str, version: str) -> None:
        try:
            import gi

            gi.require_version(namespace, version)
        except (ImportError, ValueError) as error:
            missing(f"{error}: make system-deps, pip install '.[genicam]'")

    return need


@pytest.fixture
def port() -> int:
    """A port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start_rtsp(
    start_peer: Callable[..., Peer], need_gi: Callable[[str, str], None], port: int
) -> Callable[..., tuple[Peer, str]]:
    """`start_rtsp(user, password)`: an RTSP server, with the address of its stream; open to all without arguments."""
    need_gi("GstRtspServer", "1.0")
    script = str(REPOSITORY / "benchmarks" / "rtsp_server.py")

    def start(*credentials: str) -> tuple[Peer, str]:
        return start_peer([sys.executable, script, str(port), *credentials], "ready"), f"rtsp://127.0.0.1:{port}/line"

    return start
