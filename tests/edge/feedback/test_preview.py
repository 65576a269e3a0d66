"""The preview names the threshold that a calibration with the exported set then gives, and what nobody certifies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edge.archive.index import ArchiveIndex
from edge.feedback.book import FeedbackBook
from edge.feedback.preview import preview, preview_exactly, since_calibration
from edge.feedback.review import Review, review
from engines.bundle import Bundle, update_bundle
from engines.cli import main
from engines.errors import CalibrationError
from engines.images import list_images
from tests.edge.feedback.line import Render, look_at, run_line


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def bundle(calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Bundle:
    """The calibrated bundle, as if calibrated before the parts of the tests were made."""
    copy = bundle_copy(calibrated_bundle)
    old = msgspec.structs.replace(copy.latest_calibration, created="2026-01-01T00:00:00+00:00")
    return update_bundle(copy, msgspec.structs.replace(copy.info, calibrations=(old,)))


def reviewed(archive: Path, bundle: Bundle) -> Review:
    with ArchiveIndex.open(archive) as index, FeedbackBook.open(archive) as book:
        return review(book, index, bundle.info.product, since_calibration(bundle))


def test_calibrating_with_the_exported_set_gives_the_threshold_that_was_named(
    tmp_path: Path, render_part: Render, bundle: Bundle, part_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, to = tmp_path / "archive", tmp_path / "out"
    truth = run_line(archive, bundle, render_part, range(1001, 1060), range(2000, 2008))
    look_at(archive, truth)
    found = preview(bundle, reviewed(archive, bundle))
    assert found.sampled is not None
    assert found.certified
    assert len(found.heard.sample) == 37
    assert run("feedback", "preview", "--bundle", bundle.path, "--archive", archive) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"with the sample threshold {found.sampled.threshold:.6g}" in said
    assert "61 good parts certify the target of 5 %" in said
    assert Bundle.open(bundle.path).digest == bundle.digest, "nothing is moved"
    assert run("feedback", "export", "--archive", archive, "--to", to) == 0
    photos = [*list_images(part_photos / "test" / "good"), *list_images(to / "calibrate" / "good")]
    listed = tmp_path / "good.txt"
    listed.write_text("\n".join(map(str, photos)))
    engine = ("--engine", bundle.latest_calibration.backend)
    assert run("calibrate", "--bundle", bundle.path, "--good", listed, "--false-reject-rate", 0.05, *engine) == 0
    moved = Bundle.open(bundle.path).latest_calibration
    assert (moved.threshold, moved.parts) == (found.sampled.threshold, 61)


def test_parts_that_another_calibration_judged_are_scored_anew(
    tmp_path: Path, render_part: Render, bundle: Bundle
) -> None:
    truth = run_line(tmp_path, bundle, render_part, range(1001, 1010), range(2000, 2003))
    look_at(tmp_path, truth)
    known = preview(bundle, reviewed(tmp_path, bundle))
    raised = msgspec.structs.replace(bundle.latest_calibration, threshold=bundle.latest_calibration.threshold + 0.5)
    other = update_bundle(bundle, msgspec.structs.replace(bundle.info, calibrations=(raised,)))
    found = reviewed(tmp_path, other)
    blind = preview(other, found)
    assert (len(blind.heard.sample), blind.heard.unscored, blind.certified) == (0, 4, False)
    with FeedbackBook.open(tmp_path) as book:
        again = preview_exactly(other, book, found)
    assert sorted(again.heard.sample) == sorted(known.heard.sample)
    assert sorted(again.heard.defects) == sorted(known.heard.defects)
    assert again.now.threshold == known.now.threshold + 0.5


def test_parts_from_before_the_calibration_do_not_join_it_again(
    tmp_path: Path, render_part: Render, calibrated_bundle: Bundle
) -> None:
    look_at(tmp_path, run_line(tmp_path, calibrated_bundle, render_part, range(1000, 1006), range(2000, 2002)))
    found = preview(calibrated_bundle, reviewed(tmp_path, calibrated_bundle))
    assert len(found.heard.sample) == 0
    assert found.sampled is not None
    assert found.sampled.threshold == found.now.threshold


def test_a_bundle_of_another_product_is_refused(tmp_path: Path, render_part: Render, bundle: Bundle) -> None:
    look_at(tmp_path, run_line(tmp_path, bundle, render_part, range(1000, 1004), range(0)))
    other = update_bundle(bundle, msgspec.structs.replace(bundle.info, product="gasket"))
    with pytest.raises(CalibrationError, match="the bundle is for gasket, the feedback for flange"):
        preview(other, reviewed(tmp_path, bundle))
