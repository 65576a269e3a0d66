"""SimpleNet's trainable part: the feature adaptor and the discriminator (arXiv 2303.15140, sections 3.2-3.4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.head import LEAKY_SLOPE, Head


class SimpleNet(nn.Module):
    """Adaptor (one Linear without bias) and discriminator (Linear, BatchNorm, LeakyReLU, Linear).

    Linear weights start as Xavier-normal draws from `generator`, as in the official code; the paper does not say.
    """

    def __init__(self, channels: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.adaptor = nn.Linear(channels, channels, bias=False)
        self.hidden = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, 1)
        for layer in (self.adaptor, self.hidden, self.out):
            nn.init.xavier_normal_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """Parameters that the discriminator's optimiser steps."""
        return [*self.hidden.parameters(), *self.norm.parameters(), *self.out.parameters()]

    def forward(self, patches: Tensor) -> Tensor:
        """Normality D of patch features `(B, C)`: float `(B,)`, higher is more normal (section 3.4)."""
        return self.normality(self.hidden(self.adaptor(patches)))

    def normality(self, hidden: Tensor) -> Tensor:
        """Normality D of what the hidden layer made of patches `(B, H)`: float `(B,)`."""
        return self.out(nn.functional.leaky_relu(self.norm(hidden), LEAKY_SLOPE, inplace=True)).squeeze(-1)

    @torch.inference_mode()
    def patch_scores(self, patches: Tensor) -> Tensor:
        """Anomaly scores -D of patch features `(N, P, C)` in eval mode: float32 `(N, P)` (eq. 9)."""
        was_training = self.training
        self.eval()
        scores = torch.stack([-self(image.float()) for image in patches])
        self.train(was_training)
        return scores

    def to_head(self) -> Head:
        """The weights as arrays, for export and for the bundle."""
        state = {key: value.detach().float().cpu().numpy().copy() for key, value in self.state_dict().items()}
        return Head(
            adaptor=state["adaptor.weight"],
            hidden_weight=state["hidden.weight"],
            hidden_bias=state["hidden.bias"],
            bn_weight=state["norm.weight"],
            bn_bias=state["norm.bias"],
            bn_mean=state["norm.running_mean"],
            bn_var=state["norm.running_var"],
            out_weight=state["out.weight"][0],
            out_bias=state["out.bias"],
        )
