from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator

import msgspec
import pytest
import zmq

from edge.verdict import CameraStatus, Counters, Evaluation, Heartbeat, StageTimes, State, Verdict, encode
from edge.watch import Printer

WHEN = "2026-01-01T08:15:30.250+00:00"

VERDICT = Verdict(
    session_id="s",
    station="cell-7",
    sent_at=WHEN,
    seq=1,
    camera="top",
    recipe="flange",
    frame_id=1,
    part_id="001.png",
    trigger_id=None,
    evaluation=Evaluation.OK,
    reason="",
    score=0.5,
    threshold=1.0,
    margin=0.5,
    regions=(),
    bundle_digest="d",
    captured_at=WHEN,
    captured_ns=1,
    stage_ms=StageTimes(capture=0.0, queue=0.0, total=12.3),
)
CAMERA = CameraStatus(
    state=State.RUNNING,
    state_s=3.5,
    reason="",
    counters=Counters(),
    recipe="flange",
    bundle_digest="d",
    engine="openvino",
    precision="f32",
)
BEAT = Heartbeat(
    session_id="s",
    station="cell-7",
    sent_at=WHEN,
    interval_s=0.1,
    last_seq=0,
    state=State.RUNNING,
    state_s=0.0,
    reason="",
    counters=Counters(),
    cameras={"top": CAMERA},
)


class Sender:
    """Publishes to `edge-inspect watch` as the daemon would, once it has subscribed."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 2000)
        self._socket.bind(endpoint)
        self._thread: threading.Thread | None = None

    def send(self, *messages: Verdict | Heartbeat) -> None:
        if not self._socket.poll(30_000):
            pytest.fail("nobody subscribed")
        self._socket.recv()
        for message in messages:
            self._socket.send_multipart([b"cell-7/verdict", encode(message)])

    def send_soon(self, *messages: Verdict | Heartbeat) -> None:
        self._thread = threading.Thread(target=self.send, args=messages)
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._thread.join()
        self._socket.close()
        self._context.term()


@pytest.fixture
def sender(endpoint: str) -> Iterator[Sender]:
    sender = Sender(endpoint)
    yield sender
    sender.close()


Watch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def watch(cli: tuple[str, ...], endpoint: str) -> Watch:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [*cli, "watch", "--connect", endpoint, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


def numbered(*numbers: int) -> list[Verdict | Heartbeat]:
    return [msgspec.structs.replace(VERDICT, seq=number) for number in numbers]


def test_it_ends_after_the_count_with_one_line_a_verdict(sender: Sender, watch: Watch) -> None:
    worse = msgspec.structs.replace(
        VERDICT, seq=3, evaluation=Evaluation.NOT_DECIDABLE, score=None, margin=None, reason="the file is empty"
    )
    sender.send_soon(BEAT, *numbered(1, 2), worse, *numbered(4))
    result = watch("--count", "3")
    assert result.returncode == 0
    assert result.stderr == ""
    state, *lines = result.stdout.splitlines()
    assert state == (
        "08:15:30.250  cell-7  Running: 0 verdicts, 0 NotOK, 0 NotDecidable, 0 dropped; top flange on openvino f32"
    )
    assert len(lines) == 3
    assert lines[0].split() == [
        *("08:15:30.250", "cell-7", "1", "OK", "score", "0.500", "limit", "1.000", "12.3", "ms", "top/001.png"),
    ]
    assert lines[2].endswith("001.png  (the file is empty)")
    assert lines[0].index("score") == lines[2].index("score")
    assert "\033" not in result.stdout


def test_json_gives_each_verdict_as_it_came(sender: Sender, watch: Watch) -> None:
    sender.send_soon(BEAT, *numbered(1, 2))
    result = watch("--json", "--count", "2")
    assert result.stdout.encode().splitlines() == [encode(message) for message in numbered(1, 2)]


def test_json_gives_heartbeats_on_demand(sender: Sender, watch: Watch) -> None:
    sender.send_soon(BEAT, *numbered(1))
    result = watch("--json", "--heartbeats", "--count", "1")
    assert [json.loads(line)["type"] for line in result.stdout.splitlines()] == ["heartbeat", "verdict"]


def test_gaps_are_told_where_they_cannot_spoil_the_json(sender: Sender, watch: Watch) -> None:
    sender.send_soon(*numbered(1, 4))
    result = watch("--json", "--count", "2")
    assert [json.loads(line)["seq"] for line in result.stdout.splitlines()] == [1, 4]
    assert result.stderr.strip() == "GAP      cell-7: 2 verdict(s) never came, numbers 2 to 3"


def test_silence_is_told_and_ends_the_wait_with_exit_code_2(sender: Sender, watch: Watch) -> None:
    sender.send_soon(BEAT)
    result = watch("--timeout", "1")
    assert result.returncode == 2
    assert "SILENCE  cell-7: no heartbeat for 0." in result.stdout
    assert "nothing heard" in result.stderr


def test_nobody_there_is_one_line_and_exit_code_2(watch: Watch, endpoint: str) -> None:
    result = watch("--timeout", "0.3")
    assert result.returncode == 2
    assert result.stderr == (
        f"edge-inspect watch: nothing heard from {endpoint} for 0.3 s; is the daemon running there, "
        "and does it want a --key?\n"
    )


@pytest.mark.parametrize(("option", "value"), [("--count", "0"), ("--connect", "nonsense")])
def test_impossible_options_are_one_line_and_exit_code_2(watch: Watch, option: str, value: str) -> None:
    result = watch(option, value)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.stderr


def test_a_terminal_gets_colours(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(as_json=False, heartbeats=False, coloured=True)
    for evaluation in Evaluation:
        message = msgspec.structs.replace(VERDICT, evaluation=evaluation)
        printer.show(message, encode(message))
    colours = [line.partition("\033[")[2][:3] for line in capsys.readouterr().out.splitlines()]
    assert colours == ["32m", "31m", "33m"]


def test_a_file_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    message = msgspec.structs.replace(VERDICT, part_id="a\033[2J\nb.png", station="x\r")
    Printer(as_json=False, heartbeats=False, coloured=False).show(message, encode(message))
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "a?[2J?b.png" in line
    assert not set(line) & {"\033", "\r"}
