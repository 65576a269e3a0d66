from __future__ import annotations

import logging
from concurrent.futures import Future
from pathlib import Path

import pytest

from edge.audit.recorder import InForce, Recorder, here
from edge.audit.trail import AuditTrail, read_trail
from edge.requests import Done, RecipeRequest, Refused, ReloadRequest, Reply
from engines.errors import ConfigError

FLANGE = InForce("flange", "d1", 1.5, 2.5)
PATIENCE_S = 30.0


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit.jsonl", "cell-7")


def test_a_request_is_written_down_before_it_is_answered(trail: AuditTrail) -> None:
    request = RecipeRequest(recipe="plate", asked_by="alice", request_id="r1")
    with Recorder(trail) as recorder:
        reply = recorder.answered(request, "panel", Done(message="recipe plate judges camera top")).result(PATIENCE_S)
        (entry,) = read_trail(trail.path).entries
    assert reply == Done(message="recipe plate judges camera top")
    assert (entry.what, entry.who, entry.key) == ("recipe", "alice", "panel")
    assert entry.details == {
        "request": {"recipe": "plate"},
        "done": "recipe plate judges camera top",
        "cameras": {},
    }


def test_what_takes_long_is_written_down_when_it_is_done(trail: AuditTrail) -> None:
    slow: Future[Reply] = Future()
    failed: Future[Reply] = Future()
    with Recorder(trail) as recorder:
        first = recorder.answered(RecipeRequest(job=3), None, slow)
        second = recorder.answered(RecipeRequest(job=4), None, failed)
        recorder.answered(ReloadRequest(), None, Done(message="nothing has changed")).result(PATIENCE_S)
        assert not first.done()
        slow.set_result(Done(message="done"))
        failed.set_exception(ConfigError("no such job"))
        assert first.result(PATIENCE_S) == Done(message="done")
        assert second.result(PATIENCE_S) == Refused(reason="no such job")
    entries = read_trail(trail.path).entries
    assert [entry.what for entry in entries] == ["reload", "recipe", "recipe"]
    assert entries[0].who == "not said"
    assert entries[2].details["refused"] == "no such job"


def test_a_refusal_that_is_repeated_has_one_entry(trail: AuditTrail) -> None:
    refused = Refused(reason="the gate keeps it")
    with Recorder(trail) as recorder:
        for _ in range(3):
            recorder.answered(RecipeRequest(job=3, asked_by="PLC"), None, refused).result(PATIENCE_S)
        recorder.answered(RecipeRequest(job=3, asked_by="bob"), None, refused).result(PATIENCE_S)
        recorder.answered(RecipeRequest(job=3, asked_by="bob"), None, Done(message="")).result(PATIENCE_S)
        recorder.answered(RecipeRequest(job=3, asked_by="bob"), None, refused).result(PATIENCE_S)
    assert [entry.who for entry in read_trail(trail.path).entries] == ["PLC", "bob", "bob", "bob"]


def test_a_threshold_that_moves_has_an_entry_of_its_own_whoever_moved_it(trail: AuditTrail) -> None:
    now = {"top": FLANGE, "side": FLANGE}
    with Recorder(trail, lambda: now) as recorder:
        recorder.note("armed", "root@cell")
        now = {**now, "top": InForce("plate", "d9", 7.0, 8.0)}
        recorder.note("recipe", "alice")
    now = {"top": InForce("flange", "d2", 1.25, 2.25), "side": FLANGE}
    with Recorder(trail, lambda: now) as recorder:  # after a restart, by another bundle in the old one's place
        recorder.note("armed", "root@cell")
    entries = read_trail(trail.path).entries
    assert [entry.what for entry in entries] == ["armed", "recipe", "armed", "threshold"]
    assert entries[3].details == {
        "camera": "top",
        "recipe": "flange",
        "before": {"recipe": "flange", "bundle_digest": "d1", "threshold": 1.5, "map_threshold": 2.5},
        "after": {"recipe": "flange", "bundle_digest": "d2", "threshold": 1.25, "map_threshold": 2.25},
    }


def test_what_cannot_be_written_is_said_in_the_answer_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Recorder(AuditTrail(tmp_path, "cell-7")) as recorder:
        reply = recorder.answered(RecipeRequest(recipe="plate", asked_by="alice"), None, Done(message="done"))
        assert reply.result(PATIENCE_S) == Done(
            message=f"done; NOT AUDITED: the audit trail {tmp_path} cannot be written: Is a directory"
        )
        assert recorder.failures == 1
    said = caplog.records[-1].getMessage()
    assert said.startswith("NOT AUDITED")
    assert "plate" in said
    assert "alice" in said


def test_a_spoiled_trail_keeps_no_station_from_starting(trail: AuditTrail, caplog: pytest.LogCaptureFixture) -> None:
    trail.append("armed", "root")
    trail.append("armed", "root")
    trail.path.write_bytes(trail.path.read_bytes().replace(b"root", b"toor", 1))
    with Recorder(trail) as recorder:
        recorder.note("armed", "root")
    assert "does not hold" in caplog.text
    assert len(trail.path.read_bytes().splitlines()) == 3


def test_each_entry_is_logged_with_its_sha256(trail: AuditTrail, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with Recorder(trail) as recorder:
        recorder.note("armed", "root")
    assert read_trail(trail.path).head.sha256 in caplog.text


def test_this_process_has_a_user_and_a_host() -> None:
    assert here().count("@") == 1
