from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.escapes import Costs, cheapest_threshold, count_escapes, weigh
from engines.errors import CalibrationError

SCORES = st.lists(st.integers(0, 30), min_size=1, max_size=40).map(lambda values: np.asarray(values, np.float32))


@given(good=SCORES, defects=SCORES, escape=st.floats(0.1, 100), rate=st.floats(0.001, 0.5))
def test_no_other_threshold_costs_less(good: np.ndarray, defects: np.ndarray, escape: float, rate: float) -> None:
    def cost(threshold: float) -> float:
        return (1 - rate) * float(np.mean(good > threshold)) + escape * rate * float(np.mean(defects <= threshold))

    found = cheapest_threshold(good, defects, Costs(escape, rate))
    candidates = [*good, *defects]
    assert cost(found) <= min(map(cost, candidates)) * (1 + 1e-9) + 1e-12


def test_the_cap_on_false_rejects_holds_and_its_price_is_told() -> None:
    good = np.arange(100, dtype=np.float32)
    defects = np.repeat(np.float32([90, 90, 300, 300]), 5)
    chosen, escapes = weigh(good, defects, 99.0, Costs(1000, 0.5))
    assert chosen == 99.0
    assert escapes.cheapest is not None
    assert escapes.cheapest < 90
    assert (escapes.parts, escapes.escaped, escapes.escaped_at_cheapest) == (10, 5, 0)


def test_costs_may_raise_the_threshold() -> None:
    good = np.arange(100, dtype=np.float32)
    chosen, escapes = weigh(good, np.full(6, 200, np.float32), 95.0, Costs(1, 0.01))
    assert chosen == escapes.cheapest == 99.0
    assert escapes.escaped == 0


def test_without_costs_every_defect_counts() -> None:
    chosen, escapes = weigh(np.ones(3, np.float32), np.arange(20, dtype=np.float32) + 2, 1.0, None)
    assert chosen == 1.0
    assert (escapes.parts, escapes.escaped, escapes.cheapest) == (20, 0, None)
    assert escapes.interval[1] == pytest.approx(1 - 0.025 ** (1 / 20))


def test_a_defect_that_scores_the_threshold_passes() -> None:
    assert count_escapes(np.float32([0.1]), float(np.float32(0.1))).escaped == 1


@pytest.mark.parametrize("costs", [Costs(0, 0.1), Costs(10, 0), Costs(10, 1), Costs(-1, 0.5)])
def test_costs_that_make_no_sense_are_refused(costs: Costs) -> None:
    with pytest.raises(CalibrationError, match="expected an escape to cost more than 0"):
        weigh(np.ones(3, np.float32), np.ones(3, np.float32), 1.0, costs)


def test_one_defect_cannot_both_choose_and_count() -> None:
    with pytest.raises(CalibrationError, match="at least 2 defects"):
        weigh(np.ones(3, np.float32), np.ones(1, np.float32), 1.0, Costs(10, 0.1))
