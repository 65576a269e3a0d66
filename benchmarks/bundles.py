"""Bundles to measure speed on: random weights in the true shapes, because time hardly depends on their values.

What such a bundle says of a part means nothing, and its int8 network has passed no gate.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration.int8 import settings
from calibration.procedure import REFERENCE
from edge.demo.parts import render
from engines.backbones import BACKBONES
from engines.bundle import (
    SCHEMA,
    BackboneInfo,
    Bundle,
    BundleInfo,
    Provenance,
    Quantisation,
    update_bundle,
    write_bundle,
)
from engines.export import build_model
from engines.head import Head
from engines.preprocess import Preprocessing
from trainer.recipe import PAPER
from trainer.weights import RANDOM, find_weights

CAMERA_SIZE = (1280, 1024)
PART = "flange"
_RANGE_FRAMES = 8


def make_bundle(folder: Path, backbone: str, int8: bool) -> Bundle:
    """Write an uncalibrated bundle of `backbone` to `folder`: random weights, the paper's head and preprocessing.

    With `int8` it also holds an int8 network, everything in int8, the fastest setting there
    is; that needs the `int8` extra and takes up to a minute or two. Raises UsageError for an unknown backbone,
    EngineError, BundleError.
    """
    weights = find_weights(backbone, RANDOM, seed=0)
    kind, preprocessing = BACKBONES[backbone], Preprocessing()
    head = random_head(sum(kind.channels), PAPER.hidden)
    model = build_model(kind, weights.arrays, head, preprocessing.input_size)
    info = BundleInfo(
        schema=SCHEMA,
        product="speed only, random weights",
        preprocessing=preprocessing,
        backbone=BackboneInfo(backbone, weights.sha256, weights.source),
        provenance=Provenance("0" * 64, 0, (), 0, {"name": "random"}, {}, _now()),
    )
    bundle = write_bundle(folder, info, model.SerializeToString(), head)
    return _with_int8(bundle) if int8 else bundle


def rendered_frames(count: int, size: tuple[int, int] = CAMERA_SIZE) -> list[NDArray[np.uint8]]:
    """Draw `count` different good parts as a camera of `size` (width, height in pixels) sees them.

    BGR uint8 `(height, width, 3)`, contiguous; always the same ones. Takes about a quarter of a second each.
    """
    streams = np.random.default_rng(0).spawn(count)
    return [np.ascontiguousarray(_in_camera(render(PART, stream).image, size)) for stream in streams]


def random_head(channels: int, hidden: int) -> Head:
    """A head of random weights for `channels` patch channels and `hidden` units, the same at every call."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 1 / np.sqrt(shape[-1]), shape).astype(np.float32)

    ones, zeros = np.ones(hidden, np.float32), np.zeros(hidden, np.float32)
    weights = normal(channels, channels), normal(hidden, channels)
    return Head(*weights, zeros, ones, zeros, zeros, ones, normal(hidden), np.zeros(1, np.float32))


def _in_camera(part: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The square picture of a part in the middle of the camera's, its rim carried on to both sides."""
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    square = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
    margins = (top, height - side - top, left, width - side - left)
    return np.asarray(cv2.copyMakeBorder(square, *margins, cv2.BORDER_REPLICATE), np.uint8)


def _with_int8(bundle: Bundle) -> Bundle:
    ranges = [bundle.info.preprocessing(frame) for frame in rendered_frames(_RANGE_FRAMES)]
    # The engine's name is for the ranking of blocks, which the first setting does without.
    network = next(settings(bundle, REFERENCE[0], ranges)).network
    quantisation = Quantisation(
        backend=REFERENCE[0],
        parts=len(ranges),
        float_parts=(),
        image_auroc_f32=0.0,
        image_auroc_int8=0.0,
        good=0,
        defects=0,
        pasted=False,
        verdict_flips=0,
        versions={},
        created=_now(),
    )
    info = msgspec.structs.replace(bundle.info, quantisation=quantisation)
    return update_bundle(bundle, info, networks={"int8": network})


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
