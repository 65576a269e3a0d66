"""Drift: run lengths by design against simulation and Wald's figures, and what alarms on real scores' ranks."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from calibration.drift import PARTS_TO_FALSE_ALARM, Design, Drift, Plan, Watch, average_run_length, design
from engines.bundle import Bundle, Calibration


def run_lengths(test: Design, rate: float, runs: int, seed: int = 0) -> np.ndarray:
    """Parts to an alarm, simulated part by part in `runs` lines side by side."""
    rng = np.random.default_rng(seed)
    sums, lengths = np.zeros(runs), np.zeros(runs)
    running = np.ones(runs, bool)
    while running.any():
        lengths[running] += 1
        sums = np.maximum(sums + np.where(rng.random(runs) < rate, test.hit, test.miss), 0)
        running &= sums < test.limit
    return lengths


@pytest.mark.parametrize(("usual", "raised"), [(0.01, 0.05), (0.02, 0.08), (0.15, 0.3)])
def test_run_lengths_are_those_of_a_simulation(usual: float, raised: float) -> None:
    test = design(usual, raised, 2_000)
    for rate, expected in ((raised, test.parts_to_alarm), (usual, test.parts_to_false_alarm)):
        found = run_lengths(test, rate, 400)
        assert abs(found.mean() - expected) < 5 * found.std() / math.sqrt(len(found)) + 0.05 * expected
    assert 2_000 <= test.parts_to_false_alarm < 2_600


def test_walds_figures_for_one_to_five_percent() -> None:
    # alpha = beta = 0.01: the sequential test takes 109 parts to its alarm; the CUSUM's sum is never below 0: fewer.
    test = Design(0.01, 0.05, math.log(0.99 / 0.01), 0, 0)
    assert test.hit == pytest.approx(1.609, abs=1e-3)
    assert test.miss == pytest.approx(-0.0412, abs=1e-4)
    assert 60 < average_run_length(0.05, test) < 109


@pytest.mark.parametrize("rates", [(0.0, 0.1), (0.1, 0.1), (0.2, 0.1), (0.5, 1.0)])
def test_rates_that_make_no_test_are_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 < usual < raised < 1"):
        design(*rates)


def test_an_alarm_stays_until_the_evidence_is_gone() -> None:
    watch = Watch("rejects", design(0.02, 0.08, 1_000))
    while not watch.alarm:
        watch.count(True)
    assert watch.level == 1.0
    watch.count(False)
    assert watch.alarm
    while watch.level > 0:
        watch.count(False)
    assert not watch.alarm


@pytest.fixture(scope="module")
def calibration(calibrated_bundle: Bundle) -> Calibration:
    """One of 199 scores that follow the bell curve."""
    scores = np.sort(np.random.default_rng(0).normal(size=199)).astype(np.float32)
    one = calibrated_bundle.latest_calibration
    return msgspec.structs.replace(one, scores=tuple(scores.tolist()), threshold=3.0, certified_rate=0.01)


def parts_to(alarm: str, calibration: Calibration, offset: float, most: int, seed: int) -> int:
    drift = Drift(Plan.of(calibration))
    for number, score in enumerate(np.random.default_rng(seed).normal(size=most) + offset, start=1):
        drift.count(score, score > calibration.threshold)
        if alarm in drift.alarms:
            return number
    return most


def test_good_parts_alarm_as_seldom_as_designed(calibration: Calibration) -> None:
    lengths = [parts_to("scores_high", calibration, 0.0, 20_000, seed) for seed in range(6)]
    assert np.mean(lengths) > 12_000
    assert all(
        watch.design.parts_to_false_alarm >= PARTS_TO_FALSE_ALARM for watch in Drift(Plan.of(calibration)).watches
    )


@pytest.mark.parametrize(("alarm", "offset"), [("scores_high", 1.0), ("scores_low", -1.0), ("rejects", 2.5)])
def test_scores_that_move_alarm_within_a_few_dozen_parts(calibration: Calibration, alarm: str, offset: float) -> None:
    lengths = [parts_to(alarm, calibration, offset, 2_000, seed) for seed in range(20)]
    by_design = {watch.name: watch.design.parts_to_alarm for watch in Drift(Plan.of(calibration)).watches}[alarm]
    assert np.mean(lengths) < 1.3 * by_design


def test_guards_are_watched_also_where_there_is_no_score(calibration: Calibration) -> None:
    drift = Drift(Plan.of(calibration))
    names = {guard.name for guard in calibration.guards}
    assert {watch.name for watch in drift.watches} == {"rejects", "scores_high", "scores_low", *names}
    for _ in range(40):
        drift.count(None, False, ("camera_moved",))
    assert drift.alarms == ["camera_moved"]


def test_without_scores_rejects_alone_are_watched(calibration: Calibration) -> None:
    drift = Drift(Plan.of(msgspec.structs.replace(calibration, scores=())))
    drift.count(0.5, False)
    assert [watch.name for watch in drift.watches] == ["rejects"]
    assert drift.alarms == []
