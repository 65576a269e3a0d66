from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from calibration.evidence import GOOD, gather, labelled
from engines.bundle import Bundle
from engines.errors import DataError


def gathered(bundle: Bundle, open_named: Any, data: Path | None) -> Any:
    calibration = bundle.latest_calibration
    return gather(bundle, calibration, open_named(bundle, calibration.backend, calibration.precision), data)


def test_the_parts_in_doubt_are_the_worst_good_and_the_best_bad(
    calibrated_bundle: Bundle, open_named: Any, part_photos: Path
) -> None:
    evidence = gathered(calibrated_bundle, open_named, part_photos)
    assert sorted({part.kind for part in evidence.parts}) == [GOOD, "scratch"]
    good, bad = evidence.scores(good=True), evidence.scores(good=False)
    assert (len(good), len(bad)) == (24, 6)
    assert [picture.score for picture in evidence.worst_good] == sorted(good.tolist(), reverse=True)[:6]
    assert [picture.score for picture in evidence.best_bad] == sorted(bad.tolist())
    assert all(picture.position.shape == picture.image.shape[:2] for picture in evidence.worst_good)
    assert good.max() == max(evidence.calibration.scores)
    assert {stage: len(times) > 29 for stage, times in evidence.times.items()} == {"preprocess": True, "infer": True}


def test_without_photographs_the_golden_parts_are_shown(calibrated_bundle: Bundle, open_named: Any) -> None:
    evidence = gathered(calibrated_bundle, open_named, None)
    assert not evidence.parts
    golden = [part.score for part in evidence.calibration.golden]
    assert [picture.score for picture in evidence.worst_good] == golden[::-1][:6]


def test_a_folder_without_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"folders of photographs in .*test, good and one for each kind"):
        labelled(tmp_path)
