"""Training the head on cached features: seeded, resumable, last epoch, never a look at test data."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.errors import UsageError
from engines.preprocess import Preprocessing
from trainer.allocator import freed_memory_kept
from trainer.features import Features
from trainer.loss import truncated_l1
from trainer.noise import GaussianNoise
from trainer.recipe import Recipe
from trainer.simplenet import SimpleNet
from trainer.tensors import load_tensors

CHECKPOINT_EVERY_S = 10.0


@dataclass(frozen=True)
class EpochReport:
    """The finished epoch (1-based) of how many, with the mean loss of each one so far, resumed ones included.

    `active_share` is the share of patches that were still within the margin in this epoch.
    """

    epoch: int
    epochs: int
    losses: tuple[float, ...]
    active_share: float

    @property
    def loss(self) -> float:
        """This epoch's."""
        return self.losses[-1]


@dataclass
class Run:
    """Everything that a training run changes from step to step, and so all that a checkpoint holds."""

    network: SimpleNet
    optimisers: tuple[torch.optim.Optimizer, ...]
    losses: list[float] = field(default_factory=list)
    active_share: float = 1.0

    @property
    def epoch(self) -> int:
        """How many epochs are finished."""
        return len(self.losses)

    @classmethod
    def fresh(cls, channels: int, recipe: Recipe, seed: int, device: torch.device) -> Run:
        """Seeded weights and two Adams (section 4.3)."""
        generator = torch.Generator().manual_seed(seed)
        network = SimpleNet(channels, recipe.hidden, generator).to(device).train()
        rates = (
            (list(network.adaptor.parameters()), recipe.adaptor_rate),
            (network.discriminator_parameters(), recipe.discriminator_rate),
        )
        optimisers = tuple(torch.optim.Adam(p, lr, weight_decay=recipe.weight_decay, fused=True) for p, lr in rates)
        return cls(network, optimisers)

    def state(self) -> dict[str, Any]:
        """Tensors and numbers only, so that `torch.load(weights_only=True)` reads it back."""
        return {
            "network": self.network.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "losses": self.losses,
            "active_share": self.active_share,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.network.load_state_dict(state["network"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.losses, self.active_share = state["losses"], state["active_share"]


@dataclass(frozen=True)
class Checkpoint:
    """A file that a stopped training resumes from, tied to the settings by `key` (any text that names them all)."""

    path: Path
    key: str

    def save(self, run: Run) -> None:
        """Write atomically: a kill leaves the previous checkpoint. Raises UsageError where the disk refuses."""
        temporary = self.path.with_suffix(".tmp")
        try:
            torch.save({"key": self.key, **run.state()}, temporary)
            temporary.replace(self.path)
        except (OSError, RuntimeError) as error:  # torch's writer reports a full disk as RuntimeError
            temporary.unlink(missing_ok=True)
            reason = str(error).splitlines()[0]
            raise UsageError(f"{self.path}: the checkpoint cannot be written ({reason}); free some room") from None

    def load_into(self, run: Run) -> None:
        """Resume `run` where the file exists. Raises UsageError where it belongs to other settings or is damaged."""
        if not self.path.exists():
            return
        try:
            state = load_tensors(self.path)
            if state["key"] != self.key:
                raise UsageError(
                    f"{self.path} was written with other photographs or settings; "
                    "repeat them, or train without --resume"
                )
            run.restore(state)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise UsageError(f"{self.path} cannot be resumed from ({error}); train without --resume") from None


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
    """Train adaptor and discriminator on patch features for the recipe's epochs; returns the last epoch in eval mode.

    Only the photographs (or tiles) at `images` are trained on, where they are named. `on_epoch` also hears of a run
    that was finished when it was resumed.
    The same seed on the same machine with the same number of threads gives the same bits, resumed from `checkpoint` or
    not.
    """
    device = device or torch.device("cpu")
    run = Run.fresh(features.patches.shape[2], recipe, seed, device)
    if checkpoint:
        checkpoint.load_into(run)
    noise = GaussianNoise(recipe.noise_sigma, training_dtype(device))
    saved = time.monotonic()
    chosen = np.arange(len(features.patches)) if images is None else images
    if on_epoch and run.epoch == recipe.epochs:
        on_epoch(_report(run, recipe))
    while run.epoch < recipe.epochs:
        _epoch(run, features, chosen, recipe, noise, np.random.default_rng([seed, run.epoch]))
        # The last epoch, too: a disk that is full when the bundle is written must not cost the training.
        due = run.epoch == recipe.epochs or time.monotonic() - saved > CHECKPOINT_EVERY_S
        if checkpoint and due:
            checkpoint.save(run)
            saved = time.monotonic()
        if on_epoch:
            on_epoch(_report(run, recipe))
    return run.network.eval()


def _report(run: Run, recipe: Recipe) -> EpochReport:
    return EpochReport(run.epoch, recipe.epochs, tuple(run.losses), run.active_share)


def _epoch(
    run: Run,
    features: Features,
    images: NDArray[np.intp],
    recipe: Recipe,
    noise: GaussianNoise,
    rng: np.random.Generator,
) -> None:
    """One pass in an order of its own; `rng` belongs to this epoch alone, so that nothing of it needs saving."""
    device = run.network.adaptor.weight.device
    order = rng.permutation(images)
    losses, shares = [], []
    for start in range(0, len(order), recipe.batch_images):
        patches = load_batch(features, order[start : start + recipe.batch_images], device)
        drawn = noise.draw(rng, *patches.shape).to(device)
        value, share = _step(run, patches, drawn, recipe.margin)
        losses.append(value)
        shares.append(share)
    run.losses.append(torch.stack(losses).mean().item())
    run.active_share = float(np.mean(shares))


def load_batch(features: Features, images: np.ndarray, device: torch.device) -> Tensor:
    """Patches `(B, C)` of the photographs at `images` in the dtype that the head trains in."""
    batch = torch.empty(len(images), *features.patches.shape[1:], dtype=training_dtype(device))
    for room, image in zip(batch, np.sort(images), strict=True):
        room.copy_(torch.from_numpy(features.patches[image]))
    return batch.flatten(0, 1).to(device)


def _step(run: Run, patches: Tensor, noise: Tensor, margin: float) -> tuple[Tensor, float]:
    with autocast(patches.device):
        loss = truncated_l1(run.network, patches, noise, margin)
    for optimiser in run.optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.surrogate.backward()
    for optimiser in run.optimisers:
        optimiser.step()
    return loss.value.detach(), loss.active_share


def training_dtype(device: torch.device) -> torch.dtype:
    """Bfloat16 where matrix products in it are native (AMX or AVX-512 on a CPU, Ampere and newer), else float32.

    On a CPU without either, bfloat16 is emulated and several times slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast to `training_dtype`, or nothing where that is float32."""
    dtype = training_dtype(device)
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def settings_key(
    recipe: Recipe, seed: int, dataset_digest: str, weights_sha256: str, preprocessing: Preprocessing
) -> str:
    """One line that names everything which decides a run's result, for `Checkpoint`."""
    settings = " ".join(f"{name}={value}" for name, value in dataclasses.asdict(recipe).items())
    return f"{settings} seed={seed} data={dataset_digest} weights={weights_sha256} {preprocessing}"
