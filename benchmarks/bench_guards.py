"""What the guards see and what they cost, on real photographs: disturbed pictures, other products, good parts.

Guards are fitted to a random part of `train/good`; the rest, never looked at before, is held back. Photographs are
disturbed before preprocessing, as on a line: a shift moves the picture under the network's crop. Defects are taken as
rejected by the score.

    python benchmarks/bench_guards.py --data DIR DIR [DIR ...] --weights FILE --json guards.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.bundles import random_head
from benchmarks.machine import describe_machine
from benchmarks.results import Row, append_row, format_table
from calibration.binomial import proportion_interval, rate_bound
from calibration.drift import Design, average_run_length, design, parts_in_tail
from calibration.guard_fitting import covered, double_light, fit_guards, gather_witnesses, half_light
from calibration.guards import GUARDS, Guards
from calibration.scoring import inspect_one, score_parts
from engines.backbones import BACKBONES
from engines.bundle import SCHEMA, BackboneInfo, Bundle, BundleInfo, Provenance, write_bundle
from engines.engine import Engine
from engines.errors import DataError, InspectError
from engines.export import build_model
from engines.images import read_image
from engines.preprocess import Preprocessing
from engines.registry import open_engine
from trainer.data import Dataset, scan_dataset
from trainer.recipe import PAPER
from trainer.weights import Weights, find_weights

Frame = NDArray[np.uint8]
HEADER = ("product", "pictures", "count", "stopped", "95 % interval", "stopped after", "drift alarm after", "by")
SEED = 0
BLUR, SMEAR, SHIFT = 0.01, 0.01, 0.05


@dataclass(frozen=True)
class Fitted:
    """One product's guards, and the engine whose embeddings they know."""

    product: str
    engine: Engine
    guards: Guards
    preprocessing: Preprocessing
    watch: Design

    def examined(self, photograph: Frame, rejected: bool) -> tuple[str, tuple[str, ...]]:
        """Name of the guard that objects to a photograph, empty where none does, and those that find it unusual."""
        frame = self.preprocessing(photograph)
        found = self.guards.examine(frame, inspect_one(self.engine, frame).embeddings[0], rejected)
        return found.objection.removeprefix("guard ").partition(":")[0] if found.objection else "", found.unusual


def shift(photograph: Frame) -> Frame:
    """Move the picture to the right, so that the network's crop of 224 out of 256 moves by 5 % of itself."""
    height, width = photograph.shape[:2]
    matrix = np.asarray([[1, 0, SHIFT * width * 224 / 256], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(photograph, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def blur(photograph: Frame) -> Frame:
    """Out of focus by 1 % of the picture's width."""
    return np.asarray(cv2.GaussianBlur(photograph, (0, 0), BLUR * photograph.shape[1]), np.uint8)


def smear(photograph: Frame) -> Frame:
    """A fingerprint over a third of the width and height, blurred by 1 % of the width, in the upper left."""
    height, width = photograph.shape[:2]
    found = photograph.copy()
    inside = np.s_[height // 10 : height // 10 + height // 3, width // 10 : width // 10 + width // 3]
    found[inside] = cv2.GaussianBlur(photograph, (0, 0), SMEAR * width)[inside]
    return found


def three_channels(change: Callable[[Frame], Frame]) -> Callable[[Frame], Frame]:
    """The change for grey photographs, too."""
    return lambda photograph: change(photograph if photograph.ndim == 3 else np.repeat(photograph[..., None], 3, 2))


CHANGES: dict[str, tuple[str, Callable[[Frame], Frame]]] = {
    "lens cap": ("under_exposed", three_channels(covered)),
    "twice the light": ("over_exposed", three_channels(double_light)),
    "half the light": ("light_changed", half_light),
    "blur": ("blurred", blur),
    "fingerprint": ("blurred", smear),
    "5 % shift": ("camera_moved", shift),
}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        weights = find_weights(options.backbone, options.weights)
        datasets = [scan_dataset(folder) for folder in options.data]
        with tempfile.TemporaryDirectory() as folder:
            bundle = write_network(Path(folder) / "bundle", options.backbone, weights)
            with open_engine(bundle, options.engine, options.precision) as engine:
                rows = list(_rows(options, datasets, engine, bundle.info.preprocessing))
    except InspectError as error:
        print(f"bench_guards: {error}", file=sys.stderr)
        return error.exit_code
    print(format_table(HEADER, [_cells(row) for row in rows], options.markdown))
    return 0


def write_network(path: Path, backbone: str, weights: Weights) -> Bundle:
    """A bundle for its embeddings alone: they come before the head, whose weights are random here."""
    kind, preprocessing = BACKBONES[backbone], Preprocessing()
    head = random_head(sum(kind.channels), PAPER.hidden)
    info = BundleInfo(
        schema=SCHEMA,
        product="guards",
        preprocessing=preprocessing,
        backbone=BackboneInfo(backbone, weights.sha256, weights.source),
        provenance=Provenance("0" * 64, 0, (), 0, {"name": "random"}, {}, ""),
    )
    model = build_model(kind, weights.arrays, head, preprocessing.input_size)
    return write_bundle(path, info, model.SerializeToString(), head)


def _rows(
    options: argparse.Namespace, datasets: Sequence[Dataset], engine: Engine, preprocessing: Preprocessing
) -> Iterator[Row]:
    machine = describe_machine() if options.json else {}
    for dataset in datasets:
        for row in _measure(options, dataset, datasets, engine, preprocessing):
            print(f"{row['product']}: {row['pictures']}: {row['stopped']} of {row['count']}", file=sys.stderr)
            if options.json:
                append_row(options.json, {**row, "machine": machine})
            yield row


def _measure(
    options: argparse.Namespace,
    dataset: Dataset,
    datasets: Sequence[Dataset],
    engine: Engine,
    preprocessing: Preprocessing,
) -> Iterator[Row]:
    paths = [dataset.train_good[i] for i in np.random.default_rng(SEED).permutation(len(dataset.train_good))]
    if len(paths) < options.parts + options.held_back // 2:
        raise DataError(
            f"{dataset.root.name}: expected {options.parts} good parts and more to hold back, found {len(paths)}"
        )
    held = [read_image(path) for path in paths[options.parts : options.parts + options.held_back]]
    fitted, report = _fit(dataset.root.name, paths[: options.parts], engine, preprocessing, options.rate)
    yield _row(fitted, "held-back good parts", held, promised=report["promised"], cost_ms=_cost(fitted, held[0]))
    for name, (guard, change) in CHANGES.items():
        seen = report["seen"][guard]
        yield _row(fitted, name, [change(photograph) for photograph in held], guard=guard, seen=seen)
    for other in datasets:
        if other.root.name != dataset.root.name:
            others = [read_image(path) for path in other.train_good[: options.held_back]]
            yield _row(fitted, f"another product: {other.root.name}", others, guard="wrong_part")
    yield _row(fitted, "good parts of the test set", _read(dataset, False, options.held_back))
    yield _row(fitted, "defects", _read(dataset, True, options.held_back), rejected=True)


def _read(dataset: Dataset, defects: bool, most: int) -> list[Frame]:
    samples = [sample for sample in dataset.test if sample.is_defect == defects]
    order = np.random.default_rng(SEED).permutation(len(samples))[:most]
    return [read_image(samples[index].path) for index in order]


def _fit(
    product: str, paths: Sequence[Path], engine: Engine, preprocessing: Preprocessing, rate: float
) -> tuple[Fitted, Row]:
    frames = [preprocessing(read_image(path)) for path in paths]
    embeddings = score_parts(engine, frames).embeddings
    fitted = fit_guards(gather_witnesses(engine, frames, embeddings), rate)
    promised = sum(guard.false_alarm_rate for guard in fitted.guards if guard.armed)
    seen = {guard.name: guard.seen if guard.armed else None for guard in fitted.guards}
    usual = rate_bound(len(frames), parts_in_tail(len(frames)))
    guards, watch = Guards.fitted(fitted.model, fitted.guards), design(usual, 2 * usual)
    return Fitted(product, engine, guards, preprocessing, watch), {"promised": promised, "seen": seen}


def _row(
    fitted: Fitted,
    pictures: str,
    photographs: Sequence[Frame],
    guard: str = "",
    rejected: bool = False,
    **more: object,
) -> Row:
    examined = [fitted.examined(photograph, rejected) for photograph in photographs]
    names = [name for name, _ in examined]
    unusual = sum(guard in found for _, found in examined) / len(examined)
    stopped = sum(map(bool, names))
    low, high = proportion_interval(stopped, len(names))
    return {
        "product": fitted.product,
        "pictures": pictures,
        "count": len(names),
        "stopped": stopped,
        "low": low,
        "high": high,
        "guard": guard,
        "drift_alarm_after": average_run_length(unusual, fitted.watch) if unusual else None,
        "by": {name: names.count(name) for name in GUARDS if name in names},
        **more,
    }


def _cost(fitted: Fitted, photograph: Frame, rounds: int = 200) -> float:
    """Milliseconds that the guards take for one picture, the median."""
    frame = fitted.preprocessing(photograph)
    embedding = inspect_one(fitted.engine, frame).embeddings[0]
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        fitted.guards.examine(frame, embedding)
        times.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times))


def _cells(row: Row) -> list[str]:
    share = row["stopped"] / row["count"]
    until = f"{1 / share:.1f}" if share and row["guard"] else "never" if row["guard"] else ""
    alarm = f"{row['drift_alarm_after']:.0f}" if row["drift_alarm_after"] else ""
    promised = f", promised {row['promised']:.1%}" if "promised" in row else ""
    by = ", ".join(f"{name} {count}" for name, count in row["by"].items())
    interval = f"{row['low']:.1%} to {row['high']:.1%}{promised}"
    cost = f", {row['cost_ms']:.2f} ms each" if "cost_ms" in row else ""
    return [row["product"], row["pictures"] + cost, str(row["count"]), f"{share:.1%}", interval, until, alarm, by]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR", help="data sets, two or more")
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="resnet18")
    parser.add_argument("--weights", required=True, metavar="FILE", help="ImageNet weights, or `random`")
    parser.add_argument("--engine", default="auto", help="as for `edge-inspect calibrate` (default: auto)")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--parts", type=int, default=120, metavar="N", help="good parts that guards are fitted to")
    parser.add_argument("--held-back", type=int, default=200, metavar="N", help="most pictures of each kind")
    parser.add_argument("--rate", type=float, default=0.01, help="false alarms asked for, of all guards together")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append rows to this file")
    parser.add_argument("--markdown", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
