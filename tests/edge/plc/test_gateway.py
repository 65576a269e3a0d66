"""`edge-inspect plc` as a process of its own, between a socket that speaks like the daemon and a PLC in C."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from benchmarks.plc_program import EJECTED, PASSES
from edge.audit.trail import read_trail
from edge.verdict import Evaluation, State
from tests.edge.plc.conftest import PATIENCE_S, Start
from tests.edge.plc.vision import Vision


def test_a_gateway_that_starts_before_vision_is_not_ready_and_rejects(start: Start, endpoint: str) -> None:
    line = start()
    line.until("the PLC", lambda: any(x.get("fault") == "plc_lost" and not x["began"] for x in line.lines))
    line.enter(1)
    line.until_ruled(1)
    assert (line.rulings(1), line.sort(1)) == (["NotDecidable"], EJECTED)
    line.until_ready(False)
    with Vision(endpoint) as vision:
        vision.wait_for_subscriber()
        vision.beat()
        line.until_ready()


def test_good_parts_pass_and_bad_ones_are_pushed_out_at_their_moment(start: Start, vision: Vision) -> None:
    line = start()
    vision.wait_for_subscriber()
    vision.beat()
    line.until_ready()
    for number, evaluation in ((1, Evaluation.OK), (2, Evaluation.NOT_OK)):
        line.enter(number)
        vision.judge(number, evaluation)
        line.until_ruled(number)
    line.until("both switches", lambda: sum(x["event"] == "switch" for x in line.lines) == 2)
    assert [line.sort(1), line.sort(2)] == [PASSES, EJECTED]
    assert [x["number"] for x in line.lines if x["event"] == "left"] == [1, 2]
    assert list(line.plc.image.event_coil[: line.plc.image.events]) == [1, 0]


def test_one_of_two_cameras_releases_nothing(start: Start, vision: Vision) -> None:
    line = start(cameras=("top", "side"))
    vision.wait_for_subscriber()
    vision.beat()
    line.until_ready()
    line.enter(1)
    vision.judge(1, camera="top")
    line.until_ruled(1)
    line.enter(2)
    vision.judge(2, camera="side")
    vision.judge(2, camera="top")
    line.until_ruled(2)
    assert (line.rulings(1), line.rulings(2)) == (["NotDecidable"], ["OK"])
    assert [line.sort(1), line.sort(2)] == [EJECTED, PASSES]


@pytest.mark.parametrize("fault", ["gap", "silence", "not_running", "not_decidable"])
def test_what_is_wrong_with_vision_clears_ready_and_goes_without_a_hand(
    start: Start, vision: Vision, fault: str
) -> None:
    line = start()
    vision.wait_for_subscriber()
    vision.beat()
    line.until_ready()
    if fault == "gap":
        vision.judge(1, sent=False)
        vision.judge(2)
    elif fault == "not_running":
        vision.beat(State.DEGRADED)
    elif fault == "not_decidable":
        vision.judge(1, Evaluation.NOT_DECIDABLE)
    line.until_fault(fault)
    vision.beat()
    line.until_ready()


def test_a_frozen_and_a_killed_plc_are_noticed_and_found_again(start: Start, vision: Vision) -> None:
    line = start("lockout_after = 0")
    vision.wait_for_subscriber()
    for stop, go in ((line.plc.freeze, line.plc.thaw), (line.plc.kill, line.plc.start)):
        vision.beat()
        line.until_ready()
        stop()
        line.until_ready(False)
        go()
        line.until_ready()


def test_defective_parts_in_a_row_lock_until_the_operator_resets(start: Start, vision: Vision, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    line = start(f'lockout_after = 1\n[audit]\nfile = "vision.jsonl"\ngateway = "{trail}"')
    vision.wait_for_subscriber()
    vision.beat()
    line.until_ready()
    line.enter(1)
    vision.judge(1, Evaluation.NOT_OK)
    line.until_fault("lockout")
    line.process.send_signal(signal.SIGUSR1)
    vision.beat()
    line.until_ready()
    line.until("the entry", lambda: trail.exists() and read_trail(trail).head.number == 2)
    lockout, reset = read_trail(trail).entries
    assert (lockout.what, lockout.details["reason"]) == ("lockout", "1 defective parts in a row")
    assert (reset.what, reset.who) == ("lockout reset", "SIGUSR1")


def test_a_stop_leaves_the_line_not_ready_and_the_coil_off(start: Start, vision: Vision) -> None:
    line = start()
    vision.wait_for_subscriber()
    vision.beat()
    line.until_ready()
    line.enter(1)
    vision.judge(1, Evaluation.NOT_OK)
    line.until("the coil", lambda: line.plc.image.coil)
    line.process.terminate()
    assert line.process.wait(PATIENCE_S) == 0
    line.plc.scan_once()
    assert line.plc.image.coil == 0


def test_a_job_that_cannot_be_asked_for_clears_ready_and_says_why(start: Start, vision: Vision) -> None:
    line = start()
    vision.wait_for_subscriber()
    vision.beat()
    line.until_ready()
    line.plc.image.job = 1
    line.until_fault("recipe")
    line.plc.image.job = 0
    vision.beat()
    line.until_ready()
