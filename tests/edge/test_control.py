from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import get_args

import pytest
import zmq

from edge.asker import Asker, NoAnswerError
from edge.config import ControlTable, SecurityTable
from edge.control import LONGEST_REQUEST, Control
from edge.keys import KeyFolder, Role
from edge.requests import (
    READING,
    AnyRequest,
    Done,
    RecipeRequest,
    Refused,
    ReloadRequest,
    ReplayReply,
    ReplayRequest,
    Reply,
    Request,
    StatusReply,
    StatusRequest,
    TriggerRequest,
)
from edge.verdict import State
from edge.worker import Worker
from engines.errors import ConfigError
from tests.edge.messages import beat


@pytest.fixture
def control(endpoint: str) -> Iterator[Control]:
    control = Control(ControlTable(bind=endpoint), SecurityTable())
    worker = Worker("control", control)
    worker.start()
    yield control
    worker.stop(30)
    assert worker.failure is None


@pytest.fixture
def asker(endpoint: str) -> Iterator[Asker]:
    with Asker(endpoint) as asker:
        yield asker


def test_a_request_is_answered_by_who_registered_for_it(control: Control, asker: Asker) -> None:
    control.on(StatusRequest, lambda _: StatusReply(status=beat(7)))
    reply = asker.ask(StatusRequest(request_id="a"), 30)
    assert reply == StatusReply(request_id="a", status=beat(7))


def test_what_nobody_answers_is_refused(control: Control, asker: Asker) -> None:
    reply = asker.ask(ReloadRequest(request_id="b"), 30)
    assert reply == Refused(request_id="b", reason="this station does not take such requests")


def test_what_takes_long_keeps_nobody_else_waiting(control: Control, asker: Asker, endpoint: str) -> None:
    future: Future[Reply] = Future()
    control.on(RecipeRequest, lambda _: future)
    control.on(StatusRequest, lambda _: StatusReply(status=beat(1)))
    replies: list[Reply] = []
    patient = threading.Thread(target=lambda: replies.append(_ask(endpoint, RecipeRequest(job=3, request_id="slow"))))
    patient.start()
    for _ in range(5):
        assert isinstance(asker.ask(StatusRequest(), 30), StatusReply)
    assert replies == []
    future.set_result(Done(message="ready"))
    patient.join(30)
    assert replies == [Done(request_id="slow", message="ready")]


def test_a_failure_is_the_reason_of_a_refusal(control: Control, asker: Asker) -> None:
    def fail(request: TriggerRequest) -> Reply:
        raise ConfigError(f"no camera {request.camera}")

    control.on(TriggerRequest, fail)
    assert asker.ask(TriggerRequest(camera="top"), 30) == Refused(reason="no camera top")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "not understood"),
        (b"{}", "not understood"),
        (b'{"type":"explode"}', "not understood"),
        (b'{"type":"status","colour":1}', "unknown field `colour`"),
        (b'{"type":"trigger","camera":"../x"}', "matching regex"),
        (b'{"type":"recipe","job":-1}', ">= 0"),
        (b'{"type":"status","schema":9}', "found 9; install the same version"),
        (b"\xff\xfe", "not understood"),
    ],
)
def test_what_is_no_request_is_refused_and_harms_nothing(
    control: Control, asker: Asker, endpoint: str, sent: bytes, reason: str
) -> None:
    control.on(StatusRequest, lambda _: StatusReply(status=beat(1)))
    reply = json.loads(_raw(endpoint, [b"", sent]))
    assert reply["type"] == "refused"
    assert reason in reply["reason"].lower() or reason in reply["reason"]
    assert isinstance(asker.ask(StatusRequest(), 30), StatusReply)


def test_what_is_too_long_or_in_too_many_frames_is_not_even_read(control: Control, asker: Asker, endpoint: str) -> None:
    control.on(StatusRequest, lambda _: StatusReply(status=beat(1)))
    with zmq.Context() as context, context.socket(zmq.DEALER) as other:
        other.setsockopt(zmq.LINGER, 0)
        other.connect(endpoint)
        other.send_multipart([b""] * 50)
        other.send(b"x" * (LONGEST_REQUEST + 1))
        assert isinstance(asker.ask(StatusRequest(), 30), StatusReply)
        assert not other.poll(100)


def test_silence_says_what_may_be_missing(endpoint: str) -> None:
    with Asker(endpoint) as asker, pytest.raises(NoAnswerError, match=r"with \[control\] bind in its station file"):
        asker.ask(StatusRequest(), 0.05)


def test_a_port_in_use_is_named(control: Control, endpoint: str) -> None:
    with pytest.raises(ConfigError, match=rf"control.bind: {endpoint} is in use already"):
        Worker("control", Control(ControlTable(bind=endpoint), SecurityTable())).start()


def test_the_command_prints_the_status_of_a_real_daemon(start_daemon, listener, cli, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    address = f"ipc://{tmp_path}/control"
    daemon = start_daemon(f'kind = "folder"\npath = "{tmp_path}/in"', f'[control]\nbind = "{address}"')
    listener.until(lambda heard: "Running" in heard.states)
    done = subprocess.run([*cli, "control", "--connect", address, "status"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(done.stdout)
    assert (status["station"], status["state"]) == ("cell-7", State.RUNNING.value)
    assert status["cameras"]["top"]["recipe"] == "flange"
    assert daemon.end() == 0


def _ask(endpoint: str, request: RecipeRequest) -> Reply:
    with Asker(endpoint) as asker:
        return asker.ask(request, 30)


def _raw(endpoint: str, frames: list[bytes]) -> bytes:
    with zmq.Context() as context, context.socket(zmq.DEALER) as other:
        other.setsockopt(zmq.LINGER, 0)
        other.connect(endpoint)
        other.send_multipart(frames)
        assert other.poll(30_000)
        return other.recv_multipart()[-1]


@pytest.fixture
def guarded(endpoint: str, tmp_path: Path) -> Iterator[Control]:
    folder = KeyFolder(tmp_path / "keys")
    for name, role in (("panel", Role.READ), ("gateway", Role.CONTROL), ("gone", Role.CONTROL)):
        folder.new_client(name, role, tmp_path / f"{name}.key")
    control = Control(ControlTable(bind=endpoint), SecurityTable(keys=folder.path))
    control.on(StatusRequest, lambda _: StatusReply(status=beat(7)))
    control.on(ReplayRequest, lambda _: ReplayReply(first=1, verdicts=()))
    for kind in (RecipeRequest, TriggerRequest, ReloadRequest):
        control.on(kind, lambda _: Done(message="done"))
    worker = Worker("control", control)
    worker.start()
    yield control
    worker.stop(30)


@pytest.mark.parametrize(
    ("request_", "reading"),
    [
        (StatusRequest(), True),
        (ReplayRequest(session_id="s", first=1, last=2), True),
        (RecipeRequest(job=1), False),
        (TriggerRequest(camera="top"), False),
        (ReloadRequest(), False),
    ],
)
def test_a_key_for_reading_changes_nothing(
    guarded: Control, endpoint: str, tmp_path: Path, request_: Request, reading: bool
) -> None:
    with Asker(endpoint, tmp_path / "gateway.key") as gateway:
        assert not isinstance(gateway.ask(request_, 30), Refused)
    with Asker(endpoint, tmp_path / "panel.key") as panel:
        reply = panel.ask(request_, 30)
    assert not isinstance(reply, Refused) if reading else "does not allow that" in str(reply)


def test_a_revoked_client_is_refused_at_once_though_it_is_connected(
    guarded: Control, endpoint: str, tmp_path: Path
) -> None:
    with Asker(endpoint, tmp_path / "gone.key") as asker:
        assert asker.ask(ReloadRequest(), 30) == Done(message="done")
        KeyFolder(tmp_path / "keys").revoke("gone")
        assert isinstance(asker.ask(StatusRequest(), 30), Refused)


def test_without_a_key_there_is_no_answer(guarded: Control, endpoint: str) -> None:
    with Asker(endpoint) as asker, pytest.raises(NoAnswerError):
        asker.ask(StatusRequest(), 0.5)


def test_every_kind_of_request_is_either_for_reading_or_for_control() -> None:
    kinds = set(get_args(AnyRequest))
    assert set(READING) < kinds
    assert kinds - set(READING) >= {RecipeRequest, TriggerRequest, ReloadRequest}
