"""The backbones have torchvision's keys and the shapes that SimpleNet reads."""

from __future__ import annotations

import pytest
import torch

from engines.backbones import BACKBONES
from engines.errors import UsageError
from trainer.backbone import build_backbone

# Published totals of the whole networks less level 4 and the classifier.
PARAMETERS = {
    "resnet18": 2_782_784,
    "resnet34": 8_170_304,
    "resnet50": 8_543_296,
    "resnet101": 27_535_424,
    "wide_resnet50_2": 24_862_528,
}


@pytest.mark.parametrize("name", BACKBONES)
def test_size_shapes_and_keys(name: str) -> None:
    network = build_backbone(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    level2, level3 = network(torch.zeros(1, 3, 64, 96))
    channels = BACKBONES[name].channels
    assert level2.shape == (1, channels[0], 8, 12)
    assert level3.shape == (1, channels[1], 4, 6)
    last = BACKBONES[name].blocks[2] - 1
    depth = 3 if BACKBONES[name].bottleneck else 2
    keys = network.state_dict().keys()
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer2.0.downsample.1.bias",
        f"layer3.{last}.conv{depth}.weight",
    } <= keys
    assert not any(key.startswith(("layer4", "fc")) for key in keys)


def test_is_frozen_and_in_eval_mode() -> None:
    network = build_backbone("resnet18")
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="resnet18, resnet34"):
        build_backbone("vgg16")
