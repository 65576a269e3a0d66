from __future__ import annotations

import numpy as np
import pytest

from edge.cameras.pixels import to_frame


@pytest.mark.parametrize(
    ("pixel_format", "data", "grey"),
    [
        ("Mono8", bytes([0, 7, 255]), [0, 7, 255]),
        ("Mono10", np.array([0, 513, 1023], "<u2").tobytes(), [0, 128, 255]),
        ("Mono12", np.array([0, 2049, 4095], "<u2").tobytes(), [0, 128, 255]),
        ("Mono16", np.array([0, 32769, 65535], "<u2").tobytes(), [0, 128, 255]),
    ],
)
def test_grey_of_any_depth_is_eight_bit(pixel_format: str, data: bytes, grey: list[int]) -> None:
    image = to_frame(data, pixel_format, 3, 1)
    assert image.dtype == np.uint8
    assert image.tolist() == [grey]


@pytest.mark.parametrize(
    ("pixel_format", "pixel", "bgr"), [("BGR8", [1, 2, 3], [1, 2, 3]), ("RGB8", [1, 2, 3], [3, 2, 1])]
)
def test_colours_come_as_blue_green_red(pixel_format: str, pixel: list[int], bgr: list[int]) -> None:
    assert to_frame(bytes(pixel * 6), pixel_format, 3, 2)[1, 2].tolist() == bgr


@pytest.mark.parametrize("pattern", ["RG", "BG", "GR", "GB"])
def test_a_bayer_pattern_is_named_after_its_first_row(pattern: str) -> None:
    # The sensor sees an even colour, 200 red, 100 green, 50 blue.
    level = {"R": 200, "G": 100, "B": 50}
    second = {"RG": "GB", "BG": "GR", "GR": "BG", "GB": "RG"}[pattern]
    mosaic = np.tile(np.array([[level[c] for c in pattern], [level[c] for c in second]], np.uint8), (8, 8))
    assert to_frame(mosaic.tobytes(), f"Bayer{pattern}8", 16, 16)[8, 8].tolist() == [50, 100, 200]


@pytest.mark.parametrize(
    ("pixel_format", "size", "said"),
    [
        ("Mono8", (4, 4), "expected 16 bytes of Mono8, found 15"),
        ("Mono16", (4, 2), "expected 16 bytes of Mono16, found 15"),
        ("YUV422_8", (1, 1), "found YUV422_8; set pixel_format"),
    ],
)
def test_what_is_not_a_frame_is_refused(pixel_format: str, size: tuple[int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        to_frame(bytes(15), pixel_format, *size)


def test_more_data_than_pixels_is_a_trailer() -> None:
    assert to_frame(bytes(20), "Mono8", 4, 4).shape == (4, 4)
