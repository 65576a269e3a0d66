"""Training the head on cached features: seeded, resumable, last epoch, never a look at test data."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from engines.preprocess import Preprocessing
from trainer.allocator import freed_memory_kept
from trainer.features import Features
from trainer.measured import MeasuredLesson
from trainer.paper import PaperLesson
from trainer.recipe import MeasuredRecipe, PaperRecipe, Recipe
from trainer.run import Checkpoint, Run
from trainer.simplenet import SimpleNet

CHECKPOINT_EVERY_S = 10.0


@dataclass(frozen=True)
class EpochReport:
    """The finished epoch (1-based) of how many, with the mean loss of each one so far, resumed ones included.

    `active_share` is the share of patches that were not yet told apart in this epoch: within the paper's margin, or
    on the wrong side of zero with the default recipe.
    """

    epoch: int
    epochs: int
    losses: tuple[float, ...]
    active_share: float

    @property
    def loss(self) -> float:
        """This epoch's."""
        return self.losses[-1]


class Lesson(Protocol):
    """A recipe at work on some photographs' features."""

    def begin(self) -> Run: ...

    def epoch(self, run: Run, rng: np.random.Generator) -> None: ...

    def finish(self, run: Run) -> SimpleNet: ...


@freed_memory_kept()
def train_head(
    features: Features,
    recipe: Recipe,
    seed: int = 0,
    device: torch.device | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    checkpoint: Checkpoint | None = None,
    images: NDArray[np.intp] | None = None,
) -> SimpleNet:
    """Train a head on patch features for the recipe's epochs; returns the last epoch in eval mode.

    Only the photographs (or tiles) at `images` are trained on, where they are named. `on_epoch` also hears of a run
    that was finished when it was resumed. The same seed on the same machine with the same number of threads gives the
    same bits, resumed from `checkpoint` or not. Raises ValueError where the recipe needs drawn defects and
    `features` has none.
    """
    chosen = np.arange(len(features.patches)) if images is None else images
    lesson = _lesson(features, chosen, recipe, seed, device or torch.device("cpu"))
    run = lesson.begin()
    if checkpoint:
        checkpoint.load_into(run)
    saved = time.monotonic()
    if on_epoch and run.epoch == recipe.epochs:
        on_epoch(_report(run, recipe))
    while run.epoch < recipe.epochs:
        # A generator that belongs to this epoch alone, so that nothing of it needs saving.
        lesson.epoch(run, np.random.default_rng([seed, run.epoch]))
        # The last epoch, too: a disk that is full when the bundle is written must not cost the training.
        due = run.epoch == recipe.epochs or time.monotonic() - saved > CHECKPOINT_EVERY_S
        if checkpoint and due:
            checkpoint.save(run)
            saved = time.monotonic()
        if on_epoch:
            on_epoch(_report(run, recipe))
    return lesson.finish(run)


def _report(run: Run, recipe: Recipe) -> EpochReport:
    return EpochReport(run.epoch, recipe.epochs, tuple(run.losses), run.active_share)


def _lesson(features: Features, images: NDArray[np.intp], recipe: Recipe, seed: int, device: torch.device) -> Lesson:
    if isinstance(recipe, PaperRecipe):
        return PaperLesson(features, images, recipe, seed, device)
    if isinstance(recipe, MeasuredRecipe):
        return MeasuredLesson(features, images, recipe, seed, device)
    raise ValueError(f"expected a recipe that can be trained, found {recipe}")


def settings_key(
    recipe: Recipe, seed: int, dataset_digest: str, weights_sha256: str, preprocessing: Preprocessing
) -> str:
    """One line that names everything which decides a run's result, for `Checkpoint`."""
    settings = " ".join(f"{name}={value}" for name, value in dataclasses.asdict(recipe).items())
    return f"{settings} seed={seed} data={dataset_digest} weights={weights_sha256} {preprocessing}"
