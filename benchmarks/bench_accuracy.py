"""Accuracy on data sets with known defects: SimpleNet beside methods without training on the same features.

Every photograph of `train/good` is trained on (nothing is held back for calibration), or the seeded choice of
`--photographs` of them; the last epoch counts, and the test photographs are looked at once, after it. Rows already in
the JSON file are not run again.

    python benchmarks/bench_accuracy.py --data DIR [DIR ...] --backbone resnet18 --weights FILE \\
        --recipe paper default --method simplenet patchcore --seeds 5 --json accuracy.json
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.machine import describe_machine
from benchmarks.results import Row, append_row, format_table, load_rows, positive, show_table, summarise
from engines.backbones import BACKBONES
from engines.errors import DataError
from engines.export import PATCH_STRIDE, map_matrix
from engines.images import check_images, read_image
from engines.preprocess import Preprocessing
from trainer.anoco import AnchoredNormals
from trainer.backbone import build_backbone
from trainer.data import Dataset, Sample, scan_dataset
from trainer.evaluation import read_mask
from trainer.features import DefectPatches, Features, extract, extract_defects, patch_features
from trainer.memory_bank import MemoryBank, choose_patches, coreset_size
from trainer.methods import METHODS
from trainer.metrics import image_metrics, pixel_metrics
from trainer.recipe import DEFAULT, RECIPES, MeasuredRecipe, Recipe
from trainer.training import train_head
from trainer.weights import Weights, find_weights

METRICS = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "aupro", "escape_at_1pct_fr")
TITLES = ("I-AUROC", "I-AP", "F1-max", "P-AUROC", "P-AP", "AUPRO@0.3", "escapes at 1 % false rejects")
TIMED_IMAGES = 10
QUICK_EPOCHS = 4
CPU = torch.device("cpu")

Field = Literal["crop", "full"]


class Detector(Protocol):
    """Anything that scores patch features `(N, P, C)`, higher is more anomalous: `(N, P)`."""

    def patch_scores(self, patches: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Run:
    """What decides a row's figures. Methods without training have no recipe; `photographs` None is all of them."""

    data: str
    field: Field
    method: str
    seed: int
    backbone: str
    weights_sha256: str
    photographs: int | None
    recipe: str | None
    epochs: int | None

    def is_in(self, rows: Iterable[Row]) -> bool:
        """Whether one of `rows` is this run's."""
        return any(asdict(self).items() <= row.items() for row in rows)


@dataclass(frozen=True)
class Job:
    """A run with what a worker process needs for it: photographs, files of cached features, test samples, weights."""

    run: Run
    photographs: tuple[Path, ...]
    train: Path
    test: Path
    samples: tuple[Sample, ...]
    weights: Weights


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.quick:
        options.seeds, options.epochs = 1, QUICK_EPOCHS
    try:
        return show_table("bench_accuracy", options, measure, table)
    except KeyboardInterrupt:
        print("bench_accuracy: stopped; finished runs are in the JSON file, if one was named", file=sys.stderr)
        return 130


def measure(options: argparse.Namespace) -> list[Row]:
    """Run what is not yet in the JSON file; all rows that were asked for, old and new."""
    earlier = load_rows(options.json) if options.json else []
    weights = find_weights(options.backbone, options.weights)
    datasets = _datasets(options.data, options.photographs)
    wanted = _runs(options, list(datasets), weights.sha256)
    rows = [row for row in earlier if any(run.is_in([row]) for run in wanted)]
    machine = describe_machine()
    left = [run for run in wanted if not run.is_in(rows)]
    print(f"{len(wanted)} runs, {len(wanted) - len(left)} of them done before", file=sys.stderr)
    for (data, field), group in itertools.groupby(left, key=lambda run: (run.data, run.field)):
        for row in _measure_group(datasets[data], field, list(group), weights, options.jobs):
            row["machine"] = {**machine, "jobs": options.jobs, "load": describe_machine()["load"]}
            rows.append(row)
            if options.json:
                append_row(options.json, row)
    return rows


def _measure_group(dataset: Dataset, field: Field, runs: list[Run], weights: Weights, jobs: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-accuracy-") as folder:
        train, test = _cache_features(dataset, field, runs[0].backbone, weights, Path(folder))
        with _workers(jobs) as pool:
            work = [
                pool.submit(measure_run, Job(run, dataset.train_good, train, test, dataset.test, weights))
                for run in runs
            ]
            for done in as_completed(work):
                row = done.result()
                print(_line(row), file=sys.stderr, flush=True)
                yield row


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes with an equal share of the cores each: two trainings of one thread outrun one of two threads."""
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    pool = ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), initializer=_prepare_worker, initargs=(threads,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of the terminal: workers end at once and in silence, the parent reports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _cache_features(
    dataset: Dataset, field: Field, backbone_name: str, weights: Weights, folder: Path
) -> tuple[Path, Path]:
    """Patch features of all photographs, computed once for every method and seed."""
    backbone, preprocessing = build_backbone(backbone_name, weights.arrays), Preprocessing(field=field)
    files = []
    for name, paths in (("train", dataset.train_good), ("test", [sample.path for sample in dataset.test])):
        with tqdm(total=len(paths), desc=f"features {dataset.root.name} {field} {name}", unit="image") as bar:
            features = extract(backbone, paths, preprocessing, CPU, progress=lambda done, _: bar.update(done - bar.n))
        files.append(folder / f"{name}.npy")
        np.save(files[-1], features.patches)
    return files[0], files[1]


def measure_run(job: Job) -> Row:
    """Train one detector and evaluate it; the row without the machine."""
    began = time.perf_counter()
    detector = _train(job)
    train_s = time.perf_counter() - began
    preprocessing = Preprocessing(field=job.run.field)
    size = preprocessing.input_size
    spread = map_matrix(size, size // PATCH_STRIDE).astype(np.float32)
    scores, maps = _evaluate(detector, np.load(job.test, mmap_mode="r"), spread)
    is_defect = [sample.is_defect for sample in job.samples]
    masks = [read_mask(sample.mask, preprocessing) for sample in job.samples]
    return {
        **asdict(job.run),
        **image_metrics(scores, is_defect),
        **pixel_metrics(maps, masks, is_defect),
        "train_s": round(train_s, 1),
        "infer_ms": round(_infer_ms(detector, job, preprocessing, spread), 2),
        "threads": torch.get_num_threads(),
    }


def _train(job: Job) -> Detector:
    patches = np.load(job.train, mmap_mode="c")
    if job.run.recipe is None:
        vectors = choose_patches(patches, coreset_size(patches), job.run.seed)
        return MemoryBank(vectors) if job.run.method == "patchcore" else AnchoredNormals(vectors)
    recipe = _recipe(job.run.recipe, job.run.epochs)
    features = Features(patches, math.isqrt(patches.shape[1]), _defects(job, recipe))
    return train_head(features, recipe, job.run.seed, CPU)


def _recipe(label: str, epochs: int | None) -> Recipe:
    """The recipe that a row names, as "default noisy=1.0 drawn=0.0"."""
    name, *changes = label.split()
    return RECIPES[name].changed(changes).with_epochs(epochs)


def _defects(job: Job, recipe: Recipe) -> DefectPatches | None:
    if not isinstance(recipe, MeasuredRecipe):
        return None
    backbone = build_backbone(job.run.backbone, job.weights.arrays)
    preprocessing = Preprocessing(field=job.run.field)
    return extract_defects(backbone, job.photographs, preprocessing, CPU, recipe.pictures, job.run.seed)


def _evaluate(
    detector: Detector, patches: NDArray[np.float16], spread: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image scores `(N,)` and blurred maps `(N, S, S)`; `spread` is the map matrix `(S, grid)`."""
    size = len(spread)
    scores, maps = np.empty(len(patches), np.float32), np.empty((len(patches), size, size), np.float32)
    for index, image in enumerate(patches):
        scores[index], maps[index] = _inspect(detector, torch.from_numpy(image[None].astype(np.float32)), spread)
    return scores, maps


def _inspect(detector: Detector, patches: Tensor, spread: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Score and map of one image's patches `(1, P, C)`, as the exported graph computes them."""
    values = detector.patch_scores(patches)[0].numpy().reshape(spread.shape[1], spread.shape[1])
    return float(values.max()), spread @ values @ spread.T


def _infer_ms(detector: Detector, job: Job, preprocessing: Preprocessing, spread: NDArray[np.float32]) -> float:
    """Median over some test images, one at a time: preprocessed frame in, score and map out, PyTorch in float32."""
    backbone = build_backbone(job.run.backbone, job.weights.arrays)
    taken = []
    for sample in job.samples[:TIMED_IMAGES]:
        frame = preprocessing(read_image(sample.path))[None]
        began = time.perf_counter()
        _inspect(detector, patch_features(backbone, frame, CPU), spread)
        taken.append(1e3 * (time.perf_counter() - began))
    return float(np.median(taken))


def _datasets(folders: Sequence[Path], photographs: int | None) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for folder in folders:
        dataset = _with_photographs(scan_dataset(folder.resolve()), photographs)
        if not dataset.test:
            raise DataError(f"{folder}: expected test/good and test/<defect> as in MVTec AD, found no test images")
        if dataset.root.name in found:
            raise DataError(f"two data sets are called {dataset.root.name!r}; rows would be taken for each other's")
        found[dataset.root.name] = dataset
    # A bad file in the last set must not surface after hours on the first.
    for dataset in found.values():
        masks = [sample.mask for sample in dataset.test if sample.mask]
        check_images([*dataset.train_good, *(sample.path for sample in dataset.test), *masks])
    return found


def _with_photographs(dataset: Dataset, count: int | None) -> Dataset:
    """At most `count` of the photographs to train on: the same ones for every method, recipe and seed."""
    if count is None or count >= len(dataset.train_good):
        return dataset
    order = np.random.default_rng(0).permutation(len(dataset.train_good))
    return replace(dataset, train_good=tuple(dataset.train_good[index] for index in np.sort(order[:count])))


def _runs(options: argparse.Namespace, names: Sequence[str], sha256: str) -> list[Run]:
    labels = [" ".join([name, *options.change]) for name in options.recipe]
    epochs = {label: _recipe(label, options.epochs).epochs for label in labels}
    return [
        Run(data, field, method, seed, options.backbone, sha256, options.photographs, *settings)
        for data, field, seed, method in itertools.product(names, options.field, range(options.seeds), options.method)
        for settings in (epochs.items() if method == "simplenet" else [(None, None)])
    ]


def _line(row: Row) -> str:
    figures = " ".join(f"{key}={row[key]:.4f}" for key in METRICS if row[key] is not None)
    about = f"{row['data']} {row['field']} {row['recipe'] or row['method']} seed {row['seed']}"
    return f"{about}: {figures} train_s={row['train_s']}"


def table(rows: Sequence[Row], markdown: bool = False) -> str:
    """Mean and deviation over seeds, one line a (data, field, method, recipe, photographs), in percent."""

    def key(row: Row) -> tuple[str, str, str, str, int, int]:
        about = row["field"], row["method"], row["recipe"] or ""
        return row["data"], *about, row["epochs"] or 0, row["photographs"] or 0

    lines = []
    for (data, field, method, recipe, epochs, photographs), group in itertools.groupby(sorted(rows, key=key), key):
        same = list(group)
        name = data if not photographs else f"{data}, {photographs} photographs"
        label = f"{method}, {recipe}, {epochs} epochs" if recipe else method
        figures = [summarise([row[metric] for row in same]) for metric in METRICS]
        times = [summarise([row[name] for row in same], digits=0, scale=1.0) for name in ("train_s", "infer_ms")]
        lines.append([name, field, label, str(len(same)), *figures, *times])
    return format_table(["data", "field", "method", "seeds", *TITLES, "train s", "ms/image"], lines, markdown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in MVTec AD's layout")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18")
    parser.add_argument("--weights", help="file of its ImageNet weights (default: where `train` looks for them)")
    parser.add_argument("--recipe", choices=RECIPES, nargs="+", default=[DEFAULT.name], help="default: %(default)s")
    parser.add_argument("--method", choices=METHODS, nargs="+", default=["simplenet", "patchcore"])
    parser.add_argument("--field", choices=("crop", "full"), nargs="+", default=["crop"])
    parser.add_argument("--seeds", type=positive, default=3, help="seeds 0 to N-1 (default: 3)")
    parser.add_argument(
        "--quick", action="store_true", help=f"one seed, {QUICK_EPOCHS} epochs: shows that it runs, no figure"
    )
    parser.add_argument("--epochs", type=positive, help="instead of the recipe's")
    parser.add_argument("--change", nargs="+", default=[], metavar="NAME=NUMBER", help="other settings of the recipe")
    parser.add_argument("--photographs", type=positive, metavar="N", help="train on at most N (default: all)")
    parser.add_argument("--json", type=Path, help="rows are added to this file, and those in it are not run again")
    parser.add_argument("--jobs", type=positive, default=1, help="runs side by side, with the cores shared out")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
