"""An independent torch form of the deployed network, and heads and photographs to feed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.backbones import IMAGENET_MEAN, IMAGENET_STD
from engines.bundle import Bundle
from engines.engine import Inspection
from engines.head import LEAKY_SLOPE, Head
from engines.images import list_images, read_image
from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone

Arrays = Mapping[str, NDArray[np.float32]]


@pytest.fixture(scope="session")
def make_head() -> Callable[..., Head]:
    """`make_head(channels, hidden=96, seed=0)`: a head with the magnitudes of a trained one."""
    return _make_head


@pytest.fixture(scope="session")
def unfolded() -> Callable[[Head, Tensor, Tensor], Tensor]:
    """`unfolded(head, level2, level3)`: patch scores `(N, G, G)`, layer by layer as the paper describes them."""
    return _unfolded


@pytest.fixture(scope="session")
def reference() -> Callable[..., Inspection]:
    """`reference(backbone name, weights, head, frames)`: the whole network in float32 torch, with scipy's Gaussian."""
    return _reference


@pytest.fixture(scope="session")
def random_weights() -> Callable[[str], Arrays]:
    """`random_weights(backbone name)`: a seeded state dict whose BatchNorm is not the identity. Do not change it."""
    return _random_weights


@pytest.fixture(scope="session")
def resnet18_weights(shared_dir: Path) -> Arrays:
    """torchvision's ImageNet ResNet-18, from the stem to level 3."""
    safetensors = pytest.importorskip("safetensors.numpy")
    arrays = safetensors.load_file(shared_dir / "weights" / "resnet18-imagenet1k-v1-to-layer3.safetensors")
    return {key: value for key, value in arrays.items() if not key.startswith(("layer4", "fc"))}


@pytest.fixture(scope="session", params=["magnetic_tile", "mvtec_screw"])
def photographs(request: pytest.FixtureRequest, shared_dir: Path) -> NDArray[np.uint8]:
    """Four good and four defective parts of a real product, preprocessed."""
    test = shared_dir / "data" / request.param / "test"
    defects = [list_images(folder)[0] for folder in sorted(test.iterdir()) if folder.name != "good"]
    return np.stack([Preprocessing()(read_image(path)) for path in [*list_images(test / "good")[:4], *defects[:4]]])


@pytest.fixture(scope="session")
def frames(uncalibrated_bundle: Bundle) -> NDArray[np.uint8]:
    """Five frames of noise, each unlike the others."""
    size = uncalibrated_bundle.info.preprocessing.input_size
    return np.random.default_rng(5).integers(0, 256, (5, size, size, 3), np.uint8)


def _make_head(channels: int, hidden: int = 96, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0, centre: float = 0.0) -> NDArray[np.float32]:
        return (centre + scale * rng.standard_normal(shape)).astype(np.float32)

    return Head(
        adaptor=normal(channels, channels, scale=channels**-0.5),
        hidden_weight=normal(hidden, channels, scale=channels**-0.5),
        hidden_bias=normal(hidden, scale=0.1),
        bn_weight=normal(hidden, scale=0.2, centre=1.0),
        bn_bias=normal(hidden, scale=0.2),
        bn_mean=normal(hidden, scale=0.5),
        bn_var=np.abs(normal(hidden, scale=0.3, centre=1.0)) + np.float32(0.05),
        out_weight=normal(hidden, scale=hidden**-0.5),
        out_bias=normal(1),
    )


def _unfolded(head: Head, level2: Tensor, level3: Tensor) -> Tensor:
    fine = nn.functional.avg_pool2d(level2, 3, 1, 1)
    coarse = nn.functional.avg_pool2d(level3, 3, 1, 1)
    coarse = nn.functional.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
    features = torch.cat([fine, coarse], 1).permute(0, 2, 3, 1)
    scores = -_discriminator(head)(features.flatten(0, 2) @ torch.from_numpy(head.adaptor).T.to(features.dtype))
    return scores.reshape(features.shape[:3])


def _discriminator(head: Head) -> nn.Module:
    hidden, channels = head.hidden_weight.shape
    norm = nn.BatchNorm1d(hidden)
    first, last = nn.Linear(channels, hidden), nn.Linear(hidden, 1)
    layers = nn.Sequential(first, norm, nn.LeakyReLU(LEAKY_SLOPE), last)
    arrays = {
        "0.weight": head.hidden_weight,
        "0.bias": head.hidden_bias,
        "1.weight": head.bn_weight,
        "1.bias": head.bn_bias,
        "1.running_mean": head.bn_mean,
        "1.running_var": head.bn_var,
        "3.weight": head.out_weight[None],
        "3.bias": head.out_bias,
    }
    layers.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()}, strict=False)
    return layers.eval().requires_grad_(False)


def _reference(name: str, weights: Arrays, head: Head, frames: NDArray[np.uint8]) -> Inspection:
    ndimage = pytest.importorskip("scipy.ndimage")
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    x = (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        level2, level3 = build_backbone(name, weights)(x)
        patches = _unfolded(head, level2, level3)
        smooth = nn.functional.interpolate(patches[:, None], x.shape[-2:], mode="bilinear", align_corners=False)
        embeddings = torch.cat([level2.mean((2, 3)), level3.mean((2, 3))], 1)
    maps = np.stack([ndimage.gaussian_filter(plane, sigma=4) for plane in smooth[:, 0].numpy()])
    return Inspection(patches.amax((1, 2)).numpy(), maps, embeddings.numpy())


@cache
def _random_weights(name: str) -> Arrays:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    arrays = {key: value.numpy().copy() for key, value in build_backbone(name).state_dict().items()}
    for key, array in arrays.items():
        if key.endswith("running_mean"):
            array[:] = rng.normal(0, 0.1, array.shape)
        elif key.endswith("running_var"):
            array[:] = rng.uniform(0.5, 1.5, array.shape)
        elif array.ndim == 1 and key.endswith("weight"):
            array[:] = rng.uniform(0.3, 0.8, array.shape)
        elif array.ndim == 1 and key.endswith("bias"):
            array[:] = rng.normal(0, 0.1, array.shape)
    return arrays
