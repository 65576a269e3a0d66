"""Pictures of parts whose verdict is known beforehand, because the network at hand has given it already."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.belt import Pictures
from engines.bundle import Bundle
from engines.errors import DataError
from engines.images import list_images, read_image
from engines.registry import open_engine

_PICTURES = 8
_FALSE_REJECT_RATE = 0.05


def random_subject(folder: Path) -> tuple[Path, Pictures]:
    """A bundle of random weights, and drawn parts: it takes the good ones and rejects those with a noisy spot."""
    from benchmarks.bundles import make_bundle, rendered_frames
    from calibration.procedure import calibrate

    bundle = make_bundle(folder / "bundle", "resnet18", int8=False)
    good = rendered_frames(_PICTURES, (320, 256))
    with open_engine(bundle) as engine:
        calibrate(bundle, engine, [bundle.info.preprocessing(frame) for frame in good], _FALSE_REJECT_RATE)
    bad = [_spoilt(frame, seed) for seed, frame in enumerate(good)]
    return bundle.path, Pictures(*(_written(folder / kind, each) for kind, each in (("good", good), ("bad", bad))))


def check(bundle: Bundle, pictures: Pictures) -> None:
    """Raises DataError where the bundle does not judge the pictures as they are named."""
    calibration = bundle.latest_calibration
    with open_engine(bundle, calibration.backend, calibration.precision) as engine:
        for kind, paths in (("good", pictures.good), ("bad", pictures.bad)):
            for path in paths:
                frame = bundle.info.preprocessing(read_image(path))
                rejected = float(engine.infer(frame[None]).scores[0]) > calibration.threshold
                if rejected != (kind == "bad"):
                    raise DataError(f"expected a {kind} part in {path}; {bundle.path} judges otherwise; choose another")


def _spoilt(frame: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    bad, (y, x) = frame.copy(), rng.integers(90, 130, 2)
    bad[y : y + 60, x : x + 60] = 255 * rng.integers(0, 2, (60, 60, 1))
    return bad


def _written(folder: Path, frames: Sequence[NDArray[np.uint8]]) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{index}.png" for index in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        cv2.imwrite(str(path), frame)
    return paths


def copied(folder: Path, source: Path) -> list[Path]:
    """Copies of the pictures of `source` in a folder of the same name, from where the belt can link them."""
    target = folder / source.name
    target.mkdir()
    return [Path(shutil.copy(path, target)) for path in list_images(source)]
