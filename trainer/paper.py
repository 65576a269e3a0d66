"""The paper's recipe: every patch of a few photographs against itself with noise (SimpleNet sections 3.3-3.5)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.features import Features
from trainer.loss import truncated_l1
from trainer.noise import GaussianNoise
from trainer.precision import autocast, training_dtype
from trainer.recipe import PaperRecipe
from trainer.run import Run
from trainer.simplenet import SimpleNet


class PaperLesson:
    """Trains on the photographs at `images` of `features` as `recipe` says."""

    def __init__(
        self, features: Features, images: NDArray[np.intp], recipe: PaperRecipe, seed: int, device: torch.device
    ) -> None:
        self._features, self._images, self._recipe = features, images, recipe
        self._seed, self._device = seed, device
        self._noise = GaussianNoise(recipe.noise_sigma, training_dtype(device))

    def begin(self) -> Run:
        """Seeded weights and two Adams (section 4.3)."""
        recipe, generator = self._recipe, torch.Generator().manual_seed(self._seed)
        network = SimpleNet(self._features.patches.shape[2], recipe.hidden, generator).to(self._device).train()
        rates = (
            (list(network.adaptor.parameters()), recipe.adaptor_rate),
            (network.discriminator_parameters(), recipe.discriminator_rate),
        )
        optimisers = tuple(torch.optim.Adam(p, lr, weight_decay=recipe.weight_decay, fused=True) for p, lr in rates)
        return Run(network, optimisers)

    def epoch(self, run: Run, rng: np.random.Generator) -> None:
        """One pass over all photographs in an order of its own."""
        order = rng.permutation(self._images)
        losses, shares = [], []
        for start in range(0, len(order), self._recipe.batch_images):
            patches = load_batch(self._features, order[start : start + self._recipe.batch_images], self._device)
            noise = self._noise.draw(rng, *patches.shape).to(self._device)
            with autocast(self._device):
                loss = truncated_l1(run.network, patches, noise, self._recipe.margin)
            run.step(loss.surrogate)
            losses.append(loss.value.detach())
            shares.append(loss.active_share)
        run.finish_epoch(losses, shares)

    def finish(self, run: Run) -> SimpleNet:
        """The network of the last step."""
        return run.network.eval()


def load_batch(features: Features, images: NDArray[np.intp], device: torch.device) -> Tensor:
    """Patches `(B, C)` of the photographs at `images` in the dtype that the head trains in."""
    batch = torch.empty(len(images), *features.patches.shape[1:], dtype=training_dtype(device))
    for room, image in zip(batch, np.sort(images), strict=True):
        room.copy_(torch.from_numpy(features.patches[image]))
    return batch.flatten(0, 1).to(device)
