"""The default recipe: good patches against noise as long as good parts lie apart, and against drawn defects.

With the paper's noise the head learns its training patches by heart, since good parts lie farther apart than the noise
is long (docs/accuracy.md). Here that distance is measured first, on good parts alone, and there is no trained adaptor
that could stretch it. Nothing of this changes the network that is deployed.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.features import Features
from trainer.noise import GaussianNoise
from trainer.precision import autocast
from trainer.recipe import MeasuredRecipe
from trainer.run import Run
from trainer.simplenet import SimpleNet

# Patches that mean and deviation are taken of; photographs asked for their distance, of how many patches each, and
# photographs that they are compared with.
SAMPLE, ASKED, ASKED_PATCHES, OTHERS = 40_000, 8, 100, 40
WARM_UP = 0.1


class MeasuredLesson:
    """Trains on the photographs at `images` of `features`, and on defects drawn onto them, as `recipe` says.

    `unit` is the features' deviation, and `good_distance`, in that unit, the median distance from a patch of a good
    part to the nearest of other parts.

    Raises ValueError where `features` holds no drawn defects.
    """

    def __init__(
        self, features: Features, images: NDArray[np.intp], recipe: MeasuredRecipe, seed: int, device: torch.device
    ) -> None:
        if features.defects is None:
            raise ValueError(f"the recipe {recipe.name!r} needs drawn defects; give `extract_defects` of the backbone")
        self._patches, self._images, self._recipe = features.patches, images, recipe
        self._seed, self._device = seed, device
        rng = np.random.default_rng(seed)
        sample = self._draw(rng, SAMPLE)
        self._mean = sample.mean(0)
        self.unit = float(sample.std(0).square().mean().sqrt())
        self.good_distance = max(1e-3, self._measure_distance(rng))
        self._noise = GaussianNoise(self.good_distance / math.sqrt(sample.shape[1]), torch.float32)
        self._defects = self._visible_defects(features)

    def begin(self) -> Run:
        """Seeded weights and one AdamW for the discriminator; the adaptor only standardises."""
        generator = torch.Generator().manual_seed(self._seed)
        network = SimpleNet(self._patches.shape[2], self._recipe.hidden, generator).to(self._device).train()
        optimiser = torch.optim.AdamW(
            network.discriminator_parameters(), self._recipe.rate, weight_decay=self._recipe.weight_decay, fused=True
        )
        return Run(network, (optimiser,))

    def epoch(self, run: Run, rng: np.random.Generator) -> None:
        """Steps on patches of any photographs."""
        losses, shares = [], []
        for step in range(self._recipe.epoch_steps):
            self._set_rate(run, step)
            normality = self._normality(run.network, self._batch(rng).to(self._device))
            right = torch.cat([normality[: self._good], -normality[self._good :]])
            loss = functional.softplus(-right).sum() / self._good
            run.step(loss)
            losses.append(loss.detach())
            shares.append(float((right.detach() < 0).float().mean()))
        run.finish_epoch(losses, shares)

    def finish(self, run: Run) -> SimpleNet:
        """The network for features as they come: standardising is moved into adaptor and hidden bias."""
        network = run.network.eval()
        with torch.no_grad():
            network.adaptor.weight.copy_(torch.eye(len(self._mean)) / self.unit)
            network.hidden.bias.sub_(network.hidden.weight @ (self._mean / self.unit).to(self._device))
        return network

    @property
    def _good(self) -> int:
        return self._recipe.batch_patches

    def _batch(self, rng: np.random.Generator) -> Tensor:
        """Standardised rows: good patches, then those with noise, then those of drawn defects."""
        noisy, drawn = (round(share * self._good) for share in (self._recipe.noisy, self._recipe.drawn))
        good = self.standardised(self._draw(rng, self._good))
        spread = math.log(self._recipe.farthest / self._recipe.nearest)
        lengths = self._recipe.nearest * np.exp(spread * rng.random((noisy, 1), np.float32))
        moved = good[:noisy] + torch.from_numpy(lengths) * self._noise.draw(rng, noisy, good.shape[1])
        defects = self._defects[torch.from_numpy(rng.integers(len(self._defects), size=drawn))].float()
        return torch.cat([good, moved, self.standardised(defects)])

    def _normality(self, network: SimpleNet, rows: Tensor) -> Tensor:
        with autocast(self._device):
            return network.normality(network.hidden(rows)).float()

    def _set_rate(self, run: Run, step: int) -> None:
        """Up in a straight line for a tenth of the way, then down along a cosine."""
        way = (run.epoch + (step + 1) / self._recipe.epoch_steps) / self._recipe.epochs
        fall = 0.5 * (1 + math.cos(math.pi * max(0.0, way - WARM_UP) / (1 - WARM_UP)))
        for optimiser in run.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self._recipe.rate * min(1.0, way / WARM_UP) * fall

    def standardised(self, patches: Tensor) -> Tensor:
        """Patches `(B, C)` with their mean at zero and a deviation of one, the same for all channels."""
        return (patches - self._mean) / self.unit

    def _draw(self, rng: np.random.Generator, count: int) -> Tensor:
        """`count` patches of any photographs, float32 `(count, C)`."""
        places = rng.integers(len(self._images) * self._patches.shape[1], size=count)
        image, patch = np.divmod(np.sort(places), self._patches.shape[1])
        rows = torch.from_numpy(self._patches[self._images[image], patch]).float()
        return rows[torch.from_numpy(rng.permutation(count))]

    def _measure_distance(self, rng: np.random.Generator) -> float:
        """Median distance, standardised, from a patch of a good part to the nearest of other parts."""
        order = rng.permutation(self._images)
        asked = order[: min(ASKED, max(1, len(order) // 2))]
        others = order[len(asked) : len(asked) + OTHERS]
        if not len(others):  # a single photograph: half of its patches against the other half
            rows = self.standardised(torch.from_numpy(self._patches[asked[0]]).float())
            return float(torch.cdist(rows[::2], rows[1::2]).amin(1).median())
        bank = self.standardised(torch.from_numpy(self._patches[np.sort(others)]).flatten(0, 1).float())
        patches = rng.integers(self._patches.shape[1], size=(len(asked), ASKED_PATCHES))
        queries = self.standardised(torch.from_numpy(self._patches[asked[:, None], patches]).flatten(0, 1).float())
        return float(torch.cat([torch.cdist(rows, bank).amin(1) for rows in queries.split(100)]).median())

    def _visible_defects(self, features: Features) -> Tensor:
        """Drawn defects on our photographs that moved their patch farther than good parts lie apart.

        What moved it less may be within what is good.
        """
        defects = features.defects
        assert defects is not None
        mine = np.isin(defects.images, self._images)
        before = self._patches[defects.images[mine], defects.positions[mine]].astype(np.float32)
        drawn = defects.patches[mine]
        moved = np.linalg.norm(drawn.astype(np.float32) - before, axis=1) / self.unit
        visible = moved > self.good_distance
        return torch.from_numpy(drawn[visible] if visible.any() else drawn)
