"""Severity: three measures of every rejected part, and grades that labelled parts have earned."""

from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.labels import read_labels
from calibration.severity import (
    GRADES,
    Exceedance,
    concordance_index,
    fit_scale,
    fits,
    grade,
    kendall_tau_b,
    measure_exceedance,
)
from engines.bundle import Bundle, Calibration, SeverityScale
from engines.cli import main
from engines.errors import CalibrationError, DataError

measures = st.floats(0, 1e6)
exceedances = st.builds(Exceedance, measures, measures, measures)


@pytest.fixture(scope="module")
def calibration(calibrated_bundle: Bundle) -> Calibration:
    return calibrated_bundle.latest_calibration


@pytest.fixture(scope="module")
def graded() -> tuple[list[Exceedance], list[str]]:
    """30 parts whose area grows with the grade, within a factor of two; the other two measures say little."""
    rng = np.random.default_rng(0)
    order = np.arange(30) % 3
    areas = 0.002 * 10.0**order * rng.uniform(0.7, 1.4, 30)
    parts = [Exceedance(float(rng.uniform(1, 2)), float(area), float(rng.uniform(0, 1))) for area in areas]
    return parts, [GRADES[index] for index in order]


@pytest.fixture(scope="module")
def scale(graded: tuple[list[Exceedance], list[str]], calibration: Calibration) -> SeverityScale:
    return fit_scale(*graded, calibration)


def test_measures_of_a_map() -> None:
    anomaly_map = np.zeros((10, 10), np.float32)
    anomaly_map[2:4, 5:8] = 3
    assert measure_exceedance(2.5, anomaly_map, 1.5, 1.0) == Exceedance(1.0, 0.06, pytest.approx(0.12))
    assert measure_exceedance(1.0, anomaly_map, 1.5, 4.0) == Exceedance(0.0, 0.0, 0.0)


def test_without_labels_there_is_no_grade() -> None:
    assert grade(Exceedance(9.0, 0.9, 9.0), None) == "uncalibrated"


def test_grades_that_the_measures_explain(
    graded: tuple[list[Exceedance], list[str]], scale: SeverityScale, calibration: Calibration
) -> None:
    assert scale.concordance > 0.97
    assert scale.tau_b > 0.8
    assert scale.labels == {"minor": 10, "major": 10, "critical": 10}
    right = [grade(part, scale) == label for part, label in zip(*graded, strict=True)]
    assert np.mean(right) > 0.9
    assert fits(scale, calibration)
    assert not fits(scale, msgspec.structs.replace(calibration, threshold=calibration.threshold + 1))
    assert not fits(None, calibration)


@settings(deadline=None)
@given(part=exceedances, more=exceedances)
def test_more_of_any_measure_never_lowers_the_grade(scale: SeverityScale, part: Exceedance, more: Exceedance) -> None:
    larger = Exceedance(part.peak + more.peak, part.area + more.area, part.integrated + more.integrated)
    assert GRADES.index(grade(larger, scale)) >= GRADES.index(grade(part, scale))


def test_labels_that_the_measures_do_not_explain_are_refused(
    graded: tuple[list[Exceedance], list[str]], calibration: Calibration
) -> None:
    labels = np.random.default_rng(1).permutation(graded[1]).tolist()
    with pytest.raises(CalibrationError, match="stays uncalibrated"):
        fit_scale(graded[0], labels, calibration)
    with pytest.raises(CalibrationError, match="stays uncalibrated"):
        fit_scale([Exceedance(1.0, 0.1, 1.0)] * 30, graded[1], calibration)


@pytest.mark.parametrize("labels", [[], ["minor"] * 30, ["minor"] * 27 + ["major"] * 3, ["minor"] * 5 + ["major"] * 5])
def test_too_few_labels_are_refused(labels: list[str], calibration: Calibration) -> None:
    with pytest.raises(CalibrationError, match="at least 12 graded parts"):
        fit_scale([Exceedance(1.0, 0.1, 1.0)] * len(labels), labels, calibration)


def test_two_grades_are_enough(graded: tuple[list[Exceedance], list[str]], calibration: Calibration) -> None:
    some = [(part, label) for part, label in zip(*graded, strict=True) if label != "major"]
    scale = fit_scale([part for part, _ in some], [label for _, label in some], calibration)
    assert scale.grades == ("minor", "critical")
    assert {grade(part, scale) for part, _ in some} == {"minor", "critical"}


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlations_against_independent_ones(seed: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    values, order = rng.integers(0, 6, 25).astype(float), rng.integers(0, 3, 25)
    assert kendall_tau_b(values, order) == pytest.approx(stats.kendalltau(values, order).statistic)
    # With two grades the concordance index is the area under the ROC curve.
    assert concordance_index(values, order > 0) == pytest.approx(metrics.roc_auc_score(order > 0, values))


def test_orders_that_cannot_be_compared_are_not_a_number() -> None:
    assert np.isnan(kendall_tau_b([1, 1], [0, 1]))
    assert np.isnan(concordance_index([1, 2], [0, 0]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns"),
        ("image,other\na.png,minor\n", "expected the columns"),
        ("image,grade\na.png,bad\n", "line 2: expected a grade out of minor, major, critical, found 'bad'"),
        ("image,grade\na.png,minor\na.png,major\n", "graded twice"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "graded.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "graded.csv", GRADES)


def test_the_command_grades_by_the_size_of_a_defect(
    tmp_path: Path,
    calibrated_bundle: Bundle,
    bundle_copy: object,
    render_part: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = ["image,grade"]
    for index in range(12):
        image = render_part(300 + index)  # type: ignore[operator]
        cv2.circle(image, (60 + index, 60), (3, 12)[index % 2], (235, 235, 235), -1)
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
        lines.append(f"{index}.png,{('minor', 'critical')[index % 2]}")
    (tmp_path / "graded.csv").write_text("\n".join(lines))
    bundle: Bundle = bundle_copy(calibrated_bundle)  # type: ignore[operator]
    assert main(["grade", "--bundle", str(bundle.path), "--labels", str(tmp_path / "graded.csv")]) == 0
    assert "concordance index 1.00" in capsys.readouterr().out
    scale = Bundle.open(bundle.path).info.severity
    assert scale is not None
    assert fits(scale, bundle.latest_calibration)
