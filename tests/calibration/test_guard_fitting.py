"""Fitting guards: the Gaussian against scikit-learn's, what is certified, and a guard that cannot see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.guard_fitting import (
    FEWEST_PARTS,
    Witness,
    enlarged,
    fit_gaussian,
    fit_guards,
    fit_model,
    shifted,
    witness,
)
from calibration.guards import GUARDS, look_at
from engines.errors import CalibrationError

Frame = NDArray[np.uint8]


def embedded(frame: Frame) -> NDArray[np.float32]:
    """A stand-in for a network's embedding: mean and deviation of 32 cells."""
    cells = cv2.resize(frame, (4, 8), interpolation=cv2.INTER_AREA)[:, :, 1].astype(np.float32)
    return np.concatenate([cells.ravel(), cells.std(axis=1)])


def witness_of(frame: Frame) -> Witness:
    return replace(witness(frame, embedded(frame)), other=embedded(enlarged(frame)))


@pytest.fixture(scope="module")
def witnesses(render_part: Callable[..., Frame]) -> list[Witness]:
    parts = [cv2.resize(render_part(seed), (128, 128)) for seed in range(600, 640)]
    return [witness_of(part) for part in parts]


@pytest.mark.parametrize(("count", "size"), [(20, 60), (60, 60), (65, 384), (300, 40)])
def test_the_gaussian_is_that_of_ledoit_and_wolf(count: int, size: int) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(count)
    embeddings = (rng.normal(size=(count, 8)) @ rng.normal(size=(8, size)) + rng.normal(size=(count, size))).astype(
        np.float32
    )
    mean, axes, variances, rest = fit_gaussian(embeddings)
    expected = covariance.LedoitWolf().fit(embeddings.astype(np.float64))
    # All of the covariance is kept, since there are no more axes than that.
    found = axes.T @ np.diag(variances - rest[0]) @ axes + rest[0] * np.eye(size)
    np.testing.assert_allclose(mean, expected.location_, atol=1e-5)
    np.testing.assert_allclose(found, expected.covariance_, atol=1e-4 * np.abs(expected.covariance_).max())
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-5)


def test_identical_embeddings_do_not_divide_by_zero() -> None:
    model = fit_gaussian(np.ones((20, 5), np.float32))
    assert all(np.isfinite(array).all() for array in model)


def test_rates_are_shared_out_and_certified_as_far_as_the_parts_go(witnesses: list[Witness]) -> None:
    guards = fit_guards(witnesses, 0.01).guards
    assert [guard.name for guard in guards] == list(GUARDS)
    assert [guard.false_alarm_rate for guard in guards] == pytest.approx([1 / 41] * len(GUARDS))
    roomy = fit_guards(witnesses, 6 * 5.01 / 41).guards
    assert [guard.false_alarm_rate for guard in roomy] == pytest.approx([5 / 41] * len(GUARDS))
    by_name = {guard.name: guard for guard in guards}
    assert by_name["camera_moved"].armed
    assert by_name["under_exposed"].seen == 1.0


def test_a_shift_is_measured_in_shares_of_the_picture(
    witnesses: list[Witness], render_part: Callable[..., Frame]
) -> None:
    model = fit_model(witnesses)
    part = cv2.resize(render_part(700), (128, 128))
    for right, down in ((0.05, 0.0), (0.0, -0.05), (0.03, 0.03)):
        look = look_at(shifted(part, right, down))
        found = look.place @ model.shift_weights + model.shift_offset
        np.testing.assert_allclose(found, (right, down), atol=0.02)


def test_parts_in_any_place_leave_the_guard_of_the_camera_off(render_part: Callable[..., Frame]) -> None:
    rng = np.random.default_rng(0)
    parts = []
    for seed in range(40):
        frame = cv2.resize(render_part(seed), (128, 128))
        parts.append(shifted(frame, *rng.uniform(-0.25, 0.25, 2)))
    guards = {guard.name: guard for guard in fit_guards([witness_of(part) for part in parts], 0.01).guards}
    assert guards["camera_moved"].seen < 0.25
    assert not guards["camera_moved"].armed
    assert guards["under_exposed"].armed


def test_too_few_parts_are_refused(witnesses: list[Witness]) -> None:
    with pytest.raises(CalibrationError, match=f"at least {FEWEST_PARTS} good parts"):
        fit_guards(witnesses[: FEWEST_PARTS - 1], 0.01)
