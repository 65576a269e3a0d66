from __future__ import annotations

import msgspec
import pytest

from edge.plc.jobs import JobKeeper
from edge.requests import RecipeRequest
from edge.verdict import CameraStatus, Counters, Heartbeat, State
from tests.edge.messages import beat, verdict

JOBS = {1: "flange", 2: "plate"}


def keeper() -> JobKeeper:
    return JobKeeper(JOBS, ["top", "side"])


def judged_by(**recipes: str) -> Heartbeat:
    cameras = {
        name: CameraStatus(
            state=State.RUNNING,
            state_s=0.0,
            reason="",
            counters=Counters(),
            recipe=recipe,
            bundle_digest="",
            engine="",
            precision="",
        )
        for name, recipe in recipes.items()
    }
    return msgspec.structs.replace(beat(0), cameras=cameras)


def test_nothing_wanted_nothing_asked() -> None:
    jobs = keeper()
    jobs.hear(judged_by(top="flange", side="flange", other="plate"))
    assert (jobs.problem, jobs.request(0.0), jobs.active) == ("", None, 1)
    assert jobs.fits(verdict(1))


def test_vision_is_asked_until_every_camera_has_the_recipe() -> None:
    jobs = keeper()
    jobs.hear(judged_by(top="flange", side="flange"))
    jobs.want(2)
    assert jobs.problem == "vision changes to the recipe plate"
    assert jobs.request(0.0) == RecipeRequest(recipe="plate", request_id="recipe", asked_by="PLC, job 2")
    assert jobs.request(1.9) is None
    jobs.hear(judged_by(top="plate", side="flange"))
    assert jobs.active == 0
    assert jobs.request(2.0) is not None
    jobs.hear(judged_by(top="plate", side="plate"))
    assert (jobs.problem, jobs.request(9.0), jobs.active) == ("", None, 2)


def test_vision_that_started_anew_is_asked_again() -> None:
    jobs = keeper()
    jobs.want(2)
    jobs.hear(judged_by(top="plate", side="plate"))
    jobs.hear(judged_by(top="flange", side="flange"))
    assert jobs.request(5.0) is not None


@pytest.mark.parametrize(
    ("job", "problem"), [(9, "no recipe of the station file has the job 9"), (2, "no such bundle")]
)
def test_what_cannot_be_done_is_said(job: int, problem: str) -> None:
    jobs = keeper()
    jobs.hear(judged_by(top="flange", side="flange"))
    jobs.want(job)
    if job == 2:
        jobs.refuse("no such bundle")
    assert jobs.problem == problem
    jobs.want(1)
    assert jobs.problem == ""


def test_a_verdict_by_another_recipe_does_not_fit() -> None:
    jobs = keeper()
    jobs.want(2)
    assert not jobs.fits(msgspec.structs.replace(verdict(1), recipe="flange"))
    assert jobs.fits(msgspec.structs.replace(verdict(1), recipe="plate"))
