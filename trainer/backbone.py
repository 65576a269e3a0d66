"""The frozen backbone as torch modules: a ResNet from the stem to level 3, with torchvision's state-dict keys."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.backbones import BACKBONES, BATCH_NORM_EPS, Backbone
from engines.errors import UsageError


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, or 1x1-3x3-1x1 where the backbone has bottlenecks."""

    def __init__(self, backbone: Backbone, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = planes * backbone.expansion
        if backbone.bottleneck:
            width = planes * backbone.base_width // 64
            shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
        else:
            shapes = [(inputs, planes, 3, stride), (planes, outputs, 3, 1)]
        self.depth = len(shapes)
        for index, (before, after, kernel, step) in enumerate(shapes, start=1):
            self.add_module(f"conv{index}", nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False))
            self.add_module(f"bn{index}", nn.BatchNorm2d(after, eps=BATCH_NORM_EPS))
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for index in range(1, self.depth + 1):
            x = self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(x))
            if index < self.depth:
                x = torch.relu(x)
        return torch.relu(x + shortcut)


class ResNetToLevel3(nn.Module):
    """Backbone cut after level 3; level 4 and the classifier do not exist."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64, eps=BATCH_NORM_EPS)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for level, count in enumerate(backbone.blocks, start=1):
            planes = 64 * 2 ** (level - 1)
            blocks = []
            for index in range(count):
                blocks.append(Block(backbone, inputs, planes, stride=2 if index == 0 and level > 1 else 1))
                inputs = planes * backbone.expansion
            self.add_module(f"layer{level}", nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised RGB float `(N, 3, S, S)` to levels 2 `(N, C2, S/8, S/8)` and 3 `(N, C3, S/16, S/16)`."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        level2 = self.get_submodule("layer2")(self.get_submodule("layer1")(x))
        return level2, self.get_submodule("layer3")(level2)


def build_backbone(name: str, weights: Mapping[str, NDArray[np.float32]] | None = None) -> ResNetToLevel3:
    """Build a frozen backbone in eval mode; `weights` as `trainer.weights.find_weights` returns them.

    Without weights the modules keep torch's random initialisation. Raises UsageError for an unknown name.
    """
    if name not in BACKBONES:
        raise UsageError(f"no backbone {name!r}; known: {', '.join(BACKBONES)}")
    network = ResNetToLevel3(BACKBONES[name])
    if weights is not None:
        network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in weights.items()})
    return network.eval().requires_grad_(False)
