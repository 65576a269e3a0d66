"""From a folder of photographs to a bundle: check, split, compute features, train, export, write."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from engines import __version__
from engines.backbones import BACKBONES
from engines.bank import Bank
from engines.bundle import (
    SCHEMA,
    BackboneInfo,
    Bundle,
    BundleInfo,
    Provenance,
    check_target,
    folds_folder,
    write_bundle,
)
from engines.errors import DataError, UsageError, WeightsError
from engines.export import PATCH_STRIDE, build_model
from engines.head import Head
from engines.images import decode_image, fingerprint, read_bytes
from engines.lots import FOLDERS, lots_of
from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone
from trainer.banks import collect
from trainer.data import Photograph, hold_back, scan_dataset, split_folds
from trainer.features import Features, Progress, extract, extract_defects, feature_store
from trainer.methods import Method
from trainer.recipe import MeasuredRecipe, Recipe
from trainer.run import Checkpoint
from trainer.training import EpochReport, settings_key, train_head
from trainer.weights import Weights, find_weights

PACKAGES = ("torch", "numpy", "onnx", "opencv-python-headless")


# Fewer photographs, and a fifth of them held back certifies less than the usual 1 %.
FEW_PHOTOGRAPHS = 495
FOLDS, HELD_BACK = 5, 0.2


@dataclass(frozen=True)
class Order:
    """What `train` was asked for; `weights` as in `find_weights`, `lots` as in `engines.lots.lots_of`.

    `recipe` counts only where `method` trains.

    `held_back` is the share kept for calibration, `folds` how many further heads are trained, each without its part of
    the photographs; where both are None, few photographs are trained in folds, and of many a fifth is held back.
    """

    data: Path
    out: Path
    backbone: str
    method: Method
    recipe: Recipe
    preprocessing: Preprocessing
    weights: str | None
    seed: int
    held_back: float | None
    folds: int | None
    lots: str | None
    device: torch.device
    resume: bool


@dataclass(frozen=True)
class Split:
    """Photographs to `train` on and those `kept` for calibration; `folds` are indices into `train`, maybe none."""

    train: list[Photograph]
    kept: list[Photograph]
    folds: list[NDArray[np.intp]]


@dataclass(frozen=True)
class Learnt:
    """A head or a bank, the settings that made it, and the mean loss of each epoch; a bank has none."""

    head: Head | Bank
    settings: dict[str, str | int | float | bool]
    losses: tuple[float, ...] = ()


def learn(order: Order) -> Bundle:
    """Train on the photographs of `order` and write the bundle, not calibrated yet, and the folds' beside it.

    Everything that can be wrong with the input is found out before the first feature is computed. Ctrl-C leaves no
    bundle, but a checkpoint to resume from.
    """
    check_target(order.out)
    paths = scan_dataset(order.data, order.lots == FOLDERS).train_good
    split = _split(order, read_photographs(paths, order.preprocessing))
    weights = find_weights(order.backbone, order.weights, order.seed)
    _announce(order, split, weights)
    with _working_folder(order) as folder:
        learnt, *folds = _train(order, split, weights, folder)
        shutil.rmtree(folds_folder(order.out), ignore_errors=True)
        for number, (fold, left_out) in enumerate(zip(folds, split.folds, strict=True), start=1):
            target = folds_folder(order.out) / str(number)
            target.parent.mkdir(exist_ok=True)
            _write(order, weights, fold.head, _fold_provenance(order, split, left_out, fold), target)
        return _write(order, weights, learnt.head, _provenance(order, split.train, split.kept, learnt), order.out)


def _write(order: Order, weights: Weights, head: Head | Bank, provenance: Provenance, out: Path) -> Bundle:
    info = BundleInfo(
        schema=SCHEMA,
        product=order.data.resolve().name,
        preprocessing=order.preprocessing,
        backbone=BackboneInfo(order.backbone, weights.sha256, weights.source),
        provenance=provenance,
    )
    model = build_model(BACKBONES[order.backbone], weights.arrays, head, order.preprocessing.input_size)
    return write_bundle(out, info, model.SerializeToString(), head)


def _split(order: Order, photographs: Sequence[Photograph]) -> Split:
    paths = [photograph.path for photograph in photographs]
    lots = lots_of(paths, order.data, order.lots) if order.lots else None
    folds, share = order.folds, order.held_back
    if folds is None and share is None:
        few = len(photographs) < FEW_PHOTOGRAPHS
        folds, share = (FOLDS, 0.0) if few else (None, HELD_BACK)
    train, kept = hold_back(photographs, share or 0.0, order.seed, lots)
    return Split(train, kept, split_folds(train, folds, order.seed, lots) if folds else [])


def choose_device(name: str) -> torch.device:
    """Turn `auto`, `cpu` or `cuda` into a device. Raises UsageError where CUDA was asked for and is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("expected a CUDA device for --device cuda, found none; install torch's CUDA build, or use cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def package_versions() -> dict[str, str]:
    """Versions that decide a training's result, for the bundle's provenance."""
    return {"edge-inspect": __version__, **{package: version(package) for package in PACKAGES}}


def read_photographs(paths: Sequence[Path], preprocessing: Preprocessing) -> list[Photograph]:
    """Check every photograph, all bad ones in one message; the same bytes twice are one photograph."""
    problems = []
    unique: dict[str, Photograph] = {}
    for path in tqdm(paths, desc="checking", unit="photo", disable=None, leave=False):
        try:
            content = read_bytes(path)
            _check_view(preprocessing, decode_image(content, str(path)), path)
            mark = fingerprint(content)
            unique.setdefault(mark, Photograph(path, mark))
        except DataError as error:
            problems.append(str(error))
    if problems:
        lines = "\n  ".join(problems)
        raise DataError(
            f"{len(problems)} of {len(paths)} photographs cannot be used; repair or remove them:\n  {lines}"
        )
    if len(unique) < len(paths):
        print(f"left out:   {len(paths) - len(unique)} photographs that repeat another one byte for byte")
    return list(unique.values())


def _check_view(preprocessing: Preprocessing, photograph: NDArray[np.uint8], path: Path) -> None:
    try:
        preprocessing.region(photograph.shape)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _announce(order: Order, split: Split, weights: Weights) -> None:
    unseen = order.preprocessing.unseen_share
    rim = f"; the outer {unseen:.0%} of the area is never inspected (--field full sees it)" if unseen else ""
    use = f"{len(split.kept)} held back for calibration"
    if split.folds:
        use = f"again for {len(split.folds)} more heads, each without a share that it scores for calibration"
    print(f"good parts: {len(split.train)} to train on, {use}, from {order.data}")
    print(f"backbone:   {order.backbone}, weights {weights.source} (sha256 {weights.sha256[:12]})")
    print(f"field:      {order.preprocessing.field}{rim}")
    if order.preprocessing.tiles:
        down, across = order.preprocessing.input_shape
        print(f"tiles:      {order.preprocessing.tiles}; the network sees {across}x{down} pixels of a picture")
    print(f"device:     {order.device}", flush=True)


@contextmanager
def _working_folder(order: Order) -> Iterator[Path]:
    """A folder beside the bundle for checkpoint and features, removed once the bundle is written."""
    folder = order.out.parent / f".{order.out.name}.training"
    if not order.resume:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made ({error.strerror}); name another place with --out") from None
    yield folder
    shutil.rmtree(folder)


def _train(order: Order, split: Split, weights: Weights, folder: Path) -> list[Learnt]:
    """What all photographs to train on gave, and then for each fold what the others gave, on the same features."""
    grid = order.preprocessing.input_size // PATCH_STRIDE
    channels = sum(BACKBONES[order.backbone].channels)
    digest = _dataset_digest(split.train)
    key = settings_key(order.recipe, order.seed, digest, weights.sha256, order.preprocessing)
    each = order.preprocessing.squares_a_frame
    everything = np.arange(len(split.train) * each)
    runs = {"training": (everything, Checkpoint(folder / "checkpoint.pt", key))}
    for number, left_out in enumerate(split.folds, start=1):
        name = f"fold {number} of {len(split.folds)}"
        chosen = np.flatnonzero(~np.isin(everything // each, left_out))
        runs[name] = chosen, Checkpoint(folder / f"fold-{number}.pt", f"{key} {name}")
    with feature_store(len(everything), grid, channels, folder) as store:
        features = _features(order, split.train, weights, store)
        if order.method == "simplenet":
            return [_run_epochs(order, features, name, *run) for name, run in runs.items()]
        return [_collect(order, features, name, images) for name, (images, _) in runs.items()]


def _features(order: Order, train: Sequence[Photograph], weights: Weights, store: Any) -> Features:
    backbone = build_backbone(order.backbone, weights.arrays).to(order.device)
    about = [photograph.path for photograph in train], order.preprocessing, order.device
    with _bar("features", len(train)) as show:
        features = extract(backbone, *about, show, store)
    if order.method != "simplenet" or not isinstance(order.recipe, MeasuredRecipe):
        return features
    with _bar("defects drawn", order.recipe.pictures) as show:
        defects = extract_defects(backbone, *about, order.recipe.pictures, order.seed, show)
    return replace(features, defects=defects)


@contextmanager
def _bar(name: str, total: int) -> Iterator[Progress]:
    with tqdm(total=total, desc=name, unit="photo", disable=None) as bar:

        def show(done: int, _: int) -> None:
            bar.update(done - bar.n)

        yield show


def _run_epochs(
    order: Order, features: Features, name: str, images: NDArray[np.intp], checkpoint: Checkpoint
) -> Learnt:
    reports: list[EpochReport] = []
    began = time.monotonic()
    with tqdm(total=order.recipe.epochs, desc=name, unit="epoch", disable=None) as bar:

        def show(report: EpochReport) -> None:
            reports[:] = [report]
            bar.set_postfix(loss=f"{report.loss:.4f}", refresh=False)
            bar.update(report.epoch - bar.n)

        network = train_head(features, order.recipe, order.seed, order.device, show, checkpoint, images)
    spent, last = time.monotonic() - began, reports[-1]
    print(f"trained:    {last.epoch} epochs in {spent:.0f} s, loss {last.loss:.4f} at the last", flush=True)
    return Learnt(network.to_head(), asdict(order.recipe), last.losses)


def _collect(order: Order, features: Features, name: str, images: NDArray[np.intp]) -> Learnt:
    """A bank of what the photographs at `images` look like."""
    with tqdm(desc=f"bank, {name}", unit="patch", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        bank = collect(order.method, features.patches, order.seed, images, show)
    print(f"bank:       {len(bank.vectors)} of {len(images) * features.grid**2} patches, {name}", flush=True)
    return Learnt(bank, {"name": order.method, "vectors": len(bank.vectors), "neighbours": bank.neighbours})


def _provenance(order: Order, train: Sequence[Photograph], kept: Sequence[Photograph], learnt: Learnt) -> Provenance:
    return Provenance(
        dataset_digest=_dataset_digest([*train, *kept]),
        images=len(train),
        held_back=tuple(photograph.path.relative_to(order.data).as_posix() for photograph in kept),
        seed=order.seed,
        recipe=learnt.settings,
        versions=package_versions(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        trained_on=tuple(photograph.fingerprint for photograph in train),
        losses=learnt.losses,
    )


def _fold_provenance(order: Order, split: Split, left_out: NDArray[np.intp], learnt: Learnt) -> Provenance:
    inside = set(left_out.tolist())
    train = [photograph for index, photograph in enumerate(split.train) if index not in inside]
    return _provenance(order, train, [split.train[index] for index in left_out], learnt)


def _dataset_digest(photographs: Sequence[Photograph]) -> str:
    """Sha256 over the photographs' fingerprints, whatever their names and order."""
    return hashlib.sha256("\n".join(sorted(photograph.fingerprint for photograph in photographs)).encode()).hexdigest()


def export_again(source: Path, out: Path, weights: str | None, opset: int) -> Bundle:
    """Build the network of the bundle at `source` anew from its unfolded head and the backbone's weights.

    The new bundle is not calibrated: a threshold belongs to the network that it was measured on. Raises WeightsError
    where the weights are not those that the head was trained on.
    """
    check_target(out)
    bundle = Bundle.open(source)
    backbone = bundle.info.backbone
    found = find_weights(backbone.name, weights, bundle.info.provenance.seed)
    if found.sha256 != backbone.weights_sha256:
        raise WeightsError(
            f"{source} was trained on weights {backbone.weights_source} (sha256 {backbone.weights_sha256[:12]}), "
            f"found {found.source} ({found.sha256[:12]}); name that file with --weights"
        )
    head = bundle.load_head()
    size = bundle.info.preprocessing.input_size
    model = build_model(BACKBONES[backbone.name], found.arrays, head, size, opset)
    return write_bundle(out, msgspec.structs.replace(bundle.info, calibrations=()), model.SerializeToString(), head)
