"""Heat maps: one scale, tied to the threshold, placed where the network looked."""

from __future__ import annotations

import numpy as np
import pytest

from engines.page.heat import Scale, in_frame, overlaid
from engines.preprocess import Preprocessing

BLANK = np.zeros((512, 512), np.uint8)
GREY = np.full((512, 512, 3), 128, np.uint8)


def test_scale_puts_quiet_at_zero_and_threshold_at_one() -> None:
    position = Scale(quiet=-0.5, threshold=-0.1).position(np.float32([[-0.5, -0.1, 0.3]]))
    np.testing.assert_allclose(position, [[0, 1, 2]], atol=1e-6)


def test_scale_survives_a_threshold_that_is_not_above_quiet() -> None:
    assert np.isfinite(Scale(0.2, 0.2).position(np.float32([[0.1, 0.3]]))).all()


def test_map_lands_where_the_preprocessing_took_it_from() -> None:
    preprocessing = Preprocessing()
    frame = GREY.copy()
    frame[300:340, 100:140] = 255
    seen = preprocessing(frame)[..., 0].astype(np.float32)
    placed = in_frame(seen, preprocessing, frame.shape)
    rows, columns = np.nonzero(placed > 200)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((300, 339, 100, 139), abs=2)


def test_margin_outside_the_view_is_marked() -> None:
    placed = in_frame(np.zeros((224, 224), np.float32), Preprocessing(), GREY.shape)
    assert np.isnan(placed).mean() == pytest.approx(Preprocessing().unseen_share, abs=0.01)
    picture = overlaid(GREY, placed, BLANK)
    assert picture[2, 2].mean() < 0.6 * picture[256, 256].mean()


@pytest.mark.parametrize(("value", "warm"), [(0.3, False), (0.95, False), (1.2, True), (2.5, True), (9.0, True)])
def test_only_what_is_above_the_threshold_is_warm(value: float, warm: bool) -> None:
    picture = overlaid(GREY, np.full((512, 512), value, np.float32), BLANK)
    blue, _, red = picture[256, 256].astype(int)
    assert bool(red > blue + 20) is warm


def test_same_value_has_the_same_colour_in_every_picture() -> None:
    position = np.full((512, 512), 0.2, np.float32)
    position[250:262, 250:262] = 1.5
    alone = overlaid(GREY, np.full((512, 512), 1.5, np.float32), BLANK)
    np.testing.assert_array_equal(overlaid(GREY, position, BLANK)[256, 256], alone[256, 256])
