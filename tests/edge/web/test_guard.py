from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from edge.web.guard import LONGEST_BODY, Hosts
from tests.edge.web.conftest import StartWeb, Web


@pytest.mark.parametrize(
    ("header", "on_loopback", "elsewhere"),
    [
        ("127.0.0.1:8080", True, True),
        ("localhost", True, True),
        ("LocalHost.:80", True, True),
        ("[::1]:8080", True, True),
        ("station-3.plant.example", True, True),
        ("10.0.0.7:8080", False, True),
        ("[fd00::7]", False, True),
        ("evil.example", False, False),
        ("127.0.0.1.evil.example:8080", False, False),
        ("localhost.evil.example", False, False),
        ("", False, False),
        ("[::1", False, False),
    ],
)
def test_hosts(header: str, on_loopback: bool, elsewhere: bool) -> None:
    assert Hosts(["Station-3.plant.example"], True).admit(header) is on_loopback
    assert Hosts(["Station-3.plant.example"], False).admit(header) is elsewhere


@pytest.fixture(scope="module")
def web(start_web: StartWeb) -> Web:
    return start_web()


def test_a_page_of_another_name_that_points_here_reads_nothing(web: Web) -> None:
    for path in ("/", "/events", "/parts", "/static/live.js"):
        answer = web.client().get(path, Host="evil.example")
        assert answer.status == 421
        assert "web.hosts" in answer.body


def test_every_answer_carries_the_policy(web: Web) -> None:
    for path in ("/", "/parts", "/nowhere", "/static/style.css", "/static/nowhere"):
        headers = web.client().get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_no_page_holds_a_script_or_a_style_of_its_own_or_an_address_elsewhere(web: Web) -> None:
    for path in ("/", "/parts"):
        body = web.client().get(path).body
        assert "<style" not in body
        assert " style=" not in body
        assert "javascript:" not in body
        assert "://" not in body
        assert body.count("<script") == body.count('<script type="module" src="/static/')


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_an_oversized_body_is_refused(web: Web, declared: bool) -> None:
    size = LONGEST_BODY + 1
    how = f"Content-Length: {size}" if declared else "Transfer-Encoding: chunked"
    body = b"x" * size if declared else b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\n{how}\r\n\r\n".encode())
        with suppress(OSError):  # it has answered and hung up already
            connection.sendall(body)
        status = connection.recv(4096).split(b" ")[1]
    assert status in (b"413", b"405")
    assert declared is (status == b"413") or status == b"405"


@pytest.mark.parametrize("length", ["-1", "1" * 30, "1e3", "0x10"])
def test_a_length_that_is_none_is_refused(web: Web, length: str) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as connection:
        connection.sendall(f"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode())
        assert connection.recv(4096).split(b" ")[1] in (b"400", b"413")
    assert web.client().get("/").status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../users.py",
        "/static/..%2fusers.py",
        "/static/%2e%2e/%2e%2e/config.py",
        "/static//etc/passwd",
        "/parts/..%2f..%2fetc%2fpasswd/picture.png",
        "/parts/1.0/picture.png",
        "/parts/-1/picture.png",
        "/parts/0x10/map.png",
        "/parts/1%00/thumbnail.jpg",
    ],
)
def test_no_path_leads_out(web: Web, path: str) -> None:
    answer = web.client().get(path)
    assert answer.status == 404
    assert "import" not in answer.body
    assert "root:" not in answer.body
