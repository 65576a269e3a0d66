"""The accuracy benchmark end to end on rendered parts with a random backbone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import bench_accuracy
from benchmarks.bench_accuracy import _parser, main, table
from engines.images import read_image


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory, part_photos: Path) -> Path:
    """6 parts to train on, 4 good and 3 scratched ones to test with, a mask for two of the scratches."""
    root = tmp_path_factory.mktemp("sets") / "flange"
    for folder, count in (("train/good", 6), ("test/good", 4), ("test/scratch", 3)):
        (root / folder).mkdir(parents=True)
        for path in sorted((part_photos / folder).iterdir())[:count]:
            shutil.copy(path, root / folder)
    masks = root / "ground_truth" / "scratch"
    masks.mkdir(parents=True)
    for path in sorted((root / "test" / "scratch").iterdir())[:2]:
        mask = np.where(read_image(path).min(axis=2) > 220, 255, 0).astype(np.uint8)
        cv2.imwrite(str(masks / f"{path.stem}_mask.png"), mask)
    return root


def arguments(data: Path, rows: Path, *more: str) -> list[str]:
    options = "--backbone resnet18 --weights random --epochs 1 --field full"
    return ["--data", str(data), *options.split(), "--json", str(rows), *more]


def test_rows_table_and_resumption(small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.json"
    both = ("--method", "simplenet", "patchcore", "--seeds", "1", "--jobs", "2")
    assert main(arguments(small_set, rows, *both)) == 0
    first = json.loads(rows.read_text())
    assert sorted((row["method"], row["seed"], row["epochs"]) for row in first) == [
        ("patchcore", 0, None),
        ("simplenet", 0, 1),
    ]
    for row in first:
        assert (row["n_good"], row["n_defect"], row["n_empty_masks"]) == (4, 3, 1)
        assert 0 <= row["image_auroc"] <= 1
        assert 0 <= row["aupro"] <= 1
        assert row["train_s"] >= 0
        assert row["infer_ms"] > 0
        assert row["machine"]["cores"] >= 1
        assert str(small_set.parent) not in json.dumps(row)
    bank = next(row for row in first if row["method"] == "patchcore")
    assert bank["image_auroc"] == 1.0  # a scratch across the face is no hard case

    assert main(arguments(small_set, rows, "--method", "patchcore", "--seeds", "2", "--markdown")) == 0
    second = json.loads(rows.read_text())
    assert second[:2] == first
    assert [(row["method"], row["seed"]) for row in second[2:]] == [("patchcore", 1)]
    assert "| flange | full  | patchcore | 2     | 100.0 ± 0.0 " in capsys.readouterr().out

    assert main(arguments(small_set, rows, *both)) == 0
    assert json.loads(rows.read_text()) == second
    lines = capsys.readouterr().out.splitlines()
    # The seeds that were asked for, not all that the file holds.
    assert [re.split(r"\s{2,}", line)[3] for line in lines[1:]] == ["1", "1"]
    assert lines[2].startswith("flange  full   simplenet, default, 1 epochs")


def test_a_changed_recipe_is_another_row(small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.json"
    options = ("--method", "simplenet", "--seeds", "1", "--recipe", "default", "--change", "drawn=0", "epoch_steps=2")
    assert main(arguments(small_set, rows, *options)) == 0
    (row,) = json.loads(rows.read_text())
    assert row["recipe"] == "default drawn=0 epoch_steps=2"
    assert main(arguments(small_set, rows, "--change", "drawn=much")) == 2
    assert "takes no 'drawn=much'; its settings: epochs=20," in capsys.readouterr().err


def test_at_most_so_many_photographs_are_trained_on(small_set: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.json"
    assert main(arguments(small_set, rows, "--method", "patchcore", "--seeds", "1", "--photographs", "2")) == 0
    assert [row["photographs"] for row in json.loads(rows.read_text())] == [2]


def test_table_shows_missing_pixel_figures_as_a_dash() -> None:
    row = dict.fromkeys(("image_auroc", "image_ap", "image_f1_max", "escape_at_1pct_fr", "train_s", "infer_ms"), 0.5)
    row |= dict.fromkeys(("pixel_auroc", "pixel_ap", "aupro"))  # type: ignore[arg-type]
    named = {
        "data": "casting",
        "method": "patchcore",
        "field": "crop",
        "recipe": None,
        "epochs": None,
        "photographs": None,
        **row,
    }
    assert table([named]).splitlines()[1].split()[3:10] == ["1", "50.0", "50.0", "50.0", "-", "-", "-"]


def test_folder_without_test_images_is_refused(part_photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = part_photos / "train" / "good"
    assert main(["--data", str(plain), "--weights", "random"]) == 2
    assert "found no test images" in capsys.readouterr().err


def test_a_bad_photograph_is_named_before_anything_runs(
    small_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "flange"
    shutil.copytree(small_set, copy)
    bad = next((copy / "ground_truth" / "scratch").iterdir())
    bad.write_bytes(bad.read_bytes()[:100])
    assert main(["--data", str(copy), "--weights", "random"]) == 2
    assert str(bad) in capsys.readouterr().err


def test_two_sets_of_one_name_are_refused(small_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(small_set), str(small_set), "--weights", "random"]) == 2
    assert "'flange'" in capsys.readouterr().err


def test_the_documented_commands_are_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "accuracy.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = [
        _parser().parse_args(line.split())
        for line in re.findall(r"^python benchmarks/bench_accuracy.py (.*)", page, re.M)
    ]
    assert len(found) >= 3
    for options in found:
        assert {folder.name for folder in options.data} <= {"mvtec_screw", "magnetic_tile", "casting_impeller"}
    assert (found[0].recipe, found[0].seeds, found[0].field) == (["paper", "default"], 5, ["crop"])


def test_a_quick_run_is_one_seed_and_few_epochs(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_accuracy, "QUICK_EPOCHS", 2)
    rows = tmp_path / "rows.json"
    options = ["--backbone", "resnet18", "--weights", "random", "--field", "full", "--method", "simplenet", "--quick"]
    assert main(["--data", str(small_set), *options, "--json", str(rows)]) == 0
    assert [(row["seed"], row["epochs"]) for row in json.loads(rows.read_text())] == [(0, 2)]
