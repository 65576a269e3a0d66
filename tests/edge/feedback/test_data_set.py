"""The exported data set is what people said, without loss, nothing twice, and the tools take it as it is."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.archive.index import ArchiveIndex
from edge.archive.store import ArchiveStore, Entry
from edge.feedback.book import FeedbackBook
from edge.feedback.data_set import Place, export
from edge.feedback.opinion import FeedbackError, Says, Statement
from edge.feedback.review import review
from edge.verdict import Evaluation
from engines.bundle import Bundle
from engines.cli import main
from engines.images import list_images, read_image
from tests.edge.archive.parts import bare, entry, frame
from tests.edge.feedback.line import Render, look_at, run_line


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def say(folder: Path, said: dict[int, Statement]) -> None:
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder) as book:
        for key, statement in said.items():
            part = index.part(key)
            assert part is not None
            book.add(part, statement)


def exported(folder: Path, to: Path) -> list[Place]:
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder) as book:
        return export(book, review(book, index), to)


def rows(to: Path) -> dict[int, dict[str, str]]:
    with (to / "parts.csv").open(encoding="utf-8", newline="") as file:
        return {int(row["part"]): row for row in csv.DictReader(file)}


def passed(second: int) -> Entry:
    return entry(second, seed=second, evaluation=Evaluation.OK, score=0.5)


def folders(places: list[Place]) -> list[str]:
    return [place.image.rpartition("/")[0] for place in places]


GOOD = Statement(Says.GOOD, "a reflection", "Ada")
DEFECT = Statement(Says.DEFECT, "=cmd()", "Bob", "major")


def test_what_is_what(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        good, bad, passed, dark = store.add(
            [
                entry(0, seed=1, part_id='<b>"4711", rim</b>'),
                entry(1, seed=2),
                entry(2, seed=3, evaluation=Evaluation.OK, score=0.5),
                entry(3, seed=4, evaluation=Evaluation.NOT_DECIDABLE, score=None, margin=None),
            ]
        )
        (bare_key,) = store.add([bare(4)])
    missed = Statement(Says.DEFECT, "came back", "Ada")
    say(tmp_path, {good: GOOD, bad: DEFECT, passed: missed, dark: GOOD, bare_key: missed})
    to = tmp_path / "out"
    exported(tmp_path, to)
    table = rows(to)
    assert {key: row["image"] for key, row in table.items()} == {
        good: f"train/good/{good}.png",
        bad: f"defects/caught/{bad}.png",
        passed: f"defects/missed/{passed}.png",
        dark: "",
        bare_key: "",
    }
    assert np.array_equal(read_image(to / "train" / "good" / f"{good}.png"), frame(1)), "without loss"
    assert (table[good]["part_id"], table[good]["by"]) == ('<b>"4711", rim</b>', "Ada")
    assert table[bad]["reason"] == "'=cmd()", "no spreadsheet computes what a person wrote"
    assert table[bare_key]["note"] == "the archive held no picture of it"
    assert (to / "grades.csv").read_text().splitlines() == ["image,grade", f"defects/caught/{bad}.png,major"]


def test_a_picture_comes_once_and_not_at_all_where_people_disagree(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        first, again, disputed, other = store.add([entry(s, seed=seed) for s, seed in enumerate((1, 1, 2, 2))])
    say(tmp_path, {first: GOOD, again: GOOD, disputed: GOOD, other: DEFECT})
    exported(tmp_path, tmp_path / "out")
    images = {key: row["image"] for key, row in rows(tmp_path / "out").items()}
    assert images == {first: f"train/good/{first}.png", again: "", disputed: "", other: ""}
    assert [path.name for path in (tmp_path / "out").rglob("*.png")] == [f"{first}.png"]
    assert rows(tmp_path / "out")[again]["note"] == f"the same picture as part {first}"
    assert rows(tmp_path / "out")[other]["note"] == f"the same picture is called something else as part {disputed}"


def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        (key,) = store.add([entry()])
    say(tmp_path, {key: GOOD})
    exported(tmp_path, tmp_path / "out")
    say(tmp_path, {key: DEFECT})
    exported(tmp_path, tmp_path / "out")
    assert [path.parent.name for path in (tmp_path / "out").rglob("*.png")] == ["caught"]
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.png").write_bytes(b"precious")
    with pytest.raises(FeedbackError, match="an earlier export, found something else"):
        exported(tmp_path, photos)
    assert (photos / "holiday.png").read_bytes() == b"precious"


def test_the_sample_waits_until_all_of_it_was_looked_at(tmp_path: Path) -> None:
    with ArchiveStore(tmp_path) as store:
        sample = store.add([replace(passed(s), drawn=True) for s in range(5)])
    say(tmp_path, dict.fromkeys((*sample[:2], *sample[3:]), GOOD))
    assert folders(exported(tmp_path, tmp_path / "out")).count("waiting/good") == 2
    say(tmp_path, {sample[2]: GOOD})
    ends = ["train/good", "calibrate/good", "calibrate/good", "calibrate/good", "train/good"]
    assert folders(exported(tmp_path, tmp_path / "out")) == ends


def test_tools_take_the_exported_set(
    tmp_path: Path,
    render_part: Render,
    calibrated_bundle: Bundle,
    bundle_copy: Callable[[Bundle], Bundle],
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive, to = tmp_path / "archive", tmp_path / "out"
    truth = run_line(archive, calibrated_bundle, render_part, range(1000, 1045), range(2000, 2012))
    look_at(archive, truth)
    assert run("feedback", "export", "--archive", archive, "--to", to) == 0
    assert "good parts to calibrate with" in capsys.readouterr().out
    bundle = bundle_copy(calibrated_bundle)
    engine = ("--engine", bundle.latest_calibration.backend)
    assert run("calibrate", "--bundle", bundle.path, "--good", to / "calibrate" / "good", *engine,
               "--defects", to / "defects", "--false-reject-rate", 0.05) == 0  # fmt: skip
    moved = Bundle.open(bundle.path).latest_calibration
    assert moved.parts == len(list_images(to / "calibrate" / "good")) > 20
    assert moved.escapes is not None
    assert moved.escapes.parts == sum(not good for good in truth.values())
    assert run("grade", "--bundle", bundle.path, "--labels", to / "grades.csv") == 0
    fast = ("--weights", "random", "--epochs", 1, "--hold-back", 0.4)
    assert run("train", "--data", to, "--out", tmp_path / "new", *fast) == 0
    trained = Bundle.open(tmp_path / "new").info.provenance
    assert trained.images + len(trained.held_back) == len(list_images(to / "train" / "good"))


def test_the_command_marks_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ArchiveStore(tmp_path) as store:
        (key,) = store.add([entry(part_id="P1")])
    where = ("--archive", tmp_path)
    assert run("feedback", "mark", key, "good", "--reason", "a reflection", "--by", "Ada", *where) == 0
    assert run("feedback", "list", *where) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == out[1]
    assert out[0].startswith(
        f"{key}  2026-03-01T06:00:00.000+00:00  P1  NotOK score 2 disputed  good: a reflection [Ada, "
    )
    assert run("feedback", "mark", key + 1, "good", "--reason", "x", *where) == 2
    assert "holds no part" in capsys.readouterr().err
