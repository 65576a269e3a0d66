from __future__ import annotations

import json
from collections.abc import Callable

import jsonschema
import msgspec
import pytest

from edge.asker import Asker
from edge.client import SilenceError, Subscriber
from edge.requests import (
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
    encode,
)
from edge.schema import FOLDER, schemas
from edge.verdict import Region, Severity, Verdict
from edge.verdict import encode as encode_published
from tests.edge.messages import beat, verdict


def problems(name: str, message: bytes) -> list[str]:
    validator = jsonschema.Draft202012Validator(json.loads(schemas()[name]))
    return [error.message for error in validator.iter_errors(json.loads(message))]


@pytest.mark.parametrize("name", schemas())
def test_the_files_are_what_the_types_say(name: str) -> None:
    assert (FOLDER / name).read_text() == schemas()[name], "run: python -m edge.schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(schemas()[name]))


def test_there_is_no_other_file() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(schemas())


RICH = msgspec.structs.replace(
    verdict(1),
    regions=(Region(x=1, y=2, width=3, height=4, peak=0.5, peak_x=2, peak_y=3),),
    severity=Severity(peak=0.1, area=0.2, integrated=0.3, grade="minor"),
    score=None,
    part_id="a.png",
)


@pytest.mark.parametrize("message", [verdict(1), RICH, beat(1)])
def test_what_is_published_is_valid(message: Verdict) -> None:
    assert problems("published.schema.json", encode_published(message)) == []


@pytest.mark.parametrize(
    "request_",
    [
        StatusRequest(request_id="a"),
        ReplayRequest(session_id="s", first=1, last=2),
        RecipeRequest(camera="top", job=3),
        TriggerRequest(camera="top", part_id="p", encoder=-5),
        ReloadRequest(),
    ],
)
def test_requests_are_valid(request_: Request) -> None:
    assert problems("request.schema.json", encode(request_)) == []


@pytest.mark.parametrize(
    "reply",
    [
        Done(message="done"),
        Refused(reason="why"),
        StatusReply(status=beat(1)),
        ReplayReply(first=1, verdicts=(msgspec.Raw(encode_published(verdict(1))),)),
    ],
)
def test_replies_are_valid(reply: Reply) -> None:
    assert problems("reply.schema.json", encode(reply)) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("published.schema.json", b"{}"),
        ("published.schema.json", encode_published(verdict(1)).replace(b'"seq":1', b'"seq":"1"')),
        ("published.schema.json", encode_published(verdict(1)).replace(b'"OK"', b'"Good"')),
        ("published.schema.json", encode(StatusRequest())),
        ("request.schema.json", b'{"type":"status","colour":1}'),
        ("request.schema.json", b'{"type":"replay","session_id":"s","first":0,"last":2}'),
    ],
)
def test_what_is_wrong_is_invalid(name: str, message: bytes) -> None:
    assert problems(name, message)


def test_what_a_real_daemon_sends_is_valid(
    start_daemon: Callable[..., object], endpoint: str, tmp_path, render_part
) -> None:
    import cv2

    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for seed, defect in ((300, False), (301, True)):
        cv2.imwrite(str(inbox / f"{seed}.png"), render_part(seed, defect))
    (inbox / "302.png").write_bytes(b"no image")
    address = f"ipc://{tmp_path}/control"
    start_daemon(f'kind = "folder"\npath = "{inbox}"', f'[control]\nbind = "{address}"')
    seen: set[str] = set()
    with Subscriber(endpoint) as subscriber, Asker(address) as asker:
        while len(seen) < 4:
            try:
                message = subscriber.receive(60.0)
            except SilenceError:  # a machine with other work
                continue
            assert message is not None
            assert problems("published.schema.json", subscriber.raw) == []
            seen.add(message.evaluation.value if isinstance(message, Verdict) else "heartbeat")
        replay = asker.ask(ReplayRequest(session_id=message.session_id, first=1, last=3), 30)
        status = asker.ask(StatusRequest(), 30)
    assert isinstance(replay, ReplayReply)
    assert len(replay.verdicts) == 3
    for reply in (replay, status):
        assert problems("reply.schema.json", encode(reply)) == []
