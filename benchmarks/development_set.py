"""A data set to choose recipes on: held-back photographs of good parts, some of them spoilt. No real defect is seen.

    python benchmarks/development_set.py --data DIR/mvtec_screw --out development/mvtec_screw
    python benchmarks/bench_accuracy.py --data development/mvtec_screw --recipe default paper ...

The photographs of `train/good` are dealt out to those to learn from, those that stay good, and those that are spoilt;
nothing else of the data set is opened. The spoiling draws otherwise than the training does (`trainer/synthetic.py`), so
as not to flatter it: lines, stains, motion blur, bulges, places painted over, and pits, mostly where the part is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from edge.demo.parts import write_image
from engines.errors import DataError, InspectError
from engines.images import read_image
from engines.preprocess import Preprocessing
from trainer.data import scan_dataset

Frame = NDArray[np.uint8]
Mask = NDArray[np.uint8]

VIEW = Preprocessing(field="full")
# Share of the photographs that stay good, and that are spoilt; where there are many, no more than this many.
GOOD, SPOILT, MOST = 0.17, 0.27, (160, 50, 80)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        write_development_set(options.data, options.out, options.seed)
    except InspectError as error:
        print(f"development_set: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def write_development_set(data: Path, out: Path, seed: int = 0) -> None:
    """Write one under `out` in MVTec AD's layout, from the good photographs of the data set at `data`.

    Photographs are written as the network sees them with `field="full"`. Raises DataError for fewer than 10 of them
    and where `out` already holds files.
    """
    if out.exists() and any(out.iterdir()):
        raise DataError(f"expected an empty or a new folder at {out}, found files in it; remove it or name another")
    paths = scan_dataset(data).train_good
    if len(paths) < 10:
        raise DataError(f"{data}: expected at least 10 photographs of good parts, found {len(paths)}")
    rng = np.random.default_rng(seed)
    shuffled = [paths[index] for index in rng.permutation(len(paths))]
    good, spoilt = (min(round(share * len(paths)), most) for share, most in zip((GOOD, SPOILT), MOST[1:], strict=True))
    rest = shuffled[good + spoilt :]
    for number, path in enumerate(shuffled[:good]):
        write_image(out / "test" / "good" / f"{number:03}.png", _read(path))
    for number, path in enumerate(shuffled[good : good + spoilt]):
        kind = list(KINDS)[number % len(KINDS)]
        frame, mask = KINDS[kind](_read(path), rng)
        write_image(out / "test" / kind / f"{number:03}.png", frame)
        write_image(out / "ground_truth" / kind / f"{number:03}_mask.png", mask)
    for number, path in enumerate(rest[: MOST[0]]):
        write_image(out / "train" / "good" / f"{number:03}.png", _read(path))


def line(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Mask]:
    """A thin bent line, lighter or darker."""
    points = [np.array(_spot(frame, rng), float)]
    heading = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(4, 10)):
        heading += rng.normal(0, 0.25)
        points.append(points[-1] + 6 * np.array([np.cos(heading), np.sin(heading)]))
    shape = np.zeros(frame.shape[:2], np.uint8)
    track = np.round(8 * np.array(points)).astype(np.int32)
    cv2.polylines(shape, [track], False, 255, int(rng.integers(1, 3)), cv2.LINE_AA, 3)
    return _blend(frame, frame + rng.choice([-1, 1]) * rng.uniform(30, 70), shape), _mask(shape, 60)


def stain(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Mask]:
    """A soft-edged place that is darker or lighter."""
    shape = np.asarray(cv2.GaussianBlur(_blob(frame, rng, rng.uniform(8, 20)), (0, 0), 2), np.uint8)
    gain = rng.uniform(0.55, 0.8) if rng.random() < 0.6 else rng.uniform(1.2, 1.5)
    return _blend(frame, frame * gain, shape), _mask(shape, 100)


def smear(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Mask]:
    """The surface blurred in one direction."""
    shape = _blob(frame, rng, rng.uniform(9, 16))
    turn = rng.uniform(0, np.pi)
    x, y = round(7 * np.cos(turn)), round(7 * np.sin(turn))
    kernel = np.zeros((15, 15), np.float32)
    cv2.line(kernel, (7 - x, 7 - y), (7 + x, 7 + y), 1, 1)
    return _blend(frame, np.asarray(cv2.filter2D(frame, -1, kernel / kernel.sum())), shape), _mask(shape, 100)


def bulge(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Mask]:
    """The picture pushed to one side, as a bent or dented part looks."""
    x, y = _spot(frame, rng)
    rows, columns = np.mgrid[: len(frame), : len(frame)].astype(np.float32)
    strength = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * rng.uniform(8, 13) ** 2)).astype(np.float32)
    turn, length = rng.uniform(0, 2 * np.pi), rng.uniform(7, 11)
    across = columns + np.float32(length * np.cos(turn)) * strength
    down = rows + np.float32(length * np.sin(turn)) * strength
    moved = cv2.remap(frame, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, np.uint8), _mask(255 * strength, 100)


def painted_over(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Mask]:
    """A place filled in from its surroundings, so that what was there is missing."""
    shape = _blob(frame, rng, rng.uniform(7, 13))
    return np.asarray(cv2.inpaint(frame, _mask(shape, 0), 3, cv2.INPAINT_TELEA), np.uint8), _mask(shape, 0)


def pits(frame: Frame, rng: np.random.Generator) -> tuple[Frame, Mask]:
    """A few small dark dots close together."""
    x, y = _spot(frame, rng)
    shape = np.zeros(frame.shape[:2], np.uint8)
    for _ in range(rng.integers(3, 9)):
        centre = int(x + rng.normal(0, 7)), int(y + rng.normal(0, 7))
        cv2.circle(shape, centre, int(rng.integers(1, 3)), 255, -1, cv2.LINE_AA)
    wide = cv2.dilate(shape, np.ones((3, 3), np.uint8))
    return _blend(frame, frame * rng.uniform(0.25, 0.6), shape), _mask(wide, 0)


KINDS: dict[str, Callable[[Frame, np.random.Generator], tuple[Frame, Mask]]] = {
    kind.__name__: kind for kind in (line, stain, smear, bulge, painted_over, pits)
}


def _spot(frame: Frame, rng: np.random.Generator) -> tuple[int, int]:
    """A place off the rim, and nearly always in the half of the picture that has more structure: on the part."""
    margin = len(frame) // 6
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32)
    contrast = np.abs(grey - np.median(grey)) + np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    inner = cv2.GaussianBlur(contrast, (0, 0), 4)[margin:-margin, margin:-margin]
    weights = np.where(inner >= np.median(inner), 1.0, 0.02).ravel()
    row, column = divmod(int(rng.choice(weights.size, p=weights / weights.sum())), inner.shape[1])
    return column + margin, row + margin


def _blob(frame: Frame, rng: np.random.Generator, radius: float) -> Mask:
    """A filled outline that wanders about a circle, 255 inside, with a smooth edge."""
    x, y = _spot(frame, rng)
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = [rng.normal(0, 0.18 / k) * np.cos(k * turn + rng.uniform(0, 6)) for k in (1, 2, 3, 4)]
    reach = radius * (1 + np.sum(waves, axis=0))
    outline = np.stack([x + reach * np.cos(turn) * rng.uniform(0.6, 1.4), y + reach * np.sin(turn)], axis=1)
    shape = np.zeros(frame.shape[:2], np.uint8)
    cv2.fillPoly(shape, [np.round(8 * outline).astype(np.int32)], 255, cv2.LINE_AA, 3)
    return shape


def _blend(frame: Frame, other: NDArray[np.number], shape: Mask) -> Frame:
    share = (shape / 255)[..., None]
    return (frame * (1 - share) + other * share).clip(0, 255).round().astype(np.uint8)


def _mask(shape: NDArray[np.number], above: float) -> Mask:
    return np.where(shape > above, 255, 0).astype(np.uint8)


def _read(path: Path) -> Frame:
    return np.ascontiguousarray(VIEW(read_image(path))[..., ::-1])  # files are BGR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, required=True, help="folder in MVTec AD's layout, or of good photographs")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
