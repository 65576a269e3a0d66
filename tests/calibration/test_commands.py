from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from engines.bundle import Bundle, update_bundle
from engines.cli import main
from engines.images import list_images
from engines.preprocess import Preprocessing


@pytest.fixture
def bundle(bundle_copy: Any, uncalibrated_bundle: Bundle) -> Bundle:
    return bundle_copy(uncalibrated_bundle)


def calibrate(bundle: Bundle, good: Path, *options: str) -> int:
    return main(["calibrate", "--bundle", str(bundle.path), "--good", str(good), *options])


def test_the_report_says_what_a_person_has_to_know(bundle: Bundle, part_photos: Path, capsys: Any) -> None:
    assert calibrate(bundle, part_photos, "--engine", "onnxruntime") == 0
    calibration = Bundle.open(bundle.path).latest_calibration
    report = " ".join(capsys.readouterr().out.split())
    for sentence in (
        f"onnxruntime f32 on {' '.join(calibration.device.split())} (onnxruntime was asked for",
        f"24 in {part_photos / 'test' / 'good'}",
        f"a score above {calibration.threshold:.6g} is NotOK",
        " ".join(calibration.guarantee.split()),
        "8 kept in the bundle",
        "edge-inspect run --config station.toml",
        "when 75 more good parts are photographed",
    ):
        assert sentence in report
    for row in calibration.parity:
        assert f"{row.backend} {row.precision} {row.max_score_error:.2g}" in report


def test_enough_parts_need_no_more(bundle: Bundle, part_photos: Path, capsys: Any) -> None:
    assert calibrate(bundle, part_photos, "--engine", "onnxruntime", "--false-reject-rate", "0.05") == 0
    output = capsys.readouterr().out
    assert "certify the target of 5 %" in output
    assert "more good parts" not in output


def test_repeats_and_unknown_training_are_told(bundle: Bundle, part_photos: Path, tmp_path: Path, capsys: Any) -> None:
    good = tmp_path / "good"
    shutil.copytree(part_photos / "test" / "good", good)
    shutil.copy(good / "100.png", good / "200.png")
    silent = msgspec.structs.replace(bundle.info.provenance, trained_on=())
    update_bundle(bundle, msgspec.structs.replace(bundle.info, provenance=silent))
    assert calibrate(bundle, good, "--engine", "onnxruntime") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert f"24 in {good}; 1 more left out as repeats of the same file" in output
    assert "does not record which photographs were trained on" in output


def test_the_training_folder_again_means_its_held_back_parts(
    bundle: Bundle, part_photos: Path, tmp_path: Path, capsys: Any
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(part_photos / "train" / "good", photos)
    kept = tuple(path.name for path in list_images(part_photos / "test" / "good")[:5])
    for name in kept:
        shutil.copy(part_photos / "test" / "good" / name, photos)
    provenance = msgspec.structs.replace(bundle.info.provenance, held_back=kept)
    update_bundle(bundle, msgspec.structs.replace(bundle.info, provenance=provenance))
    assert calibrate(bundle, photos, "--engine", "onnxruntime") == 0
    assert "5 that training held back" in " ".join(capsys.readouterr().out.split())
    assert Bundle.open(bundle.path).latest_calibration.parts == 5


def write_text(folder: Path) -> None:
    (folder / "a.png").write_text("no image")
    (folder / "b.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("fill", "options", "words"),
    [
        (lambda folder: None, [], ["expected photographs of good parts", "found none"]),
        (write_text, [], ["2 image file(s) cannot be used", "a.png", "b.png"]),
        (None, [], ["1 of 1 photographs were trained on", "005.png"]),
        (write_text, ["--false-reject-rate", "1"], ["between 0 and 1", "1 % is 0.01", "found 1"]),
        (write_text, ["--false-reject-rate", "0"], ["between 0 and 1"]),
        (write_text, ["--false-reject-rate", "nan"], ["between 0 and 1"]),
    ],
)
def test_bad_input_is_one_clear_message(
    bundle: Bundle, part_photos: Path, tmp_path: Path, capsys: Any, fill: Any, options: list[str], words: list[str]
) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    fill(folder) if fill else shutil.copy(part_photos / "train" / "good" / "005.png", folder)
    code = calibrate(bundle, folder, *options)
    message = capsys.readouterr().err
    assert code == 2
    assert message.startswith("edge-inspect calibrate: ")
    assert all(word in message for word in words)
    assert "Traceback" not in message
    assert Bundle.open(bundle.path).digest == bundle.digest


def test_an_engine_that_cannot_run_is_found_out_before_the_photographs_are_read(
    bundle: Bundle, tmp_path: Path, capsys: Any
) -> None:
    write_text(tmp_path)
    assert calibrate(bundle, tmp_path, "--engine", "onnxruntime", "--precision", "bf16") != 0
    message = capsys.readouterr().err
    assert "f32 and int8, asked for bf16" in message
    assert "a.png" not in message


def test_a_frame_outside_the_region_of_interest_names_the_photograph(
    bundle: Bundle, part_photos: Path, capsys: Any
) -> None:
    preprocessing = Preprocessing(field="full", resize=128, roi=(0, 0, 500, 500))
    update_bundle(bundle, msgspec.structs.replace(bundle.info, preprocessing=preprocessing))
    assert calibrate(bundle, part_photos) == 2
    message = capsys.readouterr().err
    assert "24 image file(s)" in message
    assert "100.png: the region of interest" in message


@pytest.mark.parametrize("options", [["--false-reject-rate", "many"], ["--engine", "tpu"], ["--precision", "f8"]])
def test_impossible_options_are_wrong_usage(bundle: Bundle, part_photos: Path, capsys: Any, options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        calibrate(bundle, part_photos, *options)
    assert caught.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_explain_needs_nothing_else(capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["calibrate", "--explain"])
    assert caught.value.code == 0
    assert "| 99 | 1 % | 2.98 % |" in capsys.readouterr().out


def test_help_says_what_good_may_be(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "not trained on" in text
    assert "test/good" in text
    assert "example: edge-inspect calibrate --bundle" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_for_a_terminal_only(bundle: Bundle, part_photos: Path, terminal: bool) -> None:
    reader, writer = os.openpty() if terminal else os.pipe()
    command = ["calibrate", "--bundle", str(bundle.path), "--good", str(part_photos), "--engine", "onnxruntime"]
    program = "import sys; from engines.cli import main; sys.exit(main())"
    process = subprocess.run([sys.executable, "-c", program, *command], stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    shown = read_all(reader)
    assert process.returncode == 0
    assert b"threshold" in process.stdout
    for step in (b"checking 24/24", b"scoring 24/24", b"comparing engines 24/24"):
        assert (step in shown) is terminal


def read_all(descriptor: int) -> bytes:
    chunks = []
    try:
        while chunk := os.read(descriptor, 65536):
            chunks.append(chunk)
    except OSError:  # a terminal ends with EIO
        pass
    os.close(descriptor)
    return b"".join(chunks)


def test_calibrating_imports_nothing_of_the_trainer(bundle: Bundle, part_photos: Path) -> None:
    program = (
        "import sys; from engines.cli import main; code = main()\n"
        "heavy = {'torch', 'trainer', 'onnx', 'scipy', 'safetensors', 'sklearn', 'tqdm'} & set(sys.modules)\n"
        "sys.exit(code or ', '.join(sorted(heavy)) or 0)"
    )
    command = ["calibrate", "--bundle", str(bundle.path), "--good", str(part_photos), "--false-reject-rate", "0.05"]
    process = subprocess.run([sys.executable, "-c", program, *command], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    assert np.isfinite(Bundle.open(bundle.path).latest_calibration.threshold)


def by_lot(photos: Path, root: Path) -> Path:
    """The 24 good parts in three folders, one a lot."""
    for index, path in enumerate(list_images(photos / "test" / "good")):
        folder = root / f"lot-{index % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    return root


def test_lots_are_folders_or_a_table(bundle: Bundle, part_photos: Path, tmp_path: Path, capsys: Any) -> None:
    options = ("--engine", "onnxruntime", "--false-reject-rate", "0.25")
    assert calibrate(bundle, by_lot(part_photos, tmp_path / "good"), *options, "--lots", "folders") == 0
    report = " ".join(capsys.readouterr().out.split())
    assert "24 good parts of 3 lots certify the target of 25 %" in report
    folders = Bundle.open(bundle.path).latest_calibration
    table = tmp_path / "lots.csv"
    names = [path.name for path in list_images(part_photos / "test" / "good")]
    table.write_text("file,lot\n" + "".join(f"{name},{index % 3}\n" for index, name in enumerate(names)))
    assert calibrate(bundle, part_photos, *options, "--lots", str(table)) == 0
    listed = Bundle.open(bundle.path).latest_calibration
    assert (listed.lots, listed.threshold, listed.interval) == (3, folders.threshold, folders.interval)
    table.write_text("file,lot\n100.png,A\n")
    assert calibrate(bundle, part_photos, *options, "--lots", str(table)) == 2
    assert "names no lot for 23 of 24 photographs" in capsys.readouterr().err


def test_confidence_and_defects_are_kept_and_told(bundle: Bundle, part_photos: Path, capsys: Any) -> None:
    options = ("--engine", "onnxruntime", "--false-reject-rate", "0.2", "--confidence", "0.95", "--review-rate", "0.5")
    weighed = ("--defects", str(part_photos / "test"), "--escape-cost", "50", "--defect-rate", "0.01")
    assert calibrate(bundle, part_photos, *options, *weighed) == 0
    report = " ".join(capsys.readouterr().out.split())
    calibration = Bundle.open(bundle.path).latest_calibration
    assert (calibration.method, calibration.confidence) == ("tolerance", 0.95)
    assert calibration.escapes is not None
    assert (calibration.escapes.parts, calibration.escapes.escaped) == (3, 0)
    assert calibration.review_above is not None
    assert calibration.review_above < calibration.threshold
    for sentence in (
        "one above",
        "wants review",
        "0 of 3 labelled defects pass",
        "an escape costs 50 false rejects and 1 % of parts are defective",
    ):
        assert sentence in report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--escape-cost", "5"), "go together, and need photographs of defects"),
        (("--escape-cost", "5", "--defect-rate", "0.1"), "need photographs of defects"),
        (("--defects", "{photos}/test", "--escape-cost", "0", "--defect-rate", "0.1"), "cost more than 0"),
        (("--confidence", "95"), "95 % is 0.95"),
        (("--review-rate", "0.001"), "a review rate above the false-reject rate"),
        (("--lots", "folders"), "a folder of photographs for each lot"),
        (("--lots", "nowhere.csv"), "the word folders, or a csv file"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    bundle: Bundle, part_photos: Path, capsys: Any, options: tuple[str, ...], message: str
) -> None:
    assert calibrate(bundle, part_photos, *(text.format(photos=part_photos) for text in options)) == 2
    assert message in capsys.readouterr().err
    assert Bundle.open(bundle.path).digest == bundle.digest


def quantise(bundle: Bundle, data: Path, *options: str) -> int:
    return main(["quantise", "--bundle", str(bundle.path), "--data", str(data), "--engine", "onnxruntime", *options])


def test_quantise_says_what_it_tried_and_sets_a_threshold(bundle: Bundle, part_photos: Path, capsys: Any) -> None:
    good, defects = part_photos / "test" / "good", part_photos / "test"
    options = ("--good", str(good), "--defects", str(defects), "--false-reject-rate", "0.05")
    assert quantise(bundle, part_photos, *options) == 0
    report = " ".join(capsys.readouterr().out.split())
    for sentence in (
        "ranges 16 photographs that were trained on",
        f"24 good parts in {good} and 6 photographs of defects, on onnxruntime",
        "passed ",
        " image AUROC ",
        "times the frames a second of f32 on this machine",
        "certify the target of 5 %",
    ):
        assert sentence in report
    opened = Bundle.open(bundle.path)
    assert opened.latest_calibration.precision == "int8"
    assert opened.info.quantisation is not None
    assert not opened.info.quantisation.pasted


def test_quantise_goes_on_without_defects(bundle: Bundle, part_photos: Path, capsys: Any) -> None:
    quantise(bundle, part_photos, "--good", str(part_photos / "test" / "good"))
    assert "with a patch pasted where it does not belong (no --defects given)" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data", "nowhere"), "nowhere"),
        (("--defects", "{photos}/train/good"), "expected photographs of defects in .*good"),
        (("--false-reject-rate", "1"), "expected a false-reject rate between 0 and 1"),
        (("--good", "{photos}/train/good"), "were trained on"),
    ],
)
def test_quantise_refuses_what_cannot_work_and_leaves_the_bundle(
    bundle: Bundle, part_photos: Path, capsys: Any, options: tuple[str, ...], message: str
) -> None:
    chosen = ("--good", str(part_photos / "test" / "good"), *(text.format(photos=part_photos) for text in options))
    assert quantise(bundle, part_photos, *chosen) == 2
    assert re.search(message, capsys.readouterr().err)
    assert Bundle.open(bundle.path).digest == bundle.digest


def test_quantise_wants_the_folder_that_was_trained_on(bundle: Bundle, part_photos: Path, capsys: Any) -> None:
    assert quantise(bundle, part_photos / "test" / "good") == 2
    assert "expected the photographs that the bundle was trained on" in capsys.readouterr().err
