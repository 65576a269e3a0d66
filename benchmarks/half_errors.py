"""What half precision does to the scores, and what each layer that stays float32 is worth.

Every stored number is truly rounded to half, sums are float32 (PyTorch on the CPU). Errors are against the float32
network, over the deviation of what they are errors of, on good and defective parts of a data set.

    python benchmarks/half_errors.py --bundle BUNDLE --data DIR [--parts 40] [--markdown]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.onnx_in_torch import run_in_torch
from benchmarks.results import format_table
from engines import half
from engines.bundle import Bundle
from engines.errors import DataError, InspectError
from engines.images import read_image
from trainer.data import scan_dataset
from trainer.metrics import image_metrics

Outputs = dict[str, NDArray[np.float32]]

OUTPUTS = ("head.patches", "scores", "maps", "embeddings")
HEADER = ("float32 are", "patches rms", "patches worst", "scores worst", "maps rms", "embeddings worst", "I-AUROC")
BATCH = 8


def variants() -> dict[str, Mapping[str, str]]:
    """Sets of layers that stay float32: those of the product, each part of them left out, and more than them."""
    score = ("head.patches", "peak")
    maps = ("map.rows", "map.blurred")
    return {
        "as built": half.KEPT,
        "without the score": _without(*score),
        "without the map": _without(*maps),
        "without the means": _without("mean"),
        "and the pixels": {**half.KEPT, **dict.fromkeys(("pixels", "centred"), "tried")},
        "and the stem": {**half.KEPT, **dict.fromkeys(("pixels", "centred", "conv1", "relu", "maxpool"), "tried")},
    }


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        bundle = Bundle.open(options.bundle)
        parts = load_parts(bundle, options.data, options.parts)
    except InspectError as error:
        print(f"half_errors: {error}", file=sys.stderr)
        return error.exit_code
    print(format_table(HEADER, measure(bundle, parts), options.markdown))
    growth, layer = largest_growth(bundle, parts)
    print(f"\nranges: {layer} grows most, to {growth:.2f} times what was measured before the build")
    return 0


@dataclass(frozen=True)
class Parts:
    """Network inputs `(N, S, S, 3)` with their truth `(N,)`, and those `seen` when a network is built: golden parts."""

    frames: NDArray[np.uint8]
    is_defect: NDArray[np.bool_]
    seen: NDArray[np.uint8]


def load_parts(bundle: Bundle, data: Path, count: int) -> Parts:
    """Up to `count` good and `count` defective photographs. Raises DataError where either are missing."""
    dataset = scan_dataset(data)
    good, defects = (
        _spread([sample.path for sample in dataset.test if sample.is_defect is bad], count) for bad in (False, True)
    )
    if not good or not defects:
        raise DataError(f"{data}: expected good and defective parts in test/, found {len(good)} and {len(defects)}")
    frames = np.stack([bundle.info.preprocessing(read_image(path)) for path in (*good, *defects)])
    seen = np.concatenate([half.extreme_frames(frames.shape[1]), frames[: min(8, len(good))]])
    return Parts(frames, np.repeat([False, True], [len(good), len(defects)]), seen)


def measure(bundle: Bundle, parts: Parts) -> list[list[str]]:
    """One line of the table for every variant."""
    network = bundle.read_network()
    expected = _run(network, parts.frames)
    rows = [["everything", *["0"] * 5, _auroc(parts, expected)]]
    for name, kept in variants().items():
        found = _run(half.derive(network, parts.seen, kept).data, parts.frames)
        rows.append([name, *_errors(found, expected), _auroc(parts, found)])
    return rows


def largest_growth(bundle: Bundle, parts: Parts) -> tuple[float, str]:
    """How far beyond the ranges of `seen` the parts go at most, and in which layer."""
    network = onnx.load_model_from_string(bundle.read_network())
    seen, all_parts = (half.measure_ranges(network, frames) for frames in (parts.seen, parts.frames))
    return max((max(all_parts[layer]) / max(seen[layer]), layer) for layer in seen if max(seen[layer]) > 0)


def _without(*layers: str) -> dict[str, str]:
    return {layer: why for layer, why in half.KEPT.items() if layer not in layers}


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    # Evenly over the sorted files, so that every kind of defect is among them.
    step = max(len(paths) / count, 1.0)
    return [paths[int(index * step)] for index in range(min(count, len(paths)))]


def _run(network: bytes, frames: NDArray[np.uint8]) -> Outputs:
    runs = [run_in_torch(network, frames[first : first + BATCH]) for first in range(0, len(frames), BATCH)]
    return {name: np.concatenate([run[name].float().numpy() for run in runs]) for name in OUTPUTS}


def _errors(found: Outputs, expected: Outputs) -> list[str]:
    error = {name: np.abs(found[name] - expected[name]) for name in OUTPUTS}
    spread = {name: float(expected[name].std()) for name in OUTPUTS}
    rms = {name: float(np.sqrt(np.mean(np.square(error[name])))) / spread[name] for name in OUTPUTS}
    worst = {name: float(error[name].max()) / spread[name] for name in OUTPUTS}
    figures = (rms["head.patches"], worst["head.patches"], worst["scores"], rms["maps"], worst["embeddings"])
    return [f"{figure:.4f}" for figure in figures]


def _auroc(parts: Parts, outputs: Outputs) -> str:
    return f"{image_metrics(outputs['scores'], parts.is_defect)['image_auroc']:.4f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder in MVTec AD's layout")
    parser.add_argument("--parts", type=int, default=40, help="good and defective photographs at most, each")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
