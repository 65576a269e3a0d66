"""The one way from a frame to the network's input."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.errors import DataError
from engines.preprocess import Preprocessing


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


@pytest.mark.parametrize("roi", [None, (1, 2, 30, 40)])
def test_it_travels_as_json(roi: tuple[int, int, int, int] | None) -> None:
    preprocessing = Preprocessing(field="full", resize=320, roi=roi)
    assert msgspec.json.decode(msgspec.json.encode(preprocessing), type=Preprocessing) == preprocessing


@pytest.mark.parametrize("text", [b'{"field":"middle"}', b'{"resize":"big"}', b'{"crop":224,"cropp":1}'])
def test_json_that_says_something_else_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Preprocessing)
