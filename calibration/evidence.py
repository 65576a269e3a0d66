"""What a page shows of a calibrated bundle: scores of photographs whose truth is known, and the parts to look at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.scoring import Progress
from engines.bundle import Bundle, Calibration
from engines.engine import Engine, EngineDescription, Inspection
from engines.errors import DataError
from engines.images import list_images, read_image
from engines.masks import mask_of
from engines.page.document import PICTURE_WIDTH
from engines.page.heat import Scale, in_frame, quiet_level
from engines.preprocess import Preprocessing

_Pixel = TypeVar("_Pixel", np.uint8, np.float32)

GOOD = "good"
SHOWN = 6


@dataclass(frozen=True)
class Part:
    """A photograph's score; `kind` is `GOOD` or the defect's folder."""

    path: Path
    kind: str
    score: float


@dataclass(frozen=True)
class Picture:
    """A part to look at, as large as the page shows it: BGR `(H, W, 3)`.

    `position` is where its map lies on the page's scale, float32 `(H, W)`; `mask` `(H, W)` is not 0 on the true defect,
    where that is known.
    """

    name: str
    kind: str
    score: float
    image: NDArray[np.uint8]
    position: NDArray[np.float32]
    mask: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Evidence:
    """All that one page tells. `times` holds the milliseconds of every part by stage.

    Without `parts` the worst good ones are the bundle's golden parts. `shown_bad` are the defective parts with the
    lowest scores, or `every` one of them, by kind.
    """

    bundle: Bundle
    calibration: Calibration
    engine: EngineDescription
    scale: Scale
    worst_good: tuple[Picture, ...]
    data: Path | None = None
    parts: tuple[Part, ...] = ()
    shown_bad: tuple[Picture, ...] = ()
    every: bool = False
    times: dict[str, list[float]] = field(default_factory=dict)

    def scores(self, good: bool) -> NDArray[np.float32]:
        """Scores of the photographs that are good, or of those that are not, float32 `(N,)`."""
        return np.asarray([part.score for part in self.parts if (part.kind == GOOD) is good], np.float32)


def gather(
    bundle: Bundle,
    calibration: Calibration,
    engine: Engine,
    data: Path | None,
    every: bool = False,
    progress: Progress | None = None,
) -> Evidence:
    """Score what `data` holds with the calibrated engine, one part at a time, and choose the parts to look at.

    `data` is a data set in MVTec AD's layout, or a folder with `good` and folders of defects; with None the golden
    parts are all there is. `every` shows all defective parts and all false rejects. Raises DataError and EngineError.
    """
    golden = bundle.golden_frames(calibration)
    maps = [engine.infer(frame[None]).maps[0] for frame in golden]
    scale = Scale(quiet_level(np.stack(maps)) if maps else 0.0, calibration.map_threshold)
    if data is None:
        pictures = [
            Picture(
                part.file,
                GOOD,
                part.score,
                _page_size(_bgr(frame[:, :, ::-1])),
                _page_size(scale.position(anomaly_map), cv2.INTER_LINEAR),
            )
            for part, frame, anomaly_map in zip(calibration.golden, golden, maps, strict=True)
        ]
        return Evidence(bundle, calibration, engine.description, scale, tuple(pictures[::-1][:SHOWN]))
    look = _Look(engine, bundle.info.preprocessing, scale)
    parts = look.score(labelled(data), progress)
    good = sorted((part for part in parts if part.kind == GOOD), key=lambda part: -part.score)
    bad = sorted((part for part in parts if part.kind != GOOD), key=lambda part: part.score)
    false_rejects = sum(part.score > calibration.threshold for part in good)
    shown_good = good[: max(SHOWN, false_rejects if every else 0)]
    shown_bad = sorted(bad, key=lambda part: part.kind) if every else bad[:SHOWN]
    return Evidence(
        bundle=bundle,
        calibration=calibration,
        engine=engine.description,
        scale=scale,
        worst_good=look.pictures(shown_good),
        data=data,
        parts=tuple(parts),
        shown_bad=look.pictures(shown_bad),
        every=every,
        times=look.times,
    )


def labelled(data: Path) -> list[tuple[Path, str]]:
    """Photographs in the folders of `data/test`, or of `data` itself, with the folder's name.

    Raises DataError where no folder holds any.
    """
    root = data / "test" if (data / "test").is_dir() else data
    folders = sorted(path for path in root.glob("*") if path.is_dir() and not path.name.startswith("."))
    found = [(path, folder.name) for folder in folders for path in list_images(folder)]
    if not found:
        raise DataError(
            f"expected folders of photographs in {root}, {GOOD} and one for each kind of defect, found none; name "
            "another --data, or leave it out"
        )
    return found


class _Look:
    """One engine's view of photographs; maps are computed again for those shown, since all would not fit in memory."""

    def __init__(self, engine: Engine, preprocessing: Preprocessing, scale: Scale) -> None:
        self._engine = engine
        self._preprocessing = preprocessing
        self._scale = scale
        self.times: dict[str, list[float]] = {"preprocess": [], "infer": []}

    def score(self, photographs: Sequence[tuple[Path, str]], progress: Progress | None) -> list[Part]:
        """Score every photograph and note how long each stage took."""
        parts = []
        for done, (path, kind) in enumerate(photographs, start=1):
            inspection = self._inspect(read_image(path))
            parts.append(Part(path, kind, float(inspection.scores[0])))
            if progress:
                progress("scoring", done, len(photographs))
        return parts

    def pictures(self, parts: Sequence[Part]) -> tuple[Picture, ...]:
        """The photographs of `parts` with their heat maps."""
        return tuple(self._picture(part) for part in parts)

    def _picture(self, part: Part) -> Picture:
        image = read_image(part.path)
        placed = in_frame(self._inspect(image).maps[0], self._preprocessing, image.shape)
        position = _page_size(self._scale.position(placed), cv2.INTER_NEAREST)
        mask = mask_of(part.path)
        truth = None if mask is None else _page_size(_grey(read_image(mask)), cv2.INTER_AREA)
        return Picture(part.path.name, part.kind, part.score, _page_size(_bgr(image)), position, truth)

    def _inspect(self, image: NDArray[np.uint8]) -> Inspection:
        began = time.perf_counter()
        takes = self._engine.takes(self._preprocessing)
        frame = image if takes else self._preprocessing(image)
        prepared = time.perf_counter()
        if takes:
            inspection = self._engine.submit_frame(frame, self._preprocessing).result()
        else:
            inspection = self._engine.infer(frame[None])
        self.times["preprocess"].append((prepared - began) * 1e3)
        self.times["infer"].append((time.perf_counter() - prepared) * 1e3)
        return inspection


def _bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image) if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 2 else np.asarray(image.max(axis=2))


def _page_size(picture: NDArray[_Pixel], interpolation: int = cv2.INTER_AREA) -> NDArray[_Pixel]:
    """Outlines are drawn on what is shown, so that they are as thick on a large picture as on a small one."""
    height = max(PICTURE_WIDTH * picture.shape[0] // picture.shape[1], 1)
    return np.asarray(cv2.resize(picture, (PICTURE_WIDTH, height), interpolation=interpolation), picture.dtype)
