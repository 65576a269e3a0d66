"""Messages as a daemon sends them, for the tests of who reads them."""

from __future__ import annotations

from edge.verdict import Counters, Evaluation, Heartbeat, StageTimes, State, Verdict

WHEN = "2026-01-01T00:00:00.000+00:00"


def verdict(seq: int, session: str = "s1", station: str = "a") -> Verdict:
    return Verdict(
        session_id=session,
        station=station,
        sent_at=WHEN,
        seq=seq,
        camera="top",
        recipe="flange",
        frame_id=seq,
        part_id=None,
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
        stage_ms=StageTimes(capture=0.0, queue=0.0),
    )


def beat(last_seq: int, session: str = "s1", station: str = "a", state: State = State.RUNNING) -> Heartbeat:
    return Heartbeat(
        session_id=session,
        station=station,
        sent_at=WHEN,
        interval_s=1.0,
        last_seq=last_seq,
        state=state,
        state_s=0.0,
        reason="",
        counters=Counters(),
        cameras={},
    )
