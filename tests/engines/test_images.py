"""Photographs: every format becomes the same 8-bit frame, every broken file is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.errors import DataError
from engines.images import SUFFIXES, check_images, decode_image, fingerprint, list_images, read_bytes, read_image

LOSSY = frozenset({".jpg", ".jpeg", ".webp"})


def photo(dtype: type = np.uint8, channels: int = 3) -> NDArray:
    """A smooth gradient, so that lossy formats keep it nearly."""
    rows, columns = np.mgrid[0:48, 0:64]
    planes = [(rows * (index + 1) + columns * 2) % 200 for index in range(channels)]
    scale = 257 if dtype == np.uint16 else 1
    image = np.stack(planes, axis=-1).astype(np.float32)
    return (cv2.GaussianBlur(image, (0, 0), 4).reshape(48, 64, channels).round() * scale).astype(dtype).squeeze()


def encoded(image: NDArray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


def with_thumbnail(jpeg: bytes, thumbnail: bytes) -> bytes:
    """Insert an EXIF segment as cameras write it; the thumbnail inside it is a whole JPEG with its own end mark."""
    payload = b"Exif\0\0" + thumbnail
    return jpeg[:2] + b"\xff\xe1" + (len(payload) + 2).to_bytes(2, "big") + payload + jpeg[2:]


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_read_as_bgr(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"part{suffix}").write_bytes(encoded(photo(), suffix))
    found = read_image(tmp_path / f"part{suffix}")
    assert (found.dtype, found.shape) == (np.uint8, (48, 64, 3))
    assert np.abs(found.astype(int) - photo()).max() <= (24 if suffix in LOSSY else 0)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".webp"}))
def test_grey_stays_grey(suffix: str) -> None:
    found = decode_image(encoded(photo(channels=1), suffix), "part")
    assert found.shape == (48, 64)
    assert np.abs(found.astype(int) - photo(channels=1)).max() <= (24 if suffix in LOSSY else 0)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_dropped(suffix: str) -> None:
    found = decode_image(encoded(np.dstack([photo(), np.full((48, 64), 128, np.uint8)]), suffix), "part")
    assert found.shape == (48, 64, 3)
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - photo()).max() <= (24 if suffix in LOSSY else 0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_become_eight(suffix: str, channels: int) -> None:
    found = decode_image(encoded(photo(np.uint16, channels), suffix), "part")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, photo(channels=min(channels, 3)))


def test_sixteen_bits_keep_black_and_white() -> None:
    levels = np.array([[0, 256, 257, 65534, 65535]], np.uint16)
    np.testing.assert_array_equal(decode_image(encoded(levels), "part"), [[0, 0, 1, 254, 255]])


def test_floating_point_is_refused() -> None:
    with pytest.raises(DataError, match="part: expected 8 or 16 bit pixels, found float32; save it as 8 bit"):
        decode_image(encoded(photo(np.float32), ".tif"), "part")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    data = encoded(photo(), suffix)
    (tmp_path / f"part{suffix}").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=f"part{suffix}: (the image is truncated|no image that can be decoded)"):
        read_image(tmp_path / f"part{suffix}")


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_a_thumbnail_does_not_hide_a_truncation(share: float) -> None:
    data = with_thumbnail(encoded(photo(), ".jpg"), encoded(photo()[::4, ::4], ".jpg"))
    decode_image(data, "part")
    with pytest.raises(DataError, match=r"part: the image is truncated .*copy it again"):
        decode_image(data[: int(len(data) * share)], "part")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("tail", [b"\0" * 100_000, b"appended by an editor"])
def test_what_follows_an_image_is_ignored(suffix: str, tail: bytes) -> None:
    whole = encoded(photo(), suffix)
    np.testing.assert_array_equal(decode_image(whole + tail, "part"), decode_image(whole, "part"))


def test_a_progressive_jpeg_is_whole() -> None:
    data = cv2.imencode(".jpg", photo(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert decode_image(data, "part").shape == (48, 64, 3)
    with pytest.raises(DataError, match="truncated"):
        decode_image(data[: len(data) * 3 // 4], "part")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"This is a shopping list, not a photograph.\n", "no image that can be decoded .expected .bmp, .jpeg"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40 + b"IEND\xaeB`\x82", "no image that can be decoded"),
        (b"\xff\xd8\xff", "the image is truncated"),
        (b"\xff\xd8\xff\xe0\x00", "the image is truncated"),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "part.png").write_bytes(data)
    with pytest.raises(DataError, match=f"{tmp_path}/part.png: {message}"):
        read_image(tmp_path / "part.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"part\.png: cannot be read .No such file"):
        read_bytes(tmp_path / "part.png")


def test_only_visible_image_files_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpeg", "c.tiff", ".hidden.png", "notes.txt", "d"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpeg", "b.PNG", "c.tiff"]


@pytest.mark.parametrize(("name", "found"), [("nowhere", "nothing"), ("file", "a file")])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, name: str, found: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"expected a folder of images at .*{name}, found {found}"):
        list_images(tmp_path / name)


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(encoded(photo()))
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(DataError, match=r"2 image file.s. cannot be used; repair or remove them:") as caught:
        check_images(list_images(tmp_path))
    assert "empty.png: the file is empty" in str(caught.value)
    assert "text.png: no image" in str(caught.value)
    assert "good.png" not in str(caught.value)


def test_good_files_pass(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(encoded(photo()))
    check_images(list_images(tmp_path))


def test_fingerprints_tell_files_apart() -> None:
    assert fingerprint(b"part") == "37a680133bd09342"
    assert fingerprint(b"part") != fingerprint(b"part ")
