"""How a head is trained. Every default is written down here once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from engines.errors import UsageError

AnyRecipe = TypeVar("AnyRecipe", bound="Recipe")


@dataclass(frozen=True)
class Recipe:
    """What every recipe has: its name, how long it takes, and the hidden width, which is what the engine pays for."""

    name: str
    epochs: int
    hidden: int = 1024

    def with_epochs(self: AnyRecipe, epochs: int | None) -> AnyRecipe:
        """The same recipe for another number of epochs; None keeps its own. Raises UsageError below 1."""
        if epochs is None:
            return self
        if epochs < 1:
            raise UsageError(f"expected at least 1 epoch, found --epochs {epochs}")
        return dataclasses.replace(self, epochs=epochs)

    def changed(self: AnyRecipe, changes: Sequence[str]) -> AnyRecipe:
        """The same recipe with other settings, each written NAME=NUMBER. Raises UsageError for what is no setting."""
        settings = {name: value for name, value in dataclasses.asdict(self).items() if name != "name"}
        found: dict[str, Any] = {}
        for change in changes:
            name, _, text = change.partition("=")
            try:
                found[name] = type(settings[name])(text)
            except (KeyError, ValueError):
                known = ", ".join(f"{name}={value}" for name, value in settings.items())
                raise UsageError(f"the recipe {self.name!r} takes no {change!r}; its settings: {known}") from None
        return dataclasses.replace(self, **found)


@dataclass(frozen=True)
class PaperRecipe(Recipe):
    """SimpleNet as published; rates are per step, `batch_images` counts photographs, whose patches form the batch."""

    batch_images: int = 4
    noise_sigma: float = 0.015
    margin: float = 0.5
    adaptor_rate: float = 1e-4
    discriminator_rate: float = 2e-4
    weight_decay: float = 1e-5


@dataclass(frozen=True)
class MeasuredRecipe(Recipe):
    """Noise as long as good parts lie apart, and defects drawn onto photographs; an epoch is `epoch_steps` steps.

    A step sees `batch_patches` good patches of any photographs, `noisy` times as many with noise, and `drawn` times as
    many of drawn defects. Noise has a length between `nearest` and `farthest` times the median distance from a good
    patch to the nearest of other parts. Each epoch adds `epoch_pictures` photographs with drawn defects to a training.
    The rate rises to `rate` and falls to nothing.
    """

    epoch_steps: int = 25
    batch_patches: int = 1024
    epoch_pictures: int = 20
    noisy: float = 0.5
    drawn: float = 0.5
    nearest: float = 0.7
    farthest: float = 2.0
    rate: float = 2e-3
    weight_decay: float = 1e-2

    @property
    def pictures(self) -> int:
        """How many photographs with drawn defects a training uses."""
        return self.epochs * self.epoch_pictures


# The reasons for its settings are the ablations in docs/accuracy.md.
DEFAULT = MeasuredRecipe("default", epochs=20)
# SimpleNet sections 3.2-3.5 and 4.3. The hidden width is not in the paper; 1024 is the official code's.
PAPER = PaperRecipe("paper", epochs=160)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (DEFAULT, PAPER)}
