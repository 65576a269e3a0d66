from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.verdict import (
    CameraStatus,
    Counters,
    Evaluation,
    Heartbeat,
    MessageError,
    Region,
    StageTimes,
    State,
    Verdict,
    decode,
    encode,
)

VERDICT = Verdict(
    session_id="s",
    station="line-1",
    sent_at="2026-01-01T00:00:00.000+00:00",
    seq=7,
    camera="top",
    recipe="flange",
    frame_id=7,
    part_id="007.png",
    trigger_id=None,
    evaluation=Evaluation.NOT_OK,
    reason="score 2 is above the threshold 1",
    score=2.0,
    threshold=1.0,
    margin=-1.0,
    regions=(Region(x=1, y=2, width=3, height=4, peak=2.5, peak_x=2, peak_y=3),),
    bundle_digest="d",
    captured_at="2026-01-01T00:00:00.000+00:00",
    captured_ns=1,
    stage_ms=StageTimes(capture=1.0, queue=0.1),
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
HEARTBEAT = Heartbeat(
    session_id="s",
    station="line-1",
    sent_at="2026-01-01T00:00:00.000+00:00",
    interval_s=1.0,
    last_seq=7,
    state=State.DEGRADED,
    state_s=3.5,
    reason="no camera",
    counters=Counters(frames=9, ok=7, dropped={"newer frame": 2}),
    cameras={"top": CAMERA},
)


@pytest.mark.parametrize("message", [VERDICT, HEARTBEAT])
def test_a_message_survives_the_wire(message: Verdict | Heartbeat) -> None:
    assert decode(encode(message)) == message
    assert b"\n" not in encode(message)


def test_the_words_on_the_wire_are_those_of_the_protocol() -> None:
    verdict = json.loads(encode(VERDICT))
    assert (verdict["type"], verdict["schema"], verdict["evaluation"]) == ("verdict", 1, "NotOK")
    heartbeat = json.loads(encode(HEARTBEAT))
    assert (heartbeat["type"], heartbeat["schema"], heartbeat["state"]) == ("heartbeat", 1, "Degraded")


def test_fields_of_a_later_minor_version_are_ignored() -> None:
    later = {**json.loads(encode(VERDICT)), "lot": "x"}
    assert decode(json.dumps(later).encode()) == VERDICT


def test_another_schema_is_refused_with_the_remedy() -> None:
    newer = msgspec.structs.replace(HEARTBEAT, schema=2)
    with pytest.raises(MessageError, match="found schema 2; install the same version"):
        decode(encode(newer))


@pytest.mark.parametrize("foreign", [b"", b"[]", b"{}", b'{"type":"other"}', b"\xff", encode(VERDICT)[:-5]])
def test_foreign_bytes_are_a_message_error(foreign: bytes) -> None:
    with pytest.raises(MessageError, match="expected a verdict or heartbeat"):
        decode(foreign)


@given(st.binary(max_size=200) | st.integers(0, len(encode(VERDICT))).map(lambda n: encode(VERDICT)[:n] + b"\x80"))
def test_no_bytes_do_anything_worse(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode(data)
