from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calibration.lots import Lots


def shifted(rng: np.random.Generator, lots: int, size: int, between: float) -> tuple[np.ndarray, list[str]]:
    scores = rng.normal(size=(lots, size)) + between * rng.normal(size=(lots, 1))
    return scores.ravel().astype(np.float32), [f"lot {lot}" for lot in range(lots) for _ in range(size)]


@pytest.mark.parametrize(("between", "expected"), [(0.0, 1000), (1.0, 50 * 20 / (1 + 19 * 0.5)), (30.0, 50)])
def test_effective_parts_lie_between_the_lots_and_the_parts(between: float, expected: float) -> None:
    found = [Lots.of(*shifted(np.random.default_rng(seed), 50, 20, between)).effective_parts for seed in range(20)]
    assert np.mean(found) == pytest.approx(expected, rel=0.1)


def test_one_lot_counts_as_one_part_and_unknown_lots_as_all() -> None:
    scores = np.arange(5, dtype=np.float32)
    assert Lots.of(scores, ["a"] * 5).effective_parts == 1
    assert Lots.of(scores).effective_parts == 5
    assert Lots.of(scores, list("abcde")).effective_parts == 5


@given(
    scores=st.lists(st.integers(0, 50), min_size=1, max_size=40),
    seed=st.integers(0, 99),
    weight=st.fractions(-1, 12),
)
def test_no_more_than_the_weight_lies_above(scores: list[int], seed: int, weight: Fraction) -> None:
    array = np.asarray(scores, np.float32)
    names = np.random.default_rng(seed).integers(0, 6, len(scores)).astype(str).tolist()
    value, above = Lots.of(array, names).leave_above(weight)
    sizes = {name: names.count(name) for name in names}
    found = sum(1 / sizes[name] for name, score in zip(names, array, strict=True) if score > value)
    assert found <= above + 1e-9
    assert above <= max(float(weight), 0) + 1e-9
    assert value in array


@given(seed=st.integers(0, 99))
def test_lots_are_drawn_whole_and_twice_is_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = np.arange(12, dtype=np.float32)
    names = ["a", "a", "b", "b", "b", "c", "c", "c", "c", "d", "d", "d"]
    again = Lots.of(scores, names).resampled(rng)
    assert again.count == 4
    parts = sorted(tuple(again.scores[again.lot == lot].tolist()) for lot in range(4))
    whole = {(0.0, 1.0), (2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0), (9.0, 10.0, 11.0)}
    assert set(parts) <= whole


def test_maxima_are_one_a_lot() -> None:
    lots = Lots.of(np.asarray([3, 1, 2, 9], np.float32), ["a", "b", "a", "b"])
    assert lots.maxima.tolist() == [3, 9]
