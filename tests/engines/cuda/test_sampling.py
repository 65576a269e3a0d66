"""Which pixels an input pixel is made of."""

from __future__ import annotations

import numpy as np
import pytest

from engines.cuda.sampling import TAP, find_sampling, is_known
from engines.errors import DataError
from engines.preprocess import Preprocessing, halvings
from engines.tiling import Tiling


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((512, 512), []),
        ((513, 512), [(True, True)]),
        ((1024, 1280), [(True, True), (True, True)]),
        ((300, 2056), [(False, True), (False, True), (False, True)]),
        ((1023, 513), [(True, True)]),
        ((4000, 600), [(True, True), (True, False), (True, False)]),
    ],
)
def test_halvings(shape: tuple[int, int], steps: list[tuple[bool, bool]]) -> None:
    assert halvings(shape, (256, 256)) == steps
    found = find_sampling(Preprocessing(), shape)
    assert found.halvings == len(steps)
    for number, (down, across) in enumerate(steps):
        assert (found.halved_down >> number & 1, found.halved_across >> number & 1) == (down, across)


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (256, 256), (1024, 1280, 3), (77, 8000, 1)])
@pytest.mark.parametrize("preprocessing", [Preprocessing(), Preprocessing(field="full"), Preprocessing(crop=96)])
def test_taps_stay_within_the_halved_picture(shape: tuple[int, ...], preprocessing: Preprocessing) -> None:
    found = find_sampling(preprocessing, shape)
    assert found.taps.dtype == TAP
    assert found.taps.shape == (2 * preprocessing.input_size,)
    halved = shape[1] >> found.halved_across.bit_count(), shape[0] >> found.halved_down.bit_count()
    for side, taps in zip(halved, np.split(found.taps, 2), strict=True):
        for name in ("first", "second"):
            assert taps[name].min() >= 0
            assert taps[name].max() < side
        assert (np.diff(taps["first"]) >= 0).all()
        assert taps["share"].min() >= 0
        assert taps["share"].max() <= 2048


def test_the_region_is_where_it_was_asked_for() -> None:
    found = find_sampling(Preprocessing(roi=(20, 10, 300, 200)), (480, 640, 3))
    assert (found.left, found.top, found.channels) == (20, 10, 3)


def test_a_region_outside_is_refused() -> None:
    with pytest.raises(DataError, match="does not lie inside the 640x480 frame"):
        find_sampling(Preprocessing(roi=(600, 0, 100, 100)), (480, 640))


def test_the_kernel_says_what_it_knows() -> None:
    assert is_known(Preprocessing())
    assert is_known(Preprocessing(field="full", resize=320, roi=(1, 2, 30, 40)))
    assert not is_known(Preprocessing(tiles=Tiling(2, 2)))
