"""`train`, `evaluate` and `export` as a user types them: a bundle at the end, or one clear line and nothing lost."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.bundle import Bundle
from engines.cli import main
from engines.errors import BundleError
from engines.images import read_image
from engines.preprocess import Preprocessing
from engines.registry import open_engine
from engines.tiling import Tiling
from trainer.anoco import NEIGHBOURS
from trainer.banks import BANK_SIZE

FAST = ["--weights", "random", "--epochs", "1"]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle made by `edge-inspect train` from the ten photographs."""
    out = tmp_path_factory.mktemp("bundles") / "part"
    assert run("train", "--data", photos, "--out", out, *FAST, "--hold-back", 0.4) == 0
    return out


def test_train_leaves_a_calibrated_bundle_its_page_and_nothing_else(trained: Path, photos: Path) -> None:
    bundle = Bundle.open(trained)
    provenance = bundle.info.provenance
    assert provenance.images == 6
    assert len(provenance.held_back) == 4
    assert set(provenance.held_back) < {path.name for path in photos.iterdir()}
    assert len(provenance.trained_on) == 6
    assert bundle.latest_calibration.parts == 4
    assert bundle.info.backbone.weights_source == "random, seed 0"
    assert sorted(path.name for path in trained.parent.iterdir()) == ["part", "part.html"]
    assert len(provenance.losses) == provenance.recipe["epochs"]
    assert "at the last" in (trained.parent / "part.html").read_text(encoding="utf-8")


def test_few_photographs_are_trained_in_folds_whose_heads_score_what_they_have_not_seen(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "part"
    assert run("train", "--data", photos, "--out", out, *FAST, "--false-reject-rate", 0.1) == 0
    bundle = Bundle.open(out)
    assert (bundle.info.provenance.images, bundle.info.provenance.held_back) == (10, ())
    calibration = bundle.latest_calibration
    assert (calibration.parts, calibration.folds) == (10, 5)
    assert calibration.guarantee.startswith("Out of fold, and so expected rather than certified: ")
    folds = [Bundle.open(path) for path in sorted((tmp_path / "part.folds").iterdir())]
    assert len(folds) == 5
    names = [name for fold in folds for name in fold.info.provenance.held_back]
    assert sorted(names) == sorted(path.name for path in photos.iterdir())
    assert all(len(fold.info.provenance.trained_on) == 8 for fold in folds)

    def scored(by: Bundle) -> dict[str, float]:
        with open_engine(by, calibration.backend, calibration.precision) as engine:
            frames = {name: by.info.preprocessing(read_image(photos / name)) for name in names}
            return {name: float(engine.infer(frame[None]).scores[0]) for name, frame in frames.items()}

    own, scores = scored(bundle), []
    for fold in folds:
        theirs, unseen = scored(fold), fold.info.provenance.held_back
        both = [(theirs[name], own[name]) for name in names if name not in unseen]
        mean, spread = np.mean(both, axis=0), np.std(both, axis=0)
        scores += [(theirs[name] - mean[0]) / spread[0] * spread[1] + mean[1] for name in unseen]
    np.testing.assert_allclose(calibration.scores, np.sort(scores), rtol=1e-3)
    # The folds stay, for another engine or rate; without them these photographs are refused.
    again = ("calibrate", "--bundle", out, "--good", photos, "--engine", "onnxruntime", "--false-reject-rate", 0.2)
    assert run(*again) == 0
    assert Bundle.open(out).latest_calibration.folds == 5
    assert "each scored by one of 5 heads trained without it" in " ".join(capsys.readouterr().out.split())
    shutil.rmtree(tmp_path / "part.folds")
    assert run(*again) == 2
    assert "10 of 10 photographs were trained on" in capsys.readouterr().err


@pytest.mark.parametrize(("method", "neighbours"), [("patchcore", 1), ("anoco", NEIGHBOURS)])
def test_a_bank_goes_the_same_way_as_a_trained_head(
    method: str, neighbours: int, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data, paths = tmp_path / "part", mvtec(tmp_path / "data", photos), sorted(photos.iterdir())
    (data / "train/good").mkdir(parents=True)
    for path in (paths[0], *paths[6:]):
        shutil.copy(path, data / "train/good")
    assert run("train", "--data", data, "--out", out, "--weights", "random", "--method", method, "--folds", 2) == 0
    bundle = Bundle.open(out)
    used = bundle.info.provenance.recipe
    assert used == {"name": method, "vectors": min(BANK_SIZE, 5 * 784), "neighbours": neighbours}
    calibration = bundle.latest_calibration
    assert (calibration.parts, calibration.folds) == (5, 2)
    assert [path.name for path in tmp_path.glob("*") if path.name.startswith(".")] == []
    # The drawn smear is unlike every good part, which the engine that runs says as well.
    assert run("evaluate", "--bundle", out, "--data", data, "--json", tmp_path / "figures.json") == 0
    assert json.loads((tmp_path / "figures.json").read_text())["image_auroc"] == 1.0
    assert run("export", "--bundle", out, "--out", tmp_path / "new", "--weights", "random") == 0
    assert Bundle.open(tmp_path / "new").files["model.onnx"] == bundle.files["model.onnx"]
    assert run("report", "--bundle", out, "--out", tmp_path / "report.html") == 0
    assert f"name {method}" in (tmp_path / "report.html").read_text()


def test_training_again_gives_the_same_network(trained: Path, photos: Path, tmp_path: Path) -> None:
    assert run("train", "--data", photos, "--out", tmp_path / "again", *FAST, "--hold-back", 0.4) == 0
    again, before = Bundle.open(tmp_path / "again"), Bundle.open(trained)
    assert again.files["model.onnx"] == before.files["model.onnx"]
    assert again.files["head.safetensors"] == before.files["head.safetensors"]


def test_export_builds_the_same_network_from_the_head(trained: Path, tmp_path: Path) -> None:
    assert run("export", "--bundle", trained, "--out", tmp_path / "new", "--weights", "random") == 0
    new = Bundle.open(tmp_path / "new")
    assert new.files["model.onnx"] == Bundle.open(trained).files["model.onnx"]
    assert new.info.calibrations == ()


def test_export_refuses_other_weights(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from trainer.backbone import build_backbone

    torch.save(build_backbone("resnet18").state_dict(), tmp_path / "other.pth")
    assert run("export", "--bundle", trained, "--out", tmp_path / "new", "--weights", tmp_path / "other.pth") == 2
    assert "was trained on weights random, seed 0" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_evaluate_writes_the_agreed_keys(trained: Path, photos: Path, tmp_path: Path) -> None:
    data = mvtec(tmp_path / "data", photos)
    assert run("evaluate", "--bundle", trained, "--data", data, "--json", tmp_path / "figures.json") == 0
    figures = json.loads((tmp_path / "figures.json").read_text())
    agreed = "image_auroc image_ap image_f1_max pixel_auroc pixel_ap aupro escape_at_1pct_fr n_good n_defect"
    assert {*agreed.split(), "engine", "precision"} <= figures.keys()
    assert (figures["n_good"], figures["n_defect"], figures["n_empty_masks"]) == (3, 2, 1)
    assert figures["threshold"] == Bundle.open(trained).latest_calibration.threshold


def test_evaluate_shows_every_defect_on_a_page(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, page = mvtec(tmp_path / "data", photos), tmp_path / "defects.html"
    assert run("evaluate", "--bundle", trained, "--data", data, "--html", page) == 0
    assert f"report: {page}" in capsys.readouterr().out
    shown = page.read_text(encoding="utf-8")
    assert shown.count('alt="heat map of') == 3 + 2
    assert "the true defect" in shown


def mvtec(root: Path, photos: Path) -> Path:
    """Test set alone: three good parts, one with a marked smear and one with a defect that has no mask."""
    paths = sorted(photos.iterdir())
    for folder in ("test/good", "test/smear", "ground_truth/smear"):
        (root / folder).mkdir(parents=True)
    for path in paths[1:4]:
        shutil.copy(path, root / "test/good")
    for index, path in enumerate(paths[4:6]):
        image = cv2.imread(str(path))
        cv2.rectangle(image, (60, 30), (80, 45), (20, 20, 220), -1)
        cv2.imwrite(str(root / f"test/smear/{index}.png"), image)
    mask = np.zeros((120, 140), np.uint8)
    mask[30:46, 60:81] = 255
    cv2.imwrite(str(root / "ground_truth/smear/0_mask.png"), mask)
    return root


def test_evaluate_needs_a_test_set(trained: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--bundle", trained, "--data", photos) == 2
    assert "found no test photographs" in capsys.readouterr().err


def empty(folder: Path, photos: Path) -> None:
    pass


def one_photograph(folder: Path, photos: Path) -> None:
    shutil.copy(sorted(photos.iterdir())[0], folder)


def the_same_twice(folder: Path, photos: Path) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(sorted(photos.iterdir())[0], folder / name)


def two_broken(folder: Path, photos: Path) -> None:
    shutil.copytree(photos, folder, dirs_exist_ok=True)
    (folder / "text.png").write_text("this is no image")
    image = cv2.imread(str(sorted(photos.iterdir())[0]))
    (folder / "cut.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes()[:800])


@pytest.mark.parametrize(
    ("prepare", "options", "words"),
    [
        (empty, FAST, ["no photographs in"]),
        (one_photograph, FAST, ["at least 2 different photographs", "found 1"]),
        (the_same_twice, FAST, ["at least 2 different photographs", "found 1"]),
        (two_broken, FAST, ["2 of 12 photographs", "text.png", "cut.jpg", "truncated"]),
        (one_photograph, [*FAST, "--hold-back", "0", "--roi", "100,100,100,100"], ["does not lie inside the 140x120"]),
        (one_photograph, ["--weights", "/no/such/file.pth", "--hold-back", "0"], ["no weights for resnet18"]),
        (one_photograph, ["--weights", "random", "--epochs", "0"], ["at least 1 epoch"]),
        (one_photograph, [*FAST, "--hold-back", "0.2"], ["at least 2 different photographs", "found 1"]),
        (one_photograph, [*FAST, "--tiles", "2x2"], ["1 of 1 photographs", "at least 486x486 pixels", "140x120"]),
        (one_photograph, [*FAST, "--tiles", "1x1"], ["--tiles: expected rows x columns of 2 to 64 tiles, found 1x1"]),
        (one_photograph, [*FAST, "--tiles", "1x2", "--overlap", "0.7"], ["an overlap of 0 to 0.5", "found 0.7"]),
        (one_photograph, [*FAST, "--overlap", "0.2"], ["--overlap is for tiles"]),
        (one_photograph, [*FAST, "--lots", "folders"], ["a folder of photographs for each lot"]),
    ],
)
def test_bad_input_is_named_in_one_message(
    tmp_path: Path,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: object,
    options: list[str],
    words: list[str],
) -> None:
    (tmp_path / "data").mkdir()
    prepare(tmp_path / "data", photos)  # type: ignore[operator]
    assert run("train", "--data", tmp_path / "data", "--out", tmp_path / "bundle", *options) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_no_bundle_is_not_replaced(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert run("train", "--data", photos, "--out", tmp_path / "mine", *FAST) == 2
    assert "thesis.txt" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    "option",
    [
        ["--hold-back", "1"],
        ["--folds", "1"],
        ["--folds", "2", "--hold-back", "0.5"],
        ["--hold-back", "x"],
        ["--roi", "1,2"],
        ["--tiles", "2"],
        ["--tiles", "2x-2"],
        ["--backbone", "vgg"],
    ],
)
def test_wrong_usage_ends_with_2(photos: Path, tmp_path: Path, option: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("train", "--data", photos, "--out", tmp_path / "bundle", *option)
    assert stop.value.code == 2


def test_ctrl_c_leaves_no_bundle_and_resume_ends_where_an_unbroken_run_does(tmp_path: Path, photos: Path) -> None:
    """A real process, a real SIGINT; the resumed network is the unbroken one's to the bit."""
    settings = ["--data", photos, "--weights", "random", "--hold-back", "0"]
    script = (
        "import sys, trainer.training as t; t.CHECKPOINT_EVERY_S = -1; from engines.cli import main; sys.exit(main())"
    )
    out = tmp_path / "bundle"
    command = [sys.executable, "-c", script, "train", *map(str, settings), "--epochs", "6", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    checkpoint = tmp_path / ".bundle.training" / "checkpoint.pt"
    deadline = time.monotonic() + 200
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not out.exists()
    with pytest.raises(BundleError):
        Bundle.open(out)

    assert run("train", *settings, "--epochs", 6, "--out", out, "--resume") == 0
    assert not checkpoint.exists()
    assert run("train", *settings, "--epochs", 6, "--out", tmp_path / "unbroken") == 0
    assert Bundle.open(out).files["model.onnx"] == Bundle.open(tmp_path / "unbroken").files["model.onnx"]


def test_train_evaluate_and_export_with_tiles(
    plate_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plate"
    options = ("--tiles", "1x2", "--overlap", 0.2, "--hold-back", 0.4)
    assert run("train", "--data", plate_photos, "--out", out, *FAST, *options) == 0
    assert "1x2, 20% in common; the network sees 461x256 pixels of a picture" in capsys.readouterr().out
    bundle = Bundle.open(out)
    assert bundle.info.preprocessing == Preprocessing(field="full", tiles=Tiling(1, 2, 0.2))
    assert bundle.golden_frames(bundle.latest_calibration).shape[1:] == (256, 461, 3)
    assert run("evaluate", "--bundle", out, "--data", plate_photos, "--json", tmp_path / "figures.json") == 0
    assert json.loads((tmp_path / "figures.json").read_text())["n_defect"] == 2
    assert run("export", "--bundle", out, "--out", tmp_path / "new", "--weights", "random") == 0
    assert Bundle.open(tmp_path / "new").info.preprocessing.tiles == Tiling(1, 2, 0.2)


def test_a_fold_is_trained_without_any_tile_of_the_photographs_that_it_scores(
    plate_photos: Path, tmp_path: Path
) -> None:
    """Its head is the one that training on the others alone gives (with drawn defects, others would be drawn there)."""
    fast = (*FAST, "--recipe", "paper", "--tiles", "1x2")
    options = (*fast, "--hold-back", 0)
    source = plate_photos / "train" / "good"
    assert run("train", "--data", source, "--out", tmp_path / "all", *fast, "--folds", 2) == 0
    fold = Bundle.open(tmp_path / "all.folds" / "1")
    (tmp_path / "rest").mkdir()
    for path in source.iterdir():
        if path.name not in fold.info.provenance.held_back:
            shutil.copy(path, tmp_path / "rest")
    assert run("train", "--data", tmp_path / "rest", "--out", tmp_path / "alone", *options) == 0
    assert Bundle.open(tmp_path / "alone").files["head.safetensors"] == fold.files["head.safetensors"]
