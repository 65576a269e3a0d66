"""Connections that ask for nothing, half a request at a time."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress

from tests.edge.web.conftest import StartWeb


def test_half_sent_requests_do_not_close_the_page(start_web: StartWeb) -> None:
    web = start_web()
    with ExitStack() as stack:
        stuck = [stack.enter_context(socket.create_connection(("127.0.0.1", web.port))) for _ in range(60)]
        for each in stuck:
            each.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert web.client().get("/").status == 200
        for each in stuck:
            each.settimeout(30)
            with suppress(ConnectionResetError):
                assert each.recv(100) == b""
    assert web.client().get("/").status == 200


def test_one_address_does_not_take_all_connections(start_web: StartWeb) -> None:
    web = start_web()
    with ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection(("127.0.0.1", web.port))) for _ in range(70)]
        cut = 0
        for each in many[64:]:
            each.settimeout(30)
            with suppress(ConnectionResetError):
                assert each.recv(1) == b""
            cut += 1
        assert cut == 6
        with socket.socket() as elsewhere:
            elsewhere.bind(("127.0.0.2", 0))
            elsewhere.connect(("127.0.0.1", web.port))
            elsewhere.settimeout(30)
            elsewhere.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert elsewhere.recv(15) == b"HTTP/1.1 200 OK"
