"""What the guards see and what they cost, on real photographs: disturbed pictures, other products, good parts.

Guards are fitted to a random part of `train/good`; the rest, never looked at before, is held back. Photographs are
disturbed before preprocessing, as on a line: a shift moves the picture under the network's crop. Defects are taken as
rejected by the score. Of the control charts it is asked after how many parts a fault that stays stops the line, and how
often they do so for good parts: as many as `--in-order` of the photographs left, in the order of their files.

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
from benchmarks.guard_charts import Signed, false_alarms, parts_until_stopped
from benchmarks.machine import describe_machine
from benchmarks.results import Row, append_row, format_table
from calibration.binomial import proportion_interval, rate_bound
from calibration.charts import ControlCharts
from calibration.drift import Design, average_run_length, design, parts_in_tail
from calibration.guard_fitting import covered, double_light, fit_guards, gather_witnesses, half_light
from calibration.guards import GUARDS, Examination, Guards
from calibration.scoring import inspect_one, score_parts
from engines.backbones import BACKBONES
from engines.bundle import SCHEMA, BackboneInfo, Bundle, BundleInfo, Guard, Provenance, write_bundle
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
HEADER = ("product", "pictures", "count", "one picture", "95 % interval", "chart p50", "p95", "drift", "by")
IN_ORDER = ("product", "parts in order", "alarms", "95 % interval", "stopped", "in random orders", "alarms", "stopped")
SEED = 0
BLUR, SMEAR, SHIFT = 0.01, 0.01, 0.05


@dataclass(frozen=True)
class Fitted:
    """One product's guards, and the engine whose embeddings they know."""

    product: str
    engine: Engine
    guards: Guards
    limits: Sequence[Guard]
    preprocessing: Preprocessing
    watch: Design

    def examined(self, photograph: Frame, rejected: bool = False) -> Examination:
        """What the guards say of a photograph."""
        frame = self.preprocessing(photograph)
        return self.guards.examine(frame, inspect_one(self.engine, frame).embeddings[0], rejected)


def shift(photograph: Frame, right: float = SHIFT, down: float = 0.0) -> Frame:
    """Move the picture, so that the network's crop of 224 out of 256 moves by shares of itself."""
    height, width = photograph.shape[:2]
    matrix = np.asarray([[1, 0, right * width * 224 / 256], [0, 1, down * height * 224 / 256]], np.float32)
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
    "5 % shift down": ("camera_moved", lambda photograph: shift(photograph, 0.0, SHIFT)),
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
    print(format_table(IN_ORDER, [_in_order(row) for row in rows if "parts" in row], options.markdown))
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
    fitted, report = _fit(dataset.root.name, sorted(paths[: options.parts]), engine, preprocessing, options.rate)
    left = sorted(paths[options.parts :])[: options.in_order]
    charts = false_alarms(fitted.limits, [fitted.examined(read_image(path)).signed for path in left])
    costs = _costs(fitted, held[0])
    yield _row(fitted, "held-back good parts", held, promised=report["promised"], **costs, **charts)
    good = [fitted.examined(photograph).signed for photograph in held]
    for name, (guard, change) in CHANGES.items():
        changed = [change(photograph) for photograph in held]
        yield _row(fitted, name, changed, guard=guard, good=good, seen=report["seen"][guard])
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
    return Fitted(product, engine, guards, fitted.guards, preprocessing, watch), {"promised": promised, "seen": seen}


def _row(
    fitted: Fitted,
    pictures: str,
    photographs: Sequence[Frame],
    guard: str = "",
    rejected: bool = False,
    good: Sequence[Signed] | None = None,
    **more: object,
) -> Row:
    examined = [fitted.examined(photograph, rejected) for photograph in photographs]
    names = [one.objection.removeprefix("guard ").partition(":")[0] if one.objection else "" for one in examined]
    unusual = sum(guard in one.unusual for one in examined) / len(examined)
    charts = parts_until_stopped(fitted.limits, good, [one.signed for one in examined]) if good else {}
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
        **charts,
        **more,
    }


def _costs(fitted: Fitted, photograph: Frame, rounds: int = 200) -> Row:
    """Milliseconds that guards and charts take for one picture, medians; each of both is timed in every round."""
    frame = fitted.preprocessing(photograph)
    embedding = inspect_one(fitted.engine, frame).embeddings[0]
    signed, charts = fitted.guards.examine(frame, embedding).signed or {}, ControlCharts(fitted.limits)
    times = []
    for number in range(rounds):
        began = time.perf_counter()
        fitted.guards.examine(frame, embedding)
        examined = time.perf_counter()
        # Every second one is another part: the same picture again is not counted.
        charts.count({name: np.asarray(value) + number % 2 for name, value in signed.items()})
        times.append((examined - began, time.perf_counter() - examined))
    guards_ms, charts_ms = np.median(times, axis=0) * 1e3
    return {"cost_ms": float(guards_ms), "charts_ms": float(charts_ms)}


def _cells(row: Row) -> list[str]:
    share = row["stopped"] / row["count"]
    alarm = f"{row['drift_alarm_after']:.0f}" if row["drift_alarm_after"] else ""
    alarm = alarm if len(alarm) < 6 else "never"
    promised = f", promised {row['promised']:.1%}" if "promised" in row else ""
    by = ", ".join(f"{name} {count}" for name, count in row["by"].items())
    interval = f"{row['low']:.1%} to {row['high']:.1%}{promised}"
    cost = f", {row['cost_ms']:.2f} + {row['charts_ms']:.2f} ms each" if "cost_ms" in row else ""
    chart = [f"{row[name] or 'never'}" if name in row else "" for name in ("chart_p50", "chart_p95")]
    if "chart_within" in row:
        within = "; ".join(f"{share:.0%} within {parts}" for parts, share in row["chart_within"].items())
        chart[1] += f" ({within})"
    return [row["product"], row["pictures"] + cost, str(row["count"]), f"{share:.1%}", interval, *chart, alarm, by]


def _in_order(row: Row) -> list[str]:
    low, high = row["alarms_interval"]
    names = ("parts_shuffled", "alarms_shuffled", "stopped_shuffled")
    in_order = [
        str(row["parts"]),
        str(row["alarms_in_order"]),
        f"{low:.2%} to {high:.2%}",
        str(row["stopped_in_order"]),
    ]
    return [row["product"], *in_order, *(str(row[name]) for name in names)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="DIR", help="data sets, two or more")
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="resnet18")
    parser.add_argument("--weights", required=True, metavar="FILE", help="ImageNet weights, or `random`")
    parser.add_argument("--engine", default="auto", help="as for `edge-inspect calibrate` (default: auto)")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--parts", type=int, default=120, metavar="N", help="good parts that guards are fitted to")
    parser.add_argument("--held-back", type=int, default=200, metavar="N", help="most pictures of each kind")
    parser.add_argument("--in-order", type=int, default=650, metavar="N", help="most good parts in their files' order")
    parser.add_argument("--rate", type=float, default=0.01, help="false alarms asked for, of all guards together")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append rows to this file")
    parser.add_argument("--markdown", action="store_true")
    return parser


if __name__ == "__main__":
    sys.exit(main())
