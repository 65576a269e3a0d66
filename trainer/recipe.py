"""How a head is trained. Every default is written down here once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from engines.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """Training settings; rates are per step, `batch_images` counts photographs, whose patches form the batch."""

    name: str
    epochs: int = 160
    batch_images: int = 4
    noise_sigma: float = 0.015
    margin: float = 0.5
    hidden: int = 1024
    adaptor_rate: float = 1e-4
    discriminator_rate: float = 2e-4
    weight_decay: float = 1e-5

    def with_epochs(self, epochs: int | None) -> Recipe:
        """The same recipe for another number of epochs; None keeps its own. Raises UsageError below 1."""
        if epochs is None:
            return self
        if epochs < 1:
            raise UsageError(f"expected at least 1 epoch, found --epochs {epochs}")
        return dataclasses.replace(self, epochs=epochs)


# SimpleNet sections 3.2-3.5 and 4.3. The hidden width is not in the paper; 1024 is the official code's.
PAPER = Recipe("paper")
RECIPES = {recipe.name: recipe for recipe in (PAPER,)}
