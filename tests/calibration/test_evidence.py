from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from calibration.evidence import GOOD, gather, labelled
from engines.bundle import Bundle
from engines.errors import DataError
from engines.images import read_image


def gathered(bundle: Bundle, open_named: Any, data: Path | None, every: bool = False) -> Any:
    calibration = bundle.latest_calibration
    return gather(bundle, calibration, open_named(bundle, calibration.backend, calibration.precision), data, every)


def test_the_parts_in_doubt_are_the_worst_good_and_the_best_bad(
    calibrated_bundle: Bundle, open_named: Any, part_photos: Path
) -> None:
    evidence = gathered(calibrated_bundle, open_named, part_photos)
    assert sorted({part.kind for part in evidence.parts}) == [GOOD, "scratch"]
    good, bad = evidence.scores(good=True), evidence.scores(good=False)
    assert (len(good), len(bad)) == (24, 6)
    assert [picture.score for picture in evidence.worst_good] == sorted(good.tolist(), reverse=True)[:6]
    assert [picture.score for picture in evidence.shown_bad] == sorted(bad.tolist())
    assert all(picture.position.shape == picture.image.shape[:2] for picture in evidence.worst_good)
    assert good.max() == max(evidence.calibration.scores)
    assert {stage: len(times) > 29 for stage, times in evidence.times.items()} == {"preprocess": True, "infer": True}


def test_every_defect_and_every_false_reject_can_be_shown_each_beside_its_mask(
    calibrated_bundle: Bundle, open_named: Any, part_photos: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(part_photos / "test", data / "test")
    for number in range(2):  # a second kind, and scratched parts that somebody took for good ones
        shutil.copy(data / "test/scratch" / "200.png", data / "test/good" / f"false-{number}.png")
    shutil.copytree(data / "test/scratch", data / "test/dent")
    mask = np.zeros(read_image(data / "test/dent/200.png").shape[:2], np.uint8)
    mask[5:9, 5:9] = 255
    (data / "ground_truth/dent").mkdir(parents=True)
    cv2.imwrite(str(data / "ground_truth/dent/200_mask.png"), mask)

    evidence = gathered(calibrated_bundle, open_named, data, every=True)

    threshold = evidence.calibration.threshold
    assert sum(picture.score > threshold for picture in evidence.worst_good) == sum(evidence.scores(True) > threshold)
    shown = evidence.shown_bad
    assert [picture.kind for picture in shown] == ["dent"] * 6 + ["scratch"] * 6
    assert all(a.score <= b.score for a, b in itertools.pairwise(shown) if a.kind == b.kind)
    masked = [picture for picture in shown if picture.mask is not None]
    assert [(picture.kind, picture.name) for picture in masked] == [("dent", "200.png")]
    assert masked[0].mask.shape == masked[0].image.shape[:2]
    assert masked[0].mask.any()


def test_without_photographs_the_golden_parts_are_shown(calibrated_bundle: Bundle, open_named: Any) -> None:
    evidence = gathered(calibrated_bundle, open_named, None)
    assert not evidence.parts
    golden = [part.score for part in evidence.calibration.golden]
    assert [picture.score for picture in evidence.worst_good] == golden[::-1][:6]


def test_a_folder_without_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"folders of photographs in .*test, good and one for each kind"):
        labelled(tmp_path)


def test_pictures_in_tiles_are_shown_whole(tiled_bundle: Bundle, open_named: Any, plate_photos: Path) -> None:
    evidence = gathered(tiled_bundle, open_named, plate_photos)
    assert len(evidence.shown_bad) == 2
    assert min(evidence.scores(good=False)) > max(evidence.scores(good=True))
    for picture in evidence.shown_bad:
        height, width = picture.position.shape
        assert picture.image.shape[:2] == (height, width)
        y, x = np.unravel_index(picture.position.argmax(), picture.position.shape)
        assert np.hypot(x / width - 384 / 640, y / height - 192 / 480) < 0.1
    golden = gathered(tiled_bundle, open_named, None).worst_good
    assert all(picture.position.shape == picture.image.shape[:2] for picture in golden)
    assert {picture.position.shape[1] > picture.position.shape[0] for picture in golden} == {True}
