"""How many frames side by side: what is tried, and which one is taken."""

from __future__ import annotations

import os

import numpy as np
import pytest

from engines.bundle import Bundle
from engines.registry import open_engine
from engines.tuning import best_in_flight, candidates, choose, frame_rate


@pytest.mark.parametrize(
    ("cores", "tried"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])]
)
def test_powers_of_two_and_the_cores_are_tried(cores: int, tried: list[int]) -> None:
    assert candidates(cores) == tried


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [({1: 100.0}, 1), ({1: 100.0, 2: 103.0}, 1), ({1: 100.0, 2: 130.0}, 2), ({1: 60.0, 2: 98.0, 4: 100.0}, 2)],
)
def test_more_side_by_side_must_be_worth_it(rates: dict[int, float], chosen: int) -> None:
    assert choose(rates) == chosen


def test_it_is_measured_on_this_machine(uncalibrated_bundle: Bundle) -> None:
    chosen, finding = best_in_flight(uncalibrated_bundle, "onnxruntime", "f32")
    assert chosen in candidates(len(os.sched_getaffinity(0)))
    assert finding.startswith(f"{chosen} in flight (")
    assert "frames/s with 1" in finding


def test_no_request_is_left_behind(uncalibrated_bundle: Bundle) -> None:
    with open_engine(uncalibrated_bundle, "onnxruntime", "f32", 2) as engine:
        assert frame_rate(engine, seconds=0.05) > 0
        frame = np.full((1, engine.input_size, engine.input_size, 3), 127, np.uint8)
        outstanding = [engine.submit(frame) for _ in range(3)]
        assert [len(pending.result().scores) for pending in outstanding] == [1, 1, 1]
