from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from calibration.parts import GoodParts, Selection, check_parts, select_parts
from engines.bundle import Provenance
from engines.errors import DataError
from engines.images import fingerprint, list_images, read_image
from engines.preprocess import Preprocessing

PREPROCESSING = Preprocessing(field="full", resize=64)


def provenance(trained_on: list[Path], held_back: tuple[str, ...] = ()) -> Provenance:
    return Provenance(
        dataset_digest="0" * 64,
        images=len(trained_on),
        held_back=held_back,
        seed=0,
        recipe={},
        versions={},
        created="2026-01-01T00:00:00Z",
        trained_on=tuple(fingerprint(path.read_bytes()) for path in trained_on),
    )


NOTHING = provenance([])


@pytest.fixture
def photos(tmp_path: Path, part_photos: Path) -> Path:
    """A plain folder: 000 to 015 as trained on, 100 to 123 never seen."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in [*list_images(part_photos / "train" / "good"), *list_images(part_photos / "test" / "good")]:
        shutil.copy(path, folder)
    return folder


def check(source: Path, known: Provenance = NOTHING) -> GoodParts:
    return check_parts(select_parts(source, known), PREPROCESSING, known)


def test_a_folder_is_its_own_images(part_photos: Path) -> None:
    selection = select_parts(part_photos / "test" / "good", NOTHING)
    assert len(selection.paths) == 24
    assert selection.origin == f"in {part_photos / 'test' / 'good'}"


def test_a_data_set_is_its_good_test_parts(part_photos: Path) -> None:
    assert select_parts(part_photos, NOTHING).paths == tuple(list_images(part_photos / "test" / "good"))


def test_the_folder_that_was_trained_on_is_what_training_held_back(photos: Path) -> None:
    names = ("100.png", "105.png")
    known = provenance([photos / "000.png", photos / "001.png"], names)
    selection = select_parts(photos, known)
    assert selection.paths == tuple(photos / name for name in names)
    assert "held back" in selection.origin


def test_held_back_names_alone_prove_nothing(photos: Path, tmp_path: Path) -> None:
    """A newer folder whose files bear the same names was not trained on, and is wanted whole."""
    known = provenance([photos / "000.png"], ("100.png", "105.png"))
    newer = tmp_path / "newer"
    newer.mkdir()
    for name in ("100.png", "105.png", "106.png"):
        shutil.copy(photos / name, newer)
    assert len(select_parts(newer, known).paths) == 3


def test_a_list_names_files_relative_to_itself(photos: Path) -> None:
    listing = photos.parent / "parts.txt"
    listing.write_text(f"# from lot 7\nphotos/100.png\n\n{photos / '101.png'}\n")
    assert select_parts(listing, NOTHING).paths == (photos / "100.png", photos / "101.png")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"\n# nothing\n", "expected the path of one image a line, found none"),
        ("part.png", b"\x89PNG\r\n\x1a\n\xff\xfe", "expected a folder of images, or a text file"),
        ("folder", None, "expected photographs of good parts in .*folder, found none"),
        ("missing", ..., "expected a folder of images at .*missing, found nothing"),
    ],
)
def test_what_names_no_photographs_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    source = tmp_path / name
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content is None:
        source.mkdir()
    with pytest.raises(DataError, match=message):
        select_parts(source, NOTHING)


def test_unusable_files_are_all_named_at_once(photos: Path) -> None:
    (photos / "a.png").write_text("not an image")
    (photos / "b.jpg").write_bytes(b"")
    jpeg = cv2.imencode(".jpg", read_image(photos / "100.png"))[1].tobytes()
    (photos / "c.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    with pytest.raises(DataError, match=r"3 image file\(s\) cannot be used") as caught:
        check(photos)
    assert all(name in str(caught.value) for name in ("a.png", "b.jpg", "c.jpg"))
    assert "100.png" not in str(caught.value)


def test_a_listed_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    listing = tmp_path / "parts.txt"
    listing.write_text("nowhere.png\n")
    with pytest.raises(DataError, match=r"nowhere.png: cannot be read \(No such file"):
        check(listing)


def test_a_part_smaller_than_the_region_of_interest_is_named(photos: Path) -> None:
    preprocessing = msgspec.structs.replace(PREPROCESSING, roi=(0, 0, 160, 160))
    cv2.imwrite(str(photos / "small.png"), np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(DataError, match=r"(?s)1 image file.*small.png: the region of interest"):
        check_parts(select_parts(photos, NOTHING), preprocessing, NOTHING)


def test_photographs_that_were_trained_on_are_refused_by_name(photos: Path) -> None:
    known = provenance(list_images(photos)[:12])
    renamed = photos.parent / "renamed"
    renamed.mkdir()
    shutil.copy(photos / "003.png", renamed / "new.png")
    shutil.copy(photos / "100.png", renamed)
    with pytest.raises(DataError, match=r"1 of 2 photographs were trained on.*new.png") as caught:
        check(renamed, known)
    assert "100.png" not in str(caught.value)
    with pytest.raises(DataError, match=r"12 of 40 .*000.png.* and 2 more"):
        check(photos, known)


def test_the_same_photograph_twice_is_one_part(photos: Path) -> None:
    shutil.copy(photos / "100.png", photos / "100-copy.png")
    parts = check(photos)
    assert len(parts) == 40
    assert [path.name for path in parts.repeated] == ["100.png"]


def test_parts_are_preprocessed_when_asked_for(photos: Path) -> None:
    parts = check(photos)
    expected = PREPROCESSING(read_image(photos / "123.png"))
    assert np.array_equal(parts[39], expected)
    (photos / "123.png").unlink()
    with pytest.raises(DataError, match=r"123.png: cannot be read"):
        parts[39]


def test_progress_counts_every_file(photos: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    selection = Selection((photos / "100.png", photos / "101.png"), "")
    check_parts(selection, PREPROCESSING, NOTHING, lambda *step: seen.append(step))
    assert seen == [("checking", 1, 2), ("checking", 2, 2)]
