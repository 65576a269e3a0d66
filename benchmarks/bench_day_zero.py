"""The first day: methods without training beside SimpleNet, all learned from the same few good photographs.

Photographs are drawn from `train/good`, seeded and nested: a draw's 5 are among its 10. Test photographs are looked at
once, after everything was learned, and chose no setting. Rows already in the JSON file are not run again.

    python benchmarks/bench_day_zero.py --data DIR [DIR ...] --weights FILE --photographs 5 10 20 --draws 3 \\
        --json day-zero.json --plot day-zero.svg --markdown
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.bench_accuracy import Detector
from benchmarks.day_zero_plot import label, plot
from benchmarks.machine import describe_machine
from benchmarks.results import Row, append_row, check_folders, format_table, load_rows, positive, show_table, summarise
from engines.backbones import BACKBONES
from engines.errors import DataError
from engines.export import PATCH_STRIDE, map_matrix
from engines.preprocess import Preprocessing
from trainer.anoco import AnchoredNormals
from trainer.backbone import build_backbone
from trainer.banks import BANK_SIZE
from trainer.data import Dataset, scan_dataset
from trainer.evaluation import read_mask
from trainer.features import Features, extract, extract_defects, feature_store
from trainer.memory_bank import MemoryBank, choose_patches
from trainer.methods import METHODS
from trainer.metrics import aupro, image_metrics
from trainer.recipe import DEFAULT, RECIPES, MeasuredRecipe
from trainer.training import train_head
from trainer.weights import find_weights

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """What decides a row's figures; methods without training have no recipe."""

    data: str
    photographs: int
    draw: int
    method: str
    recipe: str | None
    backbone: str
    weights_sha256: str

    def is_in(self, rows: Sequence[Row]) -> bool:
        """Whether one of `rows` is this run's."""
        return any(asdict(self).items() <= row.items() for row in rows)


@dataclass(frozen=True)
class Test:
    """Test photographs of a data set: features, truth, and masks on the map's grid, None where there are none."""

    patches: NDArray[np.float16]
    is_defect: list[bool]
    masks: list[NDArray[np.bool_] | None]
    spread: NDArray[np.float32]


def main(argv: Sequence[str] | None = None) -> int:
    return show_table("bench_day_zero", _parser().parse_args(argv), measure, table)


def measure(options: argparse.Namespace) -> list[Row]:
    """Run what is not yet in the JSON file, and draw the plot; all rows that were asked for, old and new."""
    check_folders(options.plot)
    weights = find_weights(options.backbone, options.weights)
    backbone = build_backbone(options.backbone, weights.arrays)
    earlier = load_rows(options.json) if options.json else []
    rows = []
    for folder in options.data:
        dataset = scan_dataset(folder.resolve())
        if not dataset.test:
            raise DataError(f"{folder}: expected test/good and test/<defect> as in MVTec AD, found no test images")
        wanted = list(_runs(options, dataset.root.name, weights.sha256))
        rows += [row for row in earlier if any(run.is_in([row]) for run in wanted)]
        if left := [run for run in wanted if not run.is_in(rows)]:
            rows += _measure_set(options, dataset, backbone, left)
    if options.plot:
        options.plot.write_text(plot(rows), encoding="utf-8")
    return rows


def _runs(options: argparse.Namespace, name: str, sha256: str) -> Iterator[Run]:
    methods = [
        (method, recipe)
        for method in options.method
        for recipe in (options.recipe if method == "simplenet" else [None])
    ]
    for draw, count, (method, recipe) in itertools.product(range(options.draws), options.photographs, methods):
        yield Run(name, count, draw, method, recipe, options.backbone, sha256)


def _measure_set(options: argparse.Namespace, dataset: Dataset, backbone: nn.Module, runs: list[Run]) -> list[Row]:
    rows, machine = [], describe_machine()
    with _test_set(dataset, backbone) as test:
        for (draw, count), group in itertools.groupby(runs, key=lambda run: (run.draw, run.photographs)):
            few = drawn(dataset, draw, count)
            features = extract(backbone, few, Preprocessing(), CPU)
            for run in group:
                began = time.perf_counter()
                detector = _learned(run, features, few, backbone)
                spent = {"train_s": round(time.perf_counter() - began, 1)}
                rows.append({**asdict(run), **_measured(detector, test), **spent, "machine": machine})
                print(_line(rows[-1]), file=sys.stderr, flush=True)
                if options.json:
                    append_row(options.json, rows[-1])
    return rows


def drawn(dataset: Dataset, draw: int, count: int) -> list[Path]:
    """The first `count` photographs in an order that `draw` seeds. Raises DataError where there are not so many."""
    if count > len(dataset.train_good):
        raise DataError(f"{dataset.root}: expected {count} good photographs or more, found {len(dataset.train_good)}")
    order = np.random.default_rng(draw).permutation(len(dataset.train_good))
    return [dataset.train_good[index] for index in order[:count]]


@contextmanager
def _test_set(dataset: Dataset, backbone: nn.Module) -> Iterator[Test]:
    preprocessing = Preprocessing()
    size, grid = preprocessing.input_size, preprocessing.input_size // PATCH_STRIDE
    masks = [read_mask(sample.mask, preprocessing) for sample in dataset.test]
    spread = map_matrix(size, grid).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        room = feature_store(len(dataset.test), grid, _channels(backbone), Path(folder))
        with room as store:
            extract(backbone, [sample.path for sample in dataset.test], preprocessing, CPU, cache=store)
            yield Test(store, [sample.is_defect for sample in dataset.test], masks, spread)


def _channels(backbone: nn.Module) -> int:
    with torch.inference_mode():
        return sum(level.shape[1] for level in backbone(torch.zeros(1, 3, 32, 32)))


def _measured(detector: Detector, test: Test) -> Row:
    scores, maps, grid = [], [], test.spread.shape[1]
    for patches in test.patches:
        values = detector.patch_scores(torch.from_numpy(patches[None].astype(np.float32)))[0].numpy()
        scores.append(values.max())
        maps.append(test.spread @ values.reshape(grid, grid) @ test.spread.T)
    figures = image_metrics(np.array(scores), test.is_defect)
    shown = {name: figures[name] for name in ("image_auroc", "escape_at_1pct_fr")}
    return {**shown, "aupro": _aupro(np.stack(maps), test)}


def _aupro(maps: NDArray[np.float32], test: Test) -> float | None:
    """Over good parts and those defects whose mask lies in the field of view; None where a set has no masks."""
    kept = [not bad or (m is not None and bool(m.any())) for m, bad in zip(test.masks, test.is_defect, strict=True)]
    masks = [mask for mask, keep in zip(test.masks, kept, strict=True) if keep]
    return aupro(maps[kept], masks) if any(mask is not None for mask in masks) else None


def _learned(run: Run, features: Features, paths: Sequence[Path], backbone: nn.Module) -> Detector:
    if run.recipe is None:
        vectors = choose_patches(features.patches, BANK_SIZE, run.draw)
        return MemoryBank(vectors) if run.method == "patchcore" else AnchoredNormals(vectors)
    recipe = RECIPES[run.recipe]
    if isinstance(recipe, MeasuredRecipe):
        defects = extract_defects(backbone, paths, Preprocessing(), CPU, recipe.pictures, run.draw)
        features = replace(features, defects=defects)
    return train_head(features, recipe, run.draw, CPU)


def _line(row: Row) -> str:
    shown = " ".join(f"{key}={row[key]:.4f}" for key in ("image_auroc", "aupro") if row[key] is not None)
    return (
        f"{row['data']} {row['photographs']} photographs, draw {row['draw']}, {label(row)}: {shown} {row['train_s']} s"
    )


def table(rows: Sequence[Row], markdown: bool = False) -> str:
    """Mean and deviation over draws, in percent; one line a (data, method, photographs)."""

    def key(row: Row) -> tuple[str, str, int]:
        return row["data"], label(row), row["photographs"]

    lines = []
    for (data, method, count), group in itertools.groupby(sorted(rows, key=key), key):
        same = list(group)
        figures = [summarise([row[name] for row in same]) for name in ("image_auroc", "aupro", "escape_at_1pct_fr")]
        lines.append([data, method, str(count), str(len(same)), *figures])
    header = ["data", "method", "photographs", "draws", "I-AUROC", "AUPRO@0.3", "escapes at 1 % false rejects"]
    return format_table(header, lines, markdown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in MVTec AD's layout")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18")
    parser.add_argument("--weights", help="file of its ImageNet weights (default: where `train` looks for them)")
    parser.add_argument("--method", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument(
        "--recipe", choices=RECIPES, nargs="+", default=[DEFAULT.name], help="of simplenet (default: default)"
    )
    parser.add_argument("--photographs", type=positive, nargs="+", default=[5, 10, 20], metavar="N")
    parser.add_argument("--draws", type=positive, default=3, help="random draws of them (default: 3)")
    parser.add_argument("--json", type=Path, help="rows are added to this file, and those in it are not run again")
    parser.add_argument("--plot", type=Path, help="the curve as SVG")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
