"""What a training run changes from step to step, and the file that it resumes from."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from engines.errors import UsageError
from trainer.simplenet import SimpleNet
from trainer.tensors import load_tensors


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

    def finish_epoch(self, losses: list[torch.Tensor], active_shares: list[float]) -> None:
        """Note the means over an epoch's steps."""
        self.losses.append(torch.stack(losses).mean().item())
        self.active_share = statistics.fmean(active_shares)

    def step(self, loss: torch.Tensor) -> None:
        """One step of every optimiser down the gradient of `loss`."""
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()

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
