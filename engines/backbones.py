"""The ResNet family up to level 3, as a table: the trainer's torch modules and the exporter's graph both follow it."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BATCH_NORM_EPS = 1e-5


@dataclass(frozen=True)
class Backbone:
    """One architecture: blocks in levels 1 to 3, and the width of a bottleneck's 3x3 (He et al. 2016).

    State-dict keys are torchvision's: `conv1`, `bn1`, `layer{1,2,3}.{block}.{conv,bn}{1,2,3}`, `downsample.{0,1}`.
    """

    name: str
    blocks: tuple[int, int, int]
    bottleneck: bool
    base_width: int = 64

    @property
    def expansion(self) -> int:
        """Output channels of a block over its planes."""
        return 4 if self.bottleneck else 1

    @property
    def channels(self) -> tuple[int, int]:
        """Channels of levels 2 and 3, whose concatenation is the patch feature."""
        return 128 * self.expansion, 256 * self.expansion


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone("resnet18", (2, 2, 2), bottleneck=False),
        Backbone("resnet34", (3, 4, 6), bottleneck=False),
        Backbone("resnet50", (3, 4, 6), bottleneck=True),
        Backbone("resnet101", (3, 4, 23), bottleneck=True),
        Backbone("wide_resnet50_2", (3, 4, 6), bottleneck=True, base_width=128),
    )
}
