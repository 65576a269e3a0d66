"""Backbone weights: where they are looked for, and the checks before they are believed.

Never silently random, never silently another version: torchvision's V1 and V2 weights differ so much that the paper's
noise no longer fits, so the bundle records name and sha256.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from tqdm import tqdm

from engines.errors import UsageError, WeightsError
from trainer.backbone import build_backbone
from trainer.tensors import load_tensors

ENVIRONMENT = "EDGE_INSPECT_WEIGHTS"
RANDOM = "random"
DOWNLOAD_TIMEOUT_S = 10.0

_BASE_URL = "https://download.pytorch.org/models/"
# torchvision's ImageNet V1 files; the name's last part is the beginning of the file's sha256.
OFFICIAL = {
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "wide_resnet50_2": "wide_resnet50_2-95faca4d.pth",
}


@dataclass(frozen=True)
class Weights:
    """A backbone's state dict as float32 arrays, the sha256 of the file it came from, and what to call the source."""

    arrays: Mapping[str, NDArray[np.float32]]
    sha256: str
    source: str


def find_weights(backbone: str, spec: str | None = None, seed: int = 0) -> Weights:
    """Find weights for `backbone`.

    `spec` is a file (`.pth` or `.safetensors`), or "random" (seeded, for rehearsals only). Without it: the file that
    EDGE_INSPECT_WEIGHTS names, torch hub's cache, torchvision's official download. Raises WeightsError.
    """
    if backbone not in OFFICIAL:
        raise UsageError(f"no backbone {backbone!r}; known: {', '.join(OFFICIAL)}")
    if spec == RANDOM:
        return _random(backbone, seed)
    named = spec or os.environ.get(ENVIRONMENT)
    if named:
        return _from_file(backbone, Path(named))
    cached = _hub_cache() / OFFICIAL[backbone]
    if not cached.is_file():
        _download(backbone, cached)
    _check_name_hash(cached)
    return _from_file(backbone, cached)


def _random(backbone: str, seed: int) -> Weights:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_backbone(backbone)
        for layer in network.modules():
            # torch's default start lets the features fade away from block to block.
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        arrays = {key: value.numpy() for key, value in network.state_dict().items()}
    digest = hashlib.sha256(b"".join(arrays[key].tobytes() for key in sorted(arrays))).hexdigest()
    return Weights(arrays, digest, f"random, seed {seed}")


def _from_file(backbone: str, path: Path) -> Weights:
    if not path.is_file():
        raise WeightsError(f"no weights for {backbone}: expected a .pth or .safetensors file at {path}, found none")
    state = _read_state(path)
    return Weights(_fitting(backbone, state, path), _sha256(path), path.name)


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = load_file(path) if path.suffix == ".safetensors" else load_tensors(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error}); fetch the file again") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: expected a state dict of tensors, found {type(state).__name__}")
    return state


def _fitting(backbone: str, state: dict[str, torch.Tensor], path: Path) -> dict[str, NDArray[np.float32]]:
    """Keep what the backbone needs, by name and shape; level 4 and the classifier may be there or not."""
    expected = build_backbone(backbone).state_dict()
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    missing = sorted(set(expected) - optional - set(state))
    if missing:
        raise WeightsError(
            f"{path}: not weights of {backbone}: {len(missing)} of {len(expected) - len(optional)} tensors are "
            f"missing, the first {missing[0]!r}; name the file for this backbone, or the backbone of this file"
        )
    for key in expected.keys() - optional:
        if state[key].shape != expected[key].shape:
            raise WeightsError(
                f"{path}: not weights of {backbone}: expected {key!r} of shape {tuple(expected[key].shape)}, "
                f"found {tuple(state[key].shape)}"
            )
    kept = {key: state.get(key, expected[key]) for key in expected}
    return {key: value.numpy() if key in optional else value.float().numpy() for key, value in kept.items()}


def _hub_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _download(backbone: str, target: Path) -> None:
    url = _BASE_URL + OFFICIAL[backbone]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as response:
            _save(response, target, f"weights of {backbone}")
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"no weights for {backbone}: {ENVIRONMENT} names none, {target.parent} has none, and {url} cannot be had "
            f"({reason}); fetch that file on a machine with a network and name it with --weights"
        ) from None


def _save(response: object, target: Path, title: str) -> None:
    size = int(response.headers.get("Content-Length", 0)) or None  # type: ignore[attr-defined]
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as file:
        temporary = Path(file.name)
        try:
            with tqdm(total=size, desc=title, unit="B", unit_scale=True) as bar:
                while chunk := response.read(1 << 20):  # type: ignore[attr-defined]
                    file.write(chunk)
                    bar.update(len(chunk))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _check_name_hash(path: Path) -> None:
    expected, found = path.stem.rsplit("-", 1)[-1], _sha256(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path}: expected a sha256 that begins with {expected}, found {found[:8]}; "
            "delete the file and fetch it again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
