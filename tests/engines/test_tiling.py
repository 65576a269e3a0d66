"""Tiles cover the picture, and their maps become one map of it."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.tiling import MOST_TILES, Tiling

grids = st.tuples(st.integers(1, 8), st.integers(1, 8)).filter(lambda grid: grid != (1, 1))
tilings = st.builds(lambda grid, overlap: Tiling(*grid, overlap), grids, st.floats(0, 0.5))
sides = st.sampled_from([16, 64, 128, 224, 256])


@given(tilings, sides)
def test_every_pixel_lies_in_a_tile_and_every_tile_in_the_picture(tiling: Tiling, side: int) -> None:
    seen = np.zeros(tiling.shape(side), np.int64)
    for top, left in tiling.corners(side):
        assert top >= 0
        assert left >= 0
        assert seen[top : top + side, left : left + side].shape == (side, side)
        seen[top : top + side, left : left + side] += 1
    assert seen.min() >= 1
    assert len(tiling.corners(side)) == len(tiling) == len(set(tiling.corners(side)))


@given(tilings, sides)
def test_neighbours_share_what_the_overlap_says(tiling: Tiling, side: int) -> None:
    tops = sorted({top for top, _ in tiling.corners(side)})
    for above, below in itertools.pairwise(tops):
        assert above + side - below == pytest.approx(tiling.overlap * side, abs=0.5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 3), st.floats(0, 0.5))
def test_each_pixel_of_the_stitched_map_is_the_largest_of_the_tiles_that_see_it(
    seed: int, rows: int, columns: int, overlap: float
) -> None:
    tiling, side = Tiling(rows, columns, overlap), 16
    maps = np.random.default_rng(seed).normal(size=(len(tiling), side, side)).astype(np.float32)
    found = tiling.stitch(maps)
    for y, x in np.ndindex(found.shape):
        values = [
            tile[y - top, x - left]
            for tile, (top, left) in zip(maps, tiling.corners(side), strict=True)
            if 0 <= y - top < side and 0 <= x - left < side
        ]
        assert found[y, x] == max(values)
    assert found.max() == maps.max()


@given(tilings)
def test_cutting_and_stitching_gives_the_picture_back(tiling: Tiling) -> None:
    picture = np.random.default_rng(0).integers(0, 256, tiling.shape(16), np.uint8)
    np.testing.assert_array_equal(tiling.stitch(tiling.cut(picture, 16).astype(np.float32)), picture)


def test_what_is_no_number_stays_none() -> None:
    maps = np.zeros((2, 16, 16), np.float32)
    maps[0, 3, 15] = np.nan
    assert np.isnan(Tiling(1, 2, 0.5).stitch(maps)).sum() == 1


@pytest.mark.parametrize(
    ("rows", "columns", "overlap", "words"),
    [
        (1, 1, 0.1, f"expected rows x columns of 2 to {MOST_TILES} tiles, found 1x1"),
        (0, 3, 0.1, "found 0x3"),
        (-2, -3, 0.1, "found -2x-3"),
        (9, 8, 0.1, "found 9x8"),
        (2, 2, -0.1, "expected an overlap of 0 to 0.5 of a tile's side, found -0.1"),
        (2, 2, 0.6, "found 0.6"),
        (2, 2, float("nan"), "found nan"),
    ],
)
def test_a_tiling_that_makes_no_sense_is_refused(rows: int, columns: int, overlap: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Tiling(rows, columns, overlap)


def test_it_is_refused_in_json_too() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"found 0\.9"):
        msgspec.json.decode(b'{"rows":2,"columns":2,"overlap":0.9}', type=Tiling)
