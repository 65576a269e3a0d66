"""The one way from a frame to the network's input."""

from __future__ import annotations

from typing import Literal

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.errors import DataError
from engines.preprocess import Grid, Preprocessing, _resize
from engines.tiling import Tiling


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("preprocessing", "size", "unseen"),
    [
        (Preprocessing(), 224, 1 - (224 / 256) ** 2),
        (Preprocessing(field="full"), 256, 0.0),
        (Preprocessing(resize=320, crop=160), 160, 0.75),
        (Preprocessing(field="full", resize=128), 128, 0.0),
    ],
)
def test_size_and_unseen_share(preprocessing: Preprocessing, size: int, unseen: float) -> None:
    assert preprocessing.input_size == size
    assert preprocessing.unseen_share == pytest.approx(unseen)
    assert preprocessing(noise(300, 400, 3)).shape == (size, size, 3)


def test_the_crop_is_the_centre_of_the_full_field() -> None:
    frame = noise(300, 400, 3)
    full = Preprocessing(field="full")(frame)
    np.testing.assert_array_equal(Preprocessing()(frame), full[16:240, 16:240])


def test_blue_green_red_becomes_red_green_blue() -> None:
    frame = np.broadcast_to(np.array([10, 20, 30], np.uint8), (256, 256, 3))
    np.testing.assert_array_equal(Preprocessing()(frame)[0, 0], [30, 20, 10])


@pytest.mark.parametrize("shape", [(256, 256), (256, 256, 1)])
def test_grey_becomes_three_equal_channels(shape: tuple[int, ...]) -> None:
    frame = noise(*shape)
    found = Preprocessing(field="full")(frame)
    for channel in range(3):
        np.testing.assert_array_equal(found[:, :, channel], frame.reshape(256, 256))


@pytest.mark.parametrize("shape", [(256, 256, 3), (100, 120, 3), (512, 512, 3), (300, 512)])
def test_a_weak_shrink_is_bilinear(shape: tuple[int, ...]) -> None:
    frame = noise(*shape)
    resized = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_LINEAR)
    expected = cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB if frame.ndim == 2 else cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(Preprocessing(field="full")(frame), expected)


@pytest.mark.parametrize(
    "shape", [(1024, 1280, 3), (1080, 1920), (513, 300, 3), (517, 1000), (3000, 300), (2048, 2448)]
)
def test_a_strong_shrink_sees_what_averaged_areas_see(shape: tuple[int, ...]) -> None:
    frame = cv2.GaussianBlur(noise(*shape), (0, 0), 24)
    expected = cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA)
    found = Preprocessing(field="full")(frame)[:, :, 0]
    truth = expected if expected.ndim == 2 else expected[:, :, 2]
    assert np.abs(found.astype(int) - truth).max() <= 2


@pytest.mark.parametrize(
    "shape",
    [
        (1024, 1280, 3),
        (1080, 1920),
        (1200, 1920, 3),
        (2048, 2448),
        (2048, 2560),
        (600, 752, 3),
        (517, 1000),
        (512, 512),
        (128, 128),
        (128, 512, 3),
        (2048, 64),
    ],
)
@pytest.mark.parametrize("crop", [224, 223, 128])
def test_cropping_first_changes_nothing(shape: tuple[int, ...], crop: int) -> None:
    frame = noise(*shape)
    margin = (256 - crop) // 2
    expected = Preprocessing(field="full")(frame)[margin : margin + crop, margin : margin + crop]
    np.testing.assert_array_equal(Preprocessing(crop=crop)(frame), expected)


@pytest.mark.parametrize("shape", [(1024, 1280), (1080, 1920), (2048, 2448)])
def test_every_pixel_counts_alike(shape: tuple[int, int]) -> None:
    """The mean of pure noise survives to a tenth of a grey level: no row or column weighs more than others."""
    frame = noise(*shape)
    assert Preprocessing(field="full")(frame).mean() == pytest.approx(frame.mean(), abs=0.6)
    lines = np.zeros(shape, np.uint8)
    lines[:, 7::97] = 255
    assert Preprocessing(field="full")(lines).mean() == pytest.approx(lines.mean(), rel=0.3)


def test_a_single_bright_pixel_survives_any_shrink() -> None:
    """Bilinear sampling alone loses it, and a thin scratch with it."""
    frame = np.zeros((2048, 2048), np.uint8)
    frame[1023, 1021] = 255
    assert Preprocessing(field="full")(frame).max() > 0


def test_the_region_of_interest_is_cut_first() -> None:
    frame = noise(300, 400, 3)
    found = Preprocessing(field="full", roi=(20, 10, 256, 256))(frame)
    np.testing.assert_array_equal(found, frame[10:266, 20:276, ::-1])


def test_the_region_may_fill_the_frame() -> None:
    assert Preprocessing(roi=(0, 0, 400, 300))(noise(300, 400, 3)).shape == (224, 224, 3)


@pytest.mark.parametrize(
    "roi", [(-1, 0, 10, 10), (0, -1, 10, 10), (0, 0, 0, 10), (0, 0, 10, 0), (391, 0, 10, 10), (0, 291, 10, 10)]
)
def test_a_region_outside_the_frame_is_refused(roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(DataError, match="does not lie inside the 400x300 frame; correct `roi`"):
        Preprocessing(roi=roi)(noise(300, 400, 3))


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((300, 400, 3), np.uint16),
        np.zeros((300, 400, 3), np.float32),
        np.zeros((300, 400, 4), np.uint8),
        np.zeros((300, 400, 2), np.uint8),
        np.zeros((1, 300, 400, 3), np.uint8),
        np.zeros(300, np.uint8),
        np.zeros((0, 400, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused(frame: NDArray) -> None:
    with pytest.raises(DataError, match=r"expected a uint8 frame of shape \(H, W\) or \(H, W, 3\), found"):
        Preprocessing()(frame)


def test_masks_follow_the_same_way() -> None:
    """The defect's pixel lands where the frame's pixel does, and nothing is interpolated."""
    mask = np.zeros((512, 512), np.uint8)
    mask[200:260, 300:380] = 255
    preprocessing = Preprocessing(roi=(0, 0, 512, 512))
    found = preprocessing.mask(mask)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, preprocessing(mask)[:, :, 0] > 127)


@pytest.mark.parametrize("field", ["full", "crop"])
def test_with_tiles_it_is_one_larger_resize(field: Literal["full", "crop"]) -> None:
    """3x4 tiles of S pixels, of which a tenth is shared: what one tile would lose at the rim, the picture loses."""
    preprocessing = Preprocessing(field=field, tiles=Tiling(3, 4))
    frame, side = noise(1024, 1280, 3), preprocessing.input_size
    step = side - round(side / 10)
    shape = side + 2 * step, side + 3 * step
    assert preprocessing.input_shape == shape
    margin = 0 if field == "full" else 16
    whole = cv2.resize(frame, (shape[1] + 2 * margin, shape[0] + 2 * margin), interpolation=cv2.INTER_LINEAR)
    expected = whole[margin : margin + shape[0], margin : margin + shape[1], ::-1]
    np.testing.assert_array_equal(preprocessing(frame), expected)
    squares = preprocessing.squares(preprocessing(frame))
    assert squares.shape == (12, side, side, 3) == (preprocessing.squares_a_frame, side, side, 3)
    np.testing.assert_array_equal(squares[7], expected[step : step + side, 3 * step : 3 * step + side])
    assert preprocessing.mask(frame[:, :, 0]).shape == shape


def test_tiles_lose_less_at_the_rim() -> None:
    assert 0 < Preprocessing(tiles=Tiling(2, 2)).unseen_share < Preprocessing().unseen_share
    assert Preprocessing(field="full", tiles=Tiling(2, 2)).unseen_share == 0


@pytest.mark.parametrize("shape", [(1024, 1280, 3), (2048, 2448), (1072, 1904), (400, 4096)])
def test_cropping_first_changes_nothing_with_tiles(shape: tuple[int, ...]) -> None:
    """A crop of 2x3 tiles is the middle of the whole picture at that size, whichever way it was computed."""
    cropped = Preprocessing(crop=160, tiles=Tiling(2, 3, 0.5))
    height, width = cropped.resized_shape
    whole = _resize(noise(*shape), (height, width))
    rgb = cv2.cvtColor(whole, cv2.COLOR_GRAY2RGB if whole.ndim == 2 else cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(cropped(noise(*shape)), rgb[48 : 48 + 240, 48 : 48 + 320])


@settings(max_examples=40)
@given(
    st.sampled_from([None, (31, 17, 900, 701), (0, 0, 1280, 1024)]),
    st.sampled_from([None, Tiling(2, 3), Tiling(3, 2, 0.5), Tiling(1, 2, 0.0)]),
    st.sampled_from(["full", "crop"]),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_place_in_the_map_is_the_place_in_the_frame(
    roi: tuple[int, int, int, int] | None,
    tiles: Tiling | None,
    field: Literal["full", "crop"],
    across: float,
    down: float,
) -> None:
    """A blob drawn where `Grid` says that a map pixel lies comes out at that pixel."""
    preprocessing = Preprocessing(field=field, roi=roi, tiles=tiles)
    height, width = preprocessing.input_shape
    x, y = 8 + across * (width - 17), 8 + down * (height - 17)
    frame_x, frame_y = Grid(preprocessing, (1024, 1280)).edge(x + 0.5, y + 0.5)
    rows, columns = np.mgrid[:1024, :1280]
    blob = 250 * np.exp(-((rows + 0.5 - frame_y) ** 2 + (columns + 0.5 - frame_x) ** 2) / (2 * 6**2))
    seen = preprocessing(blob.astype(np.uint8))[:, :, 0].astype(np.float64)
    mass = seen.sum()
    found = (seen.sum(axis=0) @ np.arange(width) / mass, seen.sum(axis=1) @ np.arange(height) / mass)
    assert found == pytest.approx((x, y), abs=0.6)


@pytest.mark.parametrize(
    ("shape", "tiles", "roi"),
    [
        ((480, 640), Tiling(3, 3), None),
        ((600, 4000), Tiling(3, 3), None),
        ((2000, 300), Tiling(1, 2), None),
        ((2000, 2000), Tiling(2, 2), (100, 100, 300, 300)),
    ],
)
def test_tiles_that_would_only_enlarge_the_picture_are_refused(
    shape: tuple[int, int], tiles: Tiling, roi: tuple[int, int, int, int] | None
) -> None:
    with pytest.raises(DataError, match=r"expected at least \d+x\d+ pixels for .*; take fewer tiles"):
        Preprocessing(field="full", tiles=tiles, roi=roi)(noise(*shape))


def test_a_strip_may_be_narrower_than_a_tile() -> None:
    assert Preprocessing(field="full", tiles=Tiling(1, 4))(noise(200, 4000)).shape == (256, 946, 3)


@pytest.mark.parametrize("tiles", [None, Tiling(2, 3, 0.2)])
@pytest.mark.parametrize("roi", [None, (1, 2, 30, 40)])
def test_it_travels_as_json(roi: tuple[int, int, int, int] | None, tiles: Tiling | None) -> None:
    preprocessing = Preprocessing(field="full", resize=320, roi=roi, tiles=tiles)
    assert msgspec.json.decode(msgspec.json.encode(preprocessing), type=Preprocessing) == preprocessing


@pytest.mark.parametrize("text", [b'{"field":"middle"}', b'{"resize":"big"}', b'{"crop":224,"cropp":1}'])
def test_json_that_says_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Preprocessing)
