from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.lane_plot import Axis, Dot, Lane, lane_plot


def drawn(axis: Axis, *values: float) -> list[float]:
    lanes = [Lane("a < b", [Dot(value, 0, f"{value} & more") for value in values])]
    picture = ElementTree.fromstring(lane_plot(axis, lanes, ("kind",)))
    circles = [element for element in picture.iter() if element.tag.endswith("circle")]
    return [float(circle.get("cx", "")) for circle in circles][1:]  # the first is the key's


def test_dots_lie_where_their_values_are() -> None:
    low, middle, high, beyond = drawn(Axis("seconds", (0, 10), low=0, high=10), 0, 5, 10, 1000)
    assert middle == pytest.approx((low + high) / 2, abs=0.1)
    assert beyond == high


def test_equal_factors_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    one, ten, hundred = drawn(Axis("seconds", (1, 10), low=1, high=100, log=True), 1, 10, 100)
    assert ten - one == pytest.approx(hundred - ten, abs=0.1)
