"""The gate of int8: both outcomes, on networks that bear 8 bits and on those that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from calibration.int8 import Setting
from calibration.int8_gate import MAX_AUROC_LOSS, Evidence, Finding, Scores, compare, quantise
from calibration.pasted import PastedDefects
from engines.bundle import Bundle
from engines.errors import CalibrationError
from engines.registry import open_engine

Frames = list[NDArray[np.uint8]]
Lopsided = Callable[[Bundle, Sequence[str]], Bundle]
BACKEND = "onnxruntime"
SETTING = Setting(b"", ())


@pytest.fixture
def bundle(uncalibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Bundle:
    return bundle_copy(uncalibrated_bundle)


@pytest.fixture
def evidence(good_frames: NDArray[np.uint8], scratched_frames: Frames) -> Evidence:
    return Evidence.gather(list(good_frames), scratched_frames)


def run(bundle: Bundle, ranges: Frames, evidence: Evidence) -> tuple[Bundle, list[Finding]]:
    findings: list[Finding] = []
    return quantise(bundle, BACKEND, ranges, evidence, 0.05, findings.append), findings


def test_a_network_that_bears_8_bits_is_let_in(bundle: Bundle, trained_frames: Frames, evidence: Evidence) -> None:
    quantised, findings = run(bundle, trained_frames, evidence)
    finding = findings[-1]
    record = quantised.info.quantisation
    assert finding.passed
    assert record is not None
    assert (record.backend, record.float_parts, record.parts) == (BACKEND, finding.setting.float_parts, 16)
    assert (record.good, record.defects, record.pasted) == (24, 6, False)
    assert (record.image_auroc_f32, record.image_auroc_int8) == (finding.auroc_f32, finding.auroc_int8)
    assert record.versions["nncf"][0].isdigit()
    assert quantised.read_network("int8") == finding.setting.network
    with open_engine(quantised, BACKEND, "int8") as engine:
        assert engine.description.precision == "int8"
    assert Bundle.open(bundle.path).info == quantised.info


def test_a_block_that_does_not_is_left_in_floating_point(
    bundle: Bundle, lopsided: Lopsided, trained_frames: Frames, evidence: Evidence
) -> None:
    quantised, findings = run(lopsided(bundle, ["layer1.0"]), trained_frames, evidence)
    assert [finding.passed for finding in findings] == [False, False, True]
    assert quantised.info.quantisation is not None
    assert quantised.info.quantisation.float_parts == ("stem", "head", "layer1.0")


def test_a_network_that_does_not_is_refused_and_the_blocks_are_named(
    bundle: Bundle, lopsided: Lopsided, trained_frames: Frames, evidence: Evidence
) -> None:
    blocks = ["layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1"]
    spoilt = lopsided(bundle, blocks)
    with pytest.raises(CalibrationError, match=r"int8 is refused .* of 5 settings .* most to blame.*layer\d\.\d"):
        run(spoilt, trained_frames, evidence)
    assert Bundle.open(bundle.path).digest == spoilt.digest


def test_another_int8_network_replaces_the_first_and_its_threshold(
    bundle: Bundle, trained_frames: Frames, good_frames: NDArray[np.uint8], evidence: Evidence
) -> None:
    from calibration.procedure import calibrate

    quantised, _ = run(bundle, trained_frames, evidence)
    for precision in ("f32", "int8"):
        with open_engine(quantised, BACKEND, precision) as engine:
            quantised = calibrate(quantised, engine, list(good_frames), 0.05)
    int8 = quantised.calibration_for(BACKEND, "int8")
    assert int8.threshold != quantised.calibration_for(BACKEND, "f32").threshold
    assert (BACKEND, "int8") in {(row.backend, row.precision) for row in int8.parity}
    again, _ = run(quantised, trained_frames[::2], evidence)
    assert [entry.precision for entry in again.info.calibrations] == ["f32"]


def test_without_defects_some_are_pasted(good_frames: NDArray[np.uint8]) -> None:
    evidence = Evidence.gather(list(good_frames), None)
    assert evidence.pasted
    assert len(evidence.defects) == len(evidence.good) == 24


def scores(good: Sequence[float], defects: Sequence[float], rejected: Sequence[bool], rate: float) -> Scores:
    return Scores(np.array(good, np.float32), np.array(defects, np.float32), np.array(rejected), rate)


def test_the_auroc_may_fall_by_a_fifth_of_a_point() -> None:
    good, defects = np.linspace(0, 1, 2001), np.full(100, 0.9987)
    float32 = scores(good, defects, [False] * 2001, 0.01)
    assert float32.image_auroc == pytest.approx(0.9985, abs=1e-3)
    passing = scores(good, np.full(100, 0.9972), [False] * 2001, 0.01)
    failing = scores(good, np.full(100, 0.9962), [False] * 2001, 0.01)
    assert float32.image_auroc - passing.image_auroc < MAX_AUROC_LOSS < float32.image_auroc - failing.image_auroc
    assert compare(SETTING, float32, passing).passed
    assert not compare(SETTING, float32, failing).passed
    assert compare(SETTING, failing, float32).passed  # better than float32 is no loss


@pytest.mark.parametrize(("flips", "passed"), [(0, True), (2, True), (3, False)])
def test_verdicts_may_flip_as_often_as_the_certified_rate(flips: int, passed: bool) -> None:
    good, defects = [0.0] * 200, [1.0] * 10
    float32 = scores(good, defects, [False] * 200, 0.01)
    int8 = scores(good, defects, [True] * flips + [False] * (200 - flips), 0.01)
    finding = compare(SETTING, float32, int8)
    assert (finding.flips, finding.allowed_flips, finding.passed) == (flips, 2, passed)


def test_pasted_defects_are_the_same_every_time_and_change_a_patch_only(good_frames: NDArray[np.uint8]) -> None:
    parts = list(good_frames[:8])
    pasted = PastedDefects(parts)
    for index, part in enumerate(parts):
        before = part.copy()
        found = pasted[index]
        np.testing.assert_array_equal(found, pasted[index])
        np.testing.assert_array_equal(part, before)
        rows, columns = np.nonzero((found != part).any(axis=2))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1) / part[:, :, 0].size
        assert 0 < box <= 0.16


@pytest.mark.shared
@pytest.mark.parametrize("name", ["magnetic_tile", "mvtec_screw", "casting_impeller"])
def test_on_real_photographs_it_costs_no_accuracy_or_is_refused(
    name: str, shared_dir: Path, make_bundle, tmp_path: Path
) -> None:
    from engines.images import list_images, read_image
    from engines.preprocess import Preprocessing

    folder = shared_dir / "data" / name
    weights = next((shared_dir / "weights").glob("resnet18*.safetensors"))
    photos = list_images(folder / "train" / "good")[:40]
    bundle = make_bundle(tmp_path / name, str(weights), photos, Preprocessing())
    prepare = bundle.info.preprocessing
    ranges = [prepare(read_image(path)) for path in photos]
    good = [prepare(read_image(path)) for path in list_images(folder / "test" / "good")[:60]]
    kinds = [path for path in sorted((folder / "test").iterdir()) if path.name != "good"]
    defects = [prepare(read_image(path)) for kind in kinds for path in list_images(kind)[:20]]
    findings: list[Finding] = []
    evidence = Evidence.gather(good, defects)
    passed = any(finding.passed for finding in try_all(bundle, ranges, evidence, findings))
    assert passed == (Bundle.open(bundle.path).info.quantisation is not None)
    assert findings[-1].passed == passed
    assert passed or len(findings) == 5


def try_all(bundle: Bundle, ranges: Frames, evidence: Evidence, findings: list[Finding]) -> list[Finding]:
    with suppress(CalibrationError):
        quantise(bundle, "openvino", ranges, evidence, 0.05, findings.append)
    return findings
