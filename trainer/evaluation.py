"""How well a bundle tells a data set's defects from its good parts, through the engine that will run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from engines.bundle import Bundle, Calibration
from engines.engine import Engine
from engines.errors import DataError
from engines.images import check_images, read_image
from engines.preprocess import Preprocessing
from trainer.data import Sample, scan_test
from trainer.metrics import image_metrics, pixel_metrics


def evaluate(bundle: Bundle, engine: Engine, data: Path) -> dict[str, Any]:
    """Metrics of the data set's test photographs, and what the calibrated threshold makes of them.

    Keys as in `trainer.metrics`, with engine, precision and, where the bundle is calibrated for this engine,
    threshold, false_reject_rate and escape_rate. Raises DataError where there is no test set.
    """
    samples = scan_test(data)
    if not samples:
        raise DataError(f"{data}: expected test/good and test/<defect> as in MVTec AD, found no test photographs")
    check_images([path for sample in samples for path in (sample.path, sample.mask) if path])
    preprocessing = bundle.info.preprocessing
    scores, maps = _inspect(engine, samples, preprocessing)
    is_defect = np.array([sample.is_defect for sample in samples])
    masks = [read_mask(sample.mask, preprocessing) for sample in samples]
    return {
        **image_metrics(scores, is_defect),
        **pixel_metrics(maps, masks, is_defect),
        **_at_threshold(scores, is_defect, _calibration(bundle, engine)),
        "engine": engine.description.backend,
        "precision": engine.description.precision,
    }


def read_mask(path: Path | None, preprocessing: Preprocessing) -> NDArray[np.bool_] | None:
    """Read a ground-truth mask onto the map's grid with nearest neighbours; None stays None."""
    if path is None:
        return None
    mask = read_image(path)
    return preprocessing.mask(mask if mask.ndim == 2 else np.asarray(mask.max(axis=2)))


def _inspect(
    engine: Engine, samples: Sequence[Sample], preprocessing: Preprocessing
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scores = np.empty(len(samples), np.float32)
    maps = np.empty((len(samples), *preprocessing.input_shape), np.float32)
    for index, sample in enumerate(tqdm(samples, desc="inspecting", unit="photo", disable=None, leave=False)):
        inspection = engine.infer(preprocessing(read_image(sample.path))[None])
        scores[index], maps[index] = inspection.scores[0], inspection.maps[0]
    return scores, maps


def _calibration(bundle: Bundle, engine: Engine) -> Calibration | None:
    ours = (engine.description.backend, engine.description.precision)
    return next((c for c in bundle.info.calibrations if (c.backend, c.precision) == ours), None)


def _at_threshold(
    scores: NDArray[np.float32], is_defect: NDArray[np.bool_], calibration: Calibration | None
) -> dict[str, float | None]:
    if calibration is None:
        return {"threshold": None, "false_reject_rate": None, "escape_rate": None}
    rejected = scores > calibration.threshold
    return {
        "threshold": calibration.threshold,
        "false_reject_rate": float(rejected[~is_defect].mean()),
        "escape_rate": float((~rejected[is_defect]).mean()),
    }
