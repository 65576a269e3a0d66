"""Control charts at work: a fault that hides in one part is found, named, held, and let go when it is over."""

from __future__ import annotations

import numpy as np
import pytest

from calibration.charts import CHARTED, WINDOWS, ControlChart, ControlCharts, deviation
from engines.bundle import Chart, Guard

PLACE = Chart(
    centre=(0.01, 0.0),
    spread=(0.02, 0.02),
    units=(0.04, 0.02),
    farthest=4.0,
    limits=(2.6, 1.9, 1.4, 1.05),
)


def place_chart() -> ControlChart:
    return ControlChart("camera_moved", PLACE)


def count(chart: ControlChart, parts: int, right: float, seed: int = 0, spread: float = 0.02) -> list[str]:
    """What the chart says after each of some parts that lie so far to the right, and up to a few spreads beside."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(parts):
        chart.count(chart.standardise(np.asarray((0.01 + right, 0.0)) + rng.normal(0, spread, 2)))
        said.append(chart.objection)
    return said


def test_parts_that_lie_anywhere_are_good_and_a_shift_by_their_spread_is_not() -> None:
    chart = place_chart()
    assert not any(count(chart, 300, 0.0))
    said = count(chart, 40, 0.03)
    assert said[3] == ""
    assert said[-1]
    assert all(said[next(place for place, reason in enumerate(said) if reason) :])


def test_a_large_shift_is_found_by_a_short_window() -> None:
    chart = place_chart()
    count(chart, 32, 0.0)
    said = count(chart, 8, 0.08)
    assert 2 <= sum(not reason for reason in said) <= 4
    assert chart.window in WINDOWS[:2]


def test_nothing_is_said_of_a_window_that_is_not_full() -> None:
    assert [bool(reason) for reason in count(place_chart(), 5, 0.08)] == [False, False, False, True, True]


def test_one_wild_part_is_no_alarm() -> None:
    chart = place_chart()
    count(chart, 32, 0.0)
    assert not any(count(chart, 1, 1e6))
    assert not any(count(chart, 32, 0.0, seed=1))


def test_the_alarm_stays_until_the_window_is_good_again_and_what_was_before_is_forgotten() -> None:
    chart = place_chart()
    count(chart, 32, 0.0)
    assert all(count(chart, 60, 0.06)[20:])
    said = count(chart, 60, 0.0, seed=3)
    clear = said.index("")
    assert 1 <= clear <= 2 * WINDOWS[-1]
    assert not any(said[clear:])


@pytest.mark.parametrize(
    ("guard", "chart", "numbers", "words"),
    [
        ("camera_moved", PLACE, (0.09, 0.0), "over the last 4 parts the part lies 16.0% of the picture right of its"),
        (
            "camera_moved",
            PLACE,
            (-0.07, 0.0),
            "16.0% of the picture left of its usual place (limit 10.4%): look at the",
        ),
        ("camera_moved", PLACE, (0.01, 0.07), "7.0% of the picture below its usual place (limit 5.2%)"),
        ("camera_moved", PLACE, (0.01, -0.07), "7.0% of the picture above its usual place"),
        (
            "light_changed",
            Chart((0.0,), (0.1,), (0.1,), 10.0, (5.0, 5.0, 5.0, 5.0)),
            (-0.9,),
            "the pictures are 0.9 stops darker than those of good parts (limit 0.5): look at light and exposure",
        ),
        (
            "blurred",
            Chart((0.0,) * 4, (0.5,) * 4, (0.5,) * 4, 4.0, (1.0, 1.0, 1.0, 1.0)),
            (0.0, 0.6931, 0.0, -5.0),
            "a part of the picture has 1/2 of the usual detail (limit 1/1.6): look at the lens",
        ),
    ],
)
def test_the_reason_names_window_side_and_limit(guard: str, chart: Chart, numbers: tuple, words: str) -> None:
    running = ControlChart(guard, chart)
    for _ in range(4):
        running.count(running.standardise(numbers))
    assert running.objection.startswith(f"guard {guard}: over the last 4 parts ")
    assert words in running.objection


def test_a_sharper_picture_is_no_blur_and_both_ways_of_light_count() -> None:
    assert deviation("blurred", np.asarray([[-3.0, -2.0, -3.0, -3.0]])) == pytest.approx([-2.0])
    assert deviation("light_changed", np.asarray([[-3.0]])) == pytest.approx([3.0])
    assert deviation("camera_moved", np.asarray([[3.0, 4.0]])) == pytest.approx([5.0])


def test_the_same_picture_again_is_no_other_part() -> None:
    guards = [Guard("camera_moved", 1.0, 0.01, "a shift", 0.1, False, 1.0, PLACE), Guard("x", 1, 0, "", 0, False, 1)]
    charts = ControlCharts(guards)
    assert [chart.guard for chart in charts.charts] == ["camera_moved"]
    for _ in range(50):
        charts.count({"camera_moved": (0.09, 0.0)})
    assert charts.objection == ""
    for place in (0.07, 0.08, 0.06, 0.075):
        charts.count({"camera_moved": (place, 0.0)})
    assert charts.objection.startswith("guard camera_moved: ")


def test_without_charts_nothing_is_said() -> None:
    charts = ControlCharts([])
    charts.count({guard: np.zeros(1) for guard in CHARTED})
    assert charts.objection == ""
