from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from edge.metrics import server as module
from edge.metrics.exposition import StationCollector
from edge.metrics.server import MetricsServer
from edge.metrics.table import MetricsTable
from edge.verdict import State
from engines.errors import ConfigError
from tests.edge.metrics.conftest import Figures, fetch


@pytest.fixture
def address(figures: Figures) -> Iterator[str]:
    with MetricsServer("metrics", MetricsTable(bind="127.0.0.1:0"), StationCollector(figures)) as served:
        yield served.address


def test_metrics_are_text_that_no_cache_keeps(address: str) -> None:
    status, text = fetch(address)
    assert status == 200
    assert "edge_inspect_parts_total" in text
    assert "process_cpu_seconds_total" in text


def test_it_is_ready_only_while_every_part_is_judged(address: str, figures: Figures) -> None:
    assert fetch(address, "/readyz") == (200, "Running\n")
    for state in set(State) - {State.RUNNING}:
        figures.state = state
        assert fetch(address, "/readyz") == (503, f"{state.value}: camera top: away\n")
    assert fetch(address, "/healthz") == (200, "it lives\n")


def test_it_lives_while_no_worker_is_stuck(address: str, figures: Figures) -> None:
    figures.stuck_worker = "stuck for 30 s: top.feeder"
    assert fetch(address, "/healthz") == (503, "stuck for 30 s: top.feeder\n")


@pytest.mark.parametrize("path", ["/", "/metrics/../../etc/passwd", "/metrics%2e", "/%00", "/metricsx"])
def test_there_is_nothing_else(address: str, path: str) -> None:
    assert fetch(address, path)[0] == 404


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "TRACE", "BREW"])
def test_it_only_reads(address: str, verb: str) -> None:
    assert speak(address, f"{verb} /metrics HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.0 501")


def test_a_head_has_no_body(address: str) -> None:
    answer = speak(address, "HEAD /readyz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200")
    assert b"X-Content-Type-Options: nosniff" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_line_without_end_is_refused(address: str) -> None:
    assert speak(address, "GET /" + "a" * 70_000 + " HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 414")


def test_readers_who_never_finish_are_cut_off_and_keep_nobody_out(
    figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_READER_S", 0.5)
    with MetricsServer("metrics", MetricsTable(bind="127.0.0.1:0"), StationCollector(figures)) as served:
        host, port = served.address.split(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(20)]
        deadline = time.monotonic() + 30
        while True:
            for one in slow[:8]:  # a byte now and then, so that no silence is ever long
                try:
                    one.send(b"G")
                except OSError:
                    continue
            try:
                assert fetch(served.address)[0] == 200
                break
            except OSError:
                assert time.monotonic() < deadline
        for one in slow:
            one.close()


def test_readers_who_break_off_cost_nothing(address: str) -> None:
    host, port = address.split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as reader:
            reader.send(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert fetch(address)[0] == 200


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "10.0.0.1:9464", "station.local:9464", ":9464", "*:9464"])
def test_what_others_can_reach_takes_leave(figures: Figures, bind: str) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.bind: other machines can reach .*allow_remote"):
        MetricsServer("metrics", MetricsTable(bind=bind), StationCollector(figures))


def test_with_leave_it_listens_everywhere(figures: Figures) -> None:
    with MetricsServer(
        "metrics", MetricsTable(bind="0.0.0.0:0", allow_remote=True), StationCollector(figures)
    ) as served:
        assert fetch(f"127.0.0.1:{served.address.rpartition(':')[2]}")[0] == 200


@pytest.mark.parametrize("bind", ["127.0.0.1:99999", "127.0.0.2.3:80", "taken"])
def test_an_address_that_cannot_be_listened_on_is_named(figures: Figures, address: str, bind: str) -> None:
    table = MetricsTable(bind=address if bind == "taken" else bind, allow_remote=True)
    with pytest.raises(ConfigError, match=r"metrics\.bind: cannot listen on"):
        MetricsServer("metrics", table, StationCollector(figures))


def speak(address: str, words: str) -> bytes:
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as reader:
        reader.sendall(words.encode())
        answer = b""
        while more := reader.recv(65_536):
            answer += more
    return answer
