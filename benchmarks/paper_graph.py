"""SimpleNet's inference as the paper draws it, layer by layer in PyTorch's eager mode: the yardstick of speed.

Float32, nothing folded, nothing compiled. It is kinder than the official code, which runs level 4 and unfolds
neighbourhoods, and still what a person writes who follows the paper (arXiv 2303.15140, sections 3.1 to 3.6).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from engines.backbones import BACKBONES
from engines.engine import Inspection
from engines.export import MAP_SIGMA, PATCH_STRIDE
from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone
from trainer.features import normalise
from trainer.recipe import PAPER
from trainer.simplenet import SimpleNet
from trainer.weights import RANDOM, find_weights

_RADIUS = int(4 * MAP_SIGMA + 0.5)


class PaperGraph:
    """The network on random weights; on a GPU where PyTorch finds one."""

    def __init__(self, backbone: str) -> None:
        self.input_size = Preprocessing().input_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        weights = find_weights(backbone, RANDOM, seed=0).arrays
        self._backbone = build_backbone(backbone, weights).to(self.device)
        head = SimpleNet(sum(BACKBONES[backbone].channels), PAPER.hidden, torch.Generator().manual_seed(0))
        self._head = head.eval().to(self.device)
        offsets = torch.arange(-_RADIUS, _RADIUS + 1, device=self.device)
        kernel = torch.exp(-0.5 * (offsets / MAP_SIGMA) ** 2)
        self._kernel = (kernel / kernel.sum()).reshape(1, 1, 1, -1)
        # scipy's border rule, which the official code has: the picture is mirrored with its edge pixel repeated.
        inner = torch.arange(self.input_size, device=self.device)
        self._mirrored = torch.cat([inner[:_RADIUS].flip(0), inner, inner[-_RADIUS:].flip(0)])

    @torch.inference_mode()
    def infer(self, frames: NDArray[np.uint8]) -> Inspection:
        """Inspect RGB uint8 frames of shape `(N, S, S, 3)`, as an engine does."""
        level2, level3 = self._backbone(normalise(frames, self.device))
        means = torch.cat([level.mean(dim=(2, 3)) for level in (level2, level3)], dim=1)
        level2, level3 = (functional.avg_pool2d(level, 3, 1, 1) for level in (level2, level3))
        level3 = functional.interpolate(level3, level2.shape[-2:], mode="bilinear", align_corners=False)
        patches = torch.cat([level2, level3], dim=1).flatten(2).transpose(1, 2)
        scores = -self._head(patches.reshape(-1, patches.shape[2])).reshape(len(frames), -1)
        outputs = scores.amax(dim=1), self._maps(scores), means
        return Inspection(*(output.cpu().numpy() for output in outputs))

    def _maps(self, scores: Tensor) -> Tensor:
        grid = self.input_size // PATCH_STRIDE
        size = (self.input_size, self.input_size)
        maps = functional.interpolate(scores.reshape(-1, 1, grid, grid), size, mode="bilinear", align_corners=False)
        maps = maps[:, :, self._mirrored][:, :, :, self._mirrored]
        return functional.conv2d(functional.conv2d(maps, self._kernel), self._kernel.mT)[:, 0]
