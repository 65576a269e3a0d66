"""Promised against realised false-reject rates, in simulations with known laws and on real photographs of good parts.

    python benchmarks/bench_false_rejects.py [--quick] [--data DIR ...] [--weights FILE] [--json FILE] [--plot FILE]
    python benchmarks/bench_false_rejects.py --folds 5 [--recipe paper] [--epochs 40] --json FILE

A draw calibrates with n scores and asks which share of all good parts its threshold rejects. In a simulation the law
says so; of a real set, n photographs drawn at random calibrate and those left over answer. Scores of real photographs
are distances to a memory bank of other good parts (`trainer/memory_bank.py`), since a rule has to hold for any score.
`--folds` does nothing of this: it trains SimpleNet in folds, as `edge-inspect train` does, that many times on each set,
and asks which share of unseen good parts the final head rejects at the threshold of the out-of-fold scores, as they are
and brought to the final head's scale.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.false_rejects_plot import plot
from benchmarks.machine import REPOSITORY
from benchmarks.results import Row, format_table
from calibration.binomial import rate_bound
from calibration.folds import align
from calibration.tail import tail_threshold, within_reach
from calibration.threshold import conformal_threshold, parts_above, parts_needed, percent, tolerance_above
from engines.errors import InspectError, UsageError, WeightsError
from trainer.features import DefectPatches, Features, extract
from trainer.recipe import Recipe
from trainer.simplenet import SimpleNet

Scores = NDArray[np.float32]
Rate = Callable[[Scores], NDArray[np.float64]]
"""The share of all good parts that each of some thresholds rejects."""

DRAWS, QUICK_DRAWS = 2000, 300
CONFIDENCE = 0.95
SETTINGS = ((24, 0.05), (60, 0.01), (99, 0.01), (300, 0.01), (200, 0.001), (1000, 0.001))
REAL_SETTINGS = ((60, 0.01), (99, 0.01))
FOLD_PARTS, FOLD_FRESH, FOLDS, FOLD_TARGET = 60, 200, 5, 0.05
OUT_OF_FOLD, NOT_ALIGNED = "conformal, out of fold", "conformal, out of fold, heads not aligned (broken)"
TRAINED_ON, POOL = 60, 300
CORESET_SHARE = 0.02
SETS = ("magnetic_tile", "casting_impeller", "mvtec_screw")
CONFORMAL, TOLERANCE, ESTIMATE = "conformal", "tolerance 95 %", "estimate"
SIGMA, QUANTILE = "mean + z sigma (not offered)", "interpolated quantile (not offered)"
BY_LOT, LOTS_IGNORED = "conformal, by lot", "conformal, lots ignored (broken)"
LOT_SETTINGS = ((20, 10, 0.1), (5, 40, 0.01))


@dataclass(frozen=True)
class Law:
    """A law of scores: `draw(rng, shape)`, and the exact share of scores above each threshold."""

    draw: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]
    above: Rate


def laws() -> dict[str, Law]:
    """Thin, ordinary and heavy tails, a bounded law, and a second, rare mode as another supplier makes it."""
    from scipy import stats

    def two(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        return rng.normal(size=shape) + 6.0 * (rng.random(shape) < 0.05)

    return {
        "normal": Law(lambda rng, shape: rng.normal(size=shape), stats.norm.sf),
        "gumbel": Law(lambda rng, shape: rng.gumbel(size=shape), stats.gumbel_r.sf),
        "log-normal": Law(lambda rng, shape: rng.lognormal(size=shape), stats.lognorm(1).sf),
        "Student's t, 3": Law(lambda rng, shape: rng.standard_t(3, size=shape), stats.t(3).sf),
        "uniform": Law(lambda rng, shape: rng.random(shape), stats.uniform.sf),
        "two modes": Law(two, lambda x: 0.95 * stats.norm.sf(x) + 0.05 * stats.norm.sf(x - 6)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    draws = QUICK_DRAWS if options.quick else DRAWS
    try:
        rows: list[Row] = []
        if options.folds:
            real = [row for folder in options.data for row in fold_rows(folder, options)]
        else:
            rows = [*simulated(draws), *lot_rows(draws)]
            print(format_table(*summary(rows), markdown=True), flush=True)
            _write(options.json, json.dumps(rows, indent=1) + "\n")
            real = _real(options, draws)
        if real:
            print("\n" + format_table(*details(real), markdown=True))
        rows += real
        _write(options.json, json.dumps(rows, indent=1) + "\n")
        _write(options.plot, plot(rows))
    except InspectError as error:
        print(f"bench_false_rejects: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _real(options: argparse.Namespace, draws: int) -> list[Row]:
    """Rows of the real sets. Without weights there are none, but a simulation needs no weights."""
    try:
        return [row for folder in options.data for row in real_rows(folder, draws, options.weights)]
    except WeightsError as error:
        if options.weights:
            raise
        print(f"\nleft out: the real sets, whose scores take a backbone ({error})")
        return []


def simulated(draws: int) -> Iterator[Row]:
    """Every law, number of parts and method."""
    for index, (name, law) in enumerate(laws().items()):
        for parts, target in SETTINGS:
            scores = law.draw(np.random.default_rng([index, parts]), (draws, parts)).astype(np.float32)
            yield from _rows(name, scores, target, law.above)


def lot_rows(draws: int) -> Iterator[Row]:
    """Lots that differ more than their parts do: counted as lots, and taken for independent parts."""
    for lots, size, target in LOT_SETTINGS:
        rng = np.random.default_rng(lots)
        names = [str(lot) for lot in range(lots) for _ in range(size)]
        population = np.sort(_in_lots(rng, 50_000, 1, 10).ravel())
        scores = _in_lots(rng, draws, lots, size).reshape(draws, -1).astype(np.float32)
        for method, known in ((BY_LOT, names), (LOTS_IGNORED, None)):
            found = [conformal_threshold(row, target, known) for row in scores]
            limits = [one.value for one in found]
            rates = 1 - np.searchsorted(population, limits, side="right") / population.size
            promise = float(np.mean([one.certified_rate for one in found]))
            yield _row(f"{lots} lots of {size}", lots * size, target, method, rates, promise)


def _in_lots(rng: np.random.Generator, draws: int, lots: int, size: int) -> NDArray[np.float64]:
    return rng.gumbel(size=(draws, lots, size)) + 3.0 * rng.normal(size=(draws, lots, 1))


def real_rows(folder: Path, draws: int, weights: str | None) -> Iterator[Row]:
    """Resample the good parts of one data set; nothing but a line where it is not there."""
    if not _is_there(folder):
        return
    pool, names, test = real_scores(folder, weights)
    for parts, target in REAL_SETTINGS:
        for where, rest in (("resampled", None), ("its test/good", test)):
            yield from _resampled(f"{folder.name}, {where}", pool, rest, parts, target, draws)
    groups = [match[0] if (match := re.match(r"exp\d+", name)) else "" for name in names]
    if all(groups):
        yield from _other_group(f"{folder.name}, another exposure", pool, np.asarray(groups))


def real_scores(folder: Path, weights: str | None) -> tuple[Scores, list[str], Scores]:
    """Scores and names of up to `POOL` good parts that the memory bank does not hold, and scores of `test/good`."""
    import torch

    from engines.images import list_images
    from trainer.memory_bank import build_memory_bank

    paths = list_images(folder / "train" / "good")
    order = np.random.default_rng(0).permutation(len(paths))[: TRAINED_ON + POOL]
    chosen = [paths[index] for index in order]
    bank = build_memory_bank(_patches(chosen[:TRAINED_ON], weights).patches, CORESET_SHARE)

    def scores(photographs: Sequence[Path]) -> Scores:
        found = []
        for start in range(0, len(photographs), 20):
            patches = _patches(photographs[start : start + 20], weights).patches
            found.append(bank.patch_scores(torch.from_numpy(patches.astype(np.float32))).amax(dim=1).numpy())
        return np.concatenate(found)

    rest = chosen[TRAINED_ON:]
    return scores(rest), [path.name for path in rest], scores(list_images(folder / "test" / "good"))


def _patches(photographs: Sequence[Path], weights: str | None) -> Features:
    import torch

    from engines.preprocess import Preprocessing
    from trainer.backbone import build_backbone
    from trainer.weights import find_weights

    backbone = build_backbone("resnet18", find_weights("resnet18", weights).arrays)
    return extract(backbone, photographs, Preprocessing(), torch.device("cpu"))


def _is_there(folder: Path) -> bool:
    if (folder / "train" / "good").is_dir():
        return True
    print(f"\nleft out: {folder.name}, which is not at {folder.parent}")
    return False


def fold_rows(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Out-of-fold scores of `FOLD_PARTS` set a threshold; unseen parts of the same folder meet it at the final head."""
    from engines.images import list_images
    from trainer.data import Photograph, split_folds
    from trainer.recipe import RECIPES
    from trainer.training import train_head

    if not _is_there(folder):
        return
    paths = list_images(folder / "train" / "good")
    order = np.random.default_rng(0).permutation(len(paths))[: FOLD_PARTS + FOLD_FRESH]
    chosen_paths = [paths[index] for index in order]
    extracted = _patches(chosen_paths, options.weights)
    recipe = RECIPES[options.recipe].with_epochs(options.epochs)
    rates: dict[str, list[float]] = {OUT_OF_FOLD: [], NOT_ALIGNED: []}
    for seed in range(options.folds):
        shuffled = np.random.default_rng(seed).permutation(len(order))
        ours, fresh = shuffled[:FOLD_PARTS], shuffled[FOLD_PARTS:]
        defects = _drawn([chosen_paths[index] for index in ours], recipe, seed, options.weights)
        features = Features(extracted.patches[ours], extracted.grid, defects)
        head = train_head(features, recipe, seed)
        own, final = _head_scores(head, features.patches), _head_scores(head, extracted.patches[fresh])
        scores = {method: np.empty(FOLD_PARTS, np.float32) for method in rates}
        for left_out in split_folds([Photograph(paths[index], "") for index in ours], FOLDS, seed):
            chosen = np.setdiff1d(np.arange(FOLD_PARTS), left_out)
            found = _head_scores(train_head(features, recipe, seed, images=chosen), features.patches)
            scores[NOT_ALIGNED][left_out] = found[left_out]
            scores[OUT_OF_FOLD][left_out] = align(found[left_out], found[chosen], own[chosen])
        for method, kept in scores.items():
            rates[method].append(float(np.mean(final > conformal_threshold(kept, FOLD_TARGET).value)))
        print(f"{folder.name}: {rates}", file=sys.stderr, flush=True)
    promise = (parts_above(FOLD_PARTS, FOLD_TARGET) + 1) / (FOLD_PARTS + 1)
    for method, realised in rates.items():
        law = f"{folder.name}, recipe {recipe.name}, {recipe.epochs} epochs"
        yield _row(law, FOLD_PARTS, FOLD_TARGET, method, np.asarray(realised), promise)


def _drawn(photographs: Sequence[Path], recipe: Recipe, seed: int, weights: str | None) -> DefectPatches | None:
    import torch

    from engines.preprocess import Preprocessing
    from trainer.backbone import build_backbone
    from trainer.features import extract_defects
    from trainer.recipe import MeasuredRecipe
    from trainer.weights import find_weights

    if not isinstance(recipe, MeasuredRecipe):
        return None
    backbone = build_backbone("resnet18", find_weights("resnet18", weights).arrays)
    return extract_defects(backbone, photographs, Preprocessing(), torch.device("cpu"), recipe.pictures, seed)


def _head_scores(head: SimpleNet, patches: NDArray[np.float16]) -> Scores:
    import torch

    # A few photographs at a time: the hidden layer of all their patches would take gigabytes.
    some = (torch.from_numpy(patches[start : start + 10]) for start in range(0, len(patches), 10))
    return np.concatenate([head.patch_scores(one).amax(dim=1).float().numpy() for one in some])


def _resampled(law: str, pool: Scores, test: Scores | None, parts: int, target: float, draws: int) -> Iterator[Row]:
    """Calibrate with `parts` of the pool; the others of it, or `test`, are production."""
    if len(pool) <= parts:
        return
    rng = np.random.default_rng(parts)
    orders = [rng.permutation(len(pool)) for _ in range(draws)]
    scores = np.stack([pool[order[:parts]] for order in orders])

    def above(thresholds: Scores) -> NDArray[np.float64]:
        fresh = (test if test is not None else pool[order[parts:]] for order in orders)
        return np.asarray([np.mean(some > limit) for some, limit in zip(fresh, thresholds, strict=True)])

    yield from _rows(law, scores, target, above, bounded=False)


def _other_group(law: str, pool: Scores, groups: NDArray[np.str_]) -> Iterator[Row]:
    """Calibrate with all groups but one and produce that one: what a lot does that nobody had seen."""
    target = 0.05
    found, rates = [], []
    for group in sorted(set(groups)):
        inside = groups == group
        found.append(conformal_threshold(pool[~inside], target))
        rates.append(float(np.mean(pool[inside] > found[-1].value)))
    promise = float(np.mean([one.certified_rate for one in found]))
    yield _row(law, int(np.mean([one.parts for one in found])), target, CONFORMAL, np.asarray(rates), promise)


def _rows(law: str, scores: Scores, target: float, above: Rate, bounded: bool = True) -> Iterator[Row]:
    """One row a method for calibrations `(draws, n)`. Where rates are not `bounded` exactly, no tolerance limit."""
    parts = scores.shape[1]
    ordered = np.sort(scores, axis=1)
    certified = (parts_above(parts, target) + 1) / (parts + 1)
    largest = ordered[:, -1]
    conformal = ordered[:, parts - 1 - parts_above(parts, target)]
    yield _row(law, parts, target, CONFORMAL, above(conformal), certified)
    if bounded:
        left = tolerance_above(parts, target, CONFIDENCE)
        rates = above(ordered[:, parts - 1 - left])
        yield _row(law, parts, target, TOLERANCE, rates, rate_bound(parts, left, CONFIDENCE), sure=True)
    if parts < parts_needed(target) and within_reach(parts, target):
        estimates = np.asarray([tail_threshold(row, target) for row in scores])
        yield _row(law, parts, target, ESTIMATE, above(np.maximum(estimates, largest)), certified)
    yield _row(law, parts, target, QUANTILE, above(np.quantile(scores, 1 - target, axis=1)), target)
    sigma = scores.mean(axis=1) + NormalDist().inv_cdf(1 - target) * scores.std(axis=1, ddof=1)
    yield _row(law, parts, target, SIGMA, above(sigma), target)


def _row(
    law: str, parts: int, target: float, method: str, rates: NDArray[np.float64], promise: float, sure: bool = False
) -> Row:
    """`promise` bounds the mean rate, or where it is `sure` 95 of 100 rates; four standard errors are chance."""
    mean, draws = float(rates.mean()), len(rates)
    if sure:
        chance = 4 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / draws)
        kept = float(np.mean(rates > promise)) <= 1 - CONFIDENCE + chance
    else:
        kept = mean <= promise + 4 * float(rates.std()) / math.sqrt(draws)
    return {
        "law": law,
        "n": parts,
        "target": target,
        "method": method,
        "promise": promise,
        "realised_mean": mean,
        "realised_p95": float(np.quantile(rates, 0.95)),
        "promise_kept": kept,
        "draws": draws,
    }


def summary(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the simulations' table: over all laws, how each method fared for a number of parts."""
    head = ["good parts", "target", "method", "promised", "realised, mean over laws", "worst law", "promise kept"]
    groups: dict[tuple[int, float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["n"], row["target"], row["method"]), []).append(row)
    lines = []
    for (parts, target, method), found in groups.items():
        means = [row["realised_mean"] for row in found]
        kept = sum(row["promise_kept"] for row in found)
        promised = percent(found[0]["promise"]) + (" in 95 of 100" if method == TOLERANCE else "")
        realised = [percent(float(np.mean(means))), percent(max(means))]
        lines.append([str(parts), percent(target), method, promised, *realised, f"{kept} of {len(found)} laws"])
    return head, lines


def details(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the real sets' table, one a row."""
    head = ["set", "good parts", "target", "method", "promised", "realised", "95 % of draws below", "promise kept"]
    lines = [
        [
            row["law"],
            str(row["n"]),
            percent(row["target"]),
            row["method"],
            *(percent(row[key]) for key in ("promise", "realised_mean", "realised_p95")),
            "yes" if row["promise_kept"] else "no",
        ]
        for row in rows
    ]
    return head, lines


def _write(path: Path | None, text: str) -> None:
    if path is None:
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); name another file") from None


def _weights(folder: Path) -> str | None:
    return next((str(path) for path in sorted(folder.glob("resnet18*.safetensors"))), None)


def _parser() -> argparse.ArgumentParser:
    shared = REPOSITORY.parent / "shared" / "data"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_DRAWS} draws instead of {DRAWS}")
    parser.add_argument(
        "--data",
        type=Path,
        nargs="*",
        default=[shared / name for name in SETS],
        help="data sets in MVTec AD's layout (default: the research photographs beside the checkout)",
    )
    parser.add_argument(
        "--weights",
        default=_weights(shared.parent / "weights"),
        help="ImageNet weights of ResNet-18 (default: beside the photographs, or where `train` looks)",
    )
    parser.add_argument("--folds", type=int, default=0, metavar="N", help="train in folds, N times on each set")
    parser.add_argument("--recipe", choices=("default", "paper"), default="default", help="of each training")
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--json", type=Path, help="write all rows there")
    parser.add_argument("--plot", type=Path, help="write a plot there, as SVG")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
