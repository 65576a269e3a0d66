"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from engines.bundle import BackboneInfo, Bundle, BundleInfo, Provenance
from engines.cuda.devices import find_gpus
from engines.head import LEAKY_SLOPE, Head
from engines.images import fingerprint, list_images, read_image
from engines.preprocess import Preprocessing
from engines.tiling import Tiling

REPOSITORY = Path(__file__).parents[1]

# A loaded machine is no failure; pytest's own time-out finds what hangs.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

Frame = NDArray[np.uint8]
RenderPart = Callable[..., Frame]
MakeBundle = Callable[[Path, str, Sequence[Path], Preprocessing], Bundle]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked `gpu` run where there is a GPU."""
    if item.get_closest_marker("gpu") and not find_gpus():
        pytest.skip("no NVIDIA GPU here")


@pytest.fixture(scope="session")
def peer() -> Callable[[str], Path]:
    """`peer(program)`: where a program of `make system-deps` lies. Without it the test is skipped; in CI it fails."""
    return _peer


@pytest.fixture(scope="session")
def node_package(peer: Callable[[str], Path]) -> Callable[[str], Path]:
    """`node_package("name@version")`: folder where Node.js finds that package of npm, fetched once into `.node`."""

    def fetched(package: str) -> Path:
        npm, folder = peer("npm"), REPOSITORY / ".node"
        if not (folder / "node_modules" / package.rpartition("@")[0] / "package.json").exists():
            folder.mkdir(exist_ok=True)
            command = [str(npm), "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", package]
            if subprocess.run(command, capture_output=True, check=False, timeout=240).returncode != 0:
                missing(f"npm cannot fetch {package}")
        return folder

    return fetched


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the research photographs and ImageNet weights: EDGE_INSPECT_SHARED, or `shared` beside the checkout."""
    folder = Path(os.environ.get("EDGE_INSPECT_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no research photographs at {folder} (set EDGE_INSPECT_SHARED); they are not part of the project")
    return folder


@pytest.fixture(scope="session")
def render_part() -> RenderPart:
    """`render_part(seed, defect=False)`: BGR uint8 `(160, 160, 3)`, a flange that varies a little from part to part.

    A defect is a scratch across the face.
    """
    return _render_part


@pytest.fixture(scope="session")
def part_photos(tmp_path_factory: pytest.TempPathFactory, render_part: RenderPart) -> Path:
    """An MVTec AD style folder of rendered parts: 16 in train/good, 24 in test/good, 6 in test/scratch."""
    root = tmp_path_factory.mktemp("parts")
    sets = {"train/good": range(16), "test/good": range(100, 124), "test/scratch": range(200, 206)}
    for name, seeds in sets.items():
        (root / name).mkdir(parents=True)
        for seed in seeds:
            cv2.imwrite(str(root / name / f"{seed:03d}.png"), render_part(seed, defect=name.endswith("scratch")))
    return root


@pytest.fixture(scope="session")
def make_bundle() -> MakeBundle:
    """`make_bundle(path, weights, photos, preprocessing)`: a real, uncalibrated ResNet-18 bundle with a fitted head.

    `weights` as `find_weights` of the trainer takes them; `photos` are what the head is fitted to.
    """
    return _make_bundle


@pytest.fixture(scope="session")
def uncalibrated_bundle(tmp_path_factory: pytest.TempPathFactory, part_photos: Path) -> Bundle:
    """A small bundle that tells a scratch from good parts, fitted to train/good of `part_photos`, input 128 pixels.

    Its backbone is random, with a seed. Do not change it: see `bundle_copy`.
    """
    photos = sorted((part_photos / "train" / "good").iterdir())
    path = tmp_path_factory.mktemp("bundles") / "flange"
    return _make_bundle(path, "random", photos, Preprocessing(field="full", resize=128))


@pytest.fixture(scope="session")
def calibrated_bundle(
    tmp_path_factory: pytest.TempPathFactory, uncalibrated_bundle: Bundle, part_photos: Path
) -> Bundle:
    """The same bundle, calibrated with the 24 parts of test/good for what `auto` chooses. Do not change it."""
    return _calibrated(_copied(uncalibrated_bundle, tmp_path_factory.mktemp("calibrated") / "flange"), part_photos)


@pytest.fixture(scope="session")
def render_plate() -> RenderPart:
    """`render_plate(seed, speck=None)`: BGR uint8 `(480, 640, 3)`, a rough plate; `speck` is the x, y of a bright one.

    Seven pixels wide, it is lost where the whole plate becomes 64x64 pixels.
    """
    return _render_plate


@pytest.fixture(scope="session")
def plate_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of plates: 6 in train/good, 20 in test/good, 2 in test/speck."""
    root = tmp_path_factory.mktemp("plates")
    sets = {"train/good": range(6), "test/good": range(100, 120), "test/speck": range(300, 302)}
    for name, seeds in sets.items():
        (root / name).mkdir(parents=True)
        for seed in seeds:
            plate = _render_plate(seed, (384, 192) if name.endswith("speck") else None)
            cv2.imwrite(str(root / name / f"{seed:03d}.png"), plate)
    return root


@pytest.fixture(scope="session")
def tiled_bundle(tmp_path_factory: pytest.TempPathFactory, plate_photos: Path) -> Bundle:
    """A bundle that looks at plates in 3x4 tiles of 64 pixels, calibrated for what `auto` chooses. Do not change it."""
    preprocessing = Preprocessing(field="full", resize=64, tiles=Tiling(3, 4))
    path = tmp_path_factory.mktemp("tiled") / "plate"
    return _calibrated(_make_bundle(path, "random", list_images(plate_photos / "train" / "good"), preprocessing),
                       plate_photos)  # fmt: skip


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Callable[[Bundle], Bundle]:
    """`bundle_copy(bundle)`: a copy that the test may change."""
    return lambda bundle: _copied(bundle, tmp_path / "bundle")


def _peer(program: str) -> Path:
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is not installed: make system-deps")
    return Path(str(found))


def missing(what: str) -> NoReturn:
    """Skip a test for lack of a real peer; in CI, where all are installed, that is a failure."""
    if os.environ.get("EDGE_INSPECT_CI"):
        pytest.fail(what)
    pytest.skip(what)


def _make_bundle(path: Path, weights: str, photos: Sequence[Path], preprocessing: Preprocessing) -> Bundle:
    from engines.backbones import BACKBONES
    from engines.bundle import SCHEMA, write_bundle
    from engines.export import build_model
    from trainer.weights import find_weights

    backbone = find_weights("resnet18", weights, seed=0)
    head = _fitted_head(backbone.arrays, photos, preprocessing)
    model = build_model(BACKBONES["resnet18"], backbone.arrays, head, preprocessing.input_size)
    info = BundleInfo(
        schema=SCHEMA,
        product="flange",
        preprocessing=preprocessing,
        backbone=BackboneInfo("resnet18", backbone.sha256, backbone.source),
        provenance=Provenance(
            dataset_digest="0" * 64,
            images=len(photos),
            held_back=(),
            seed=0,
            recipe={"name": "fitted"},
            versions={},
            created="2026-01-01T00:00:00Z",
            trained_on=tuple(fingerprint(photo.read_bytes()) for photo in photos),
        ),
    )
    return write_bundle(path, info, model.SerializeToString(), head)


def _calibrated(bundle: Bundle, photos: Path) -> Bundle:
    from calibration.procedure import calibrate
    from engines.registry import open_engine

    preprocessing = bundle.info.preprocessing
    frames = [preprocessing(read_image(path)) for path in list_images(photos / "test" / "good")]
    with open_engine(bundle) as engine:
        return calibrate(bundle, engine, frames, 0.05)


def _copied(bundle: Bundle, path: Path) -> Bundle:
    shutil.copytree(bundle.path, path)
    return Bundle.open(path)


def _render_part(seed: int, defect: bool = False) -> Frame:
    rng = np.random.default_rng(seed)
    image = np.full((160, 160, 3), rng.uniform(38, 46), np.float32)
    centre = (80 + rng.uniform(-2, 2), 80 + rng.uniform(-2, 2))
    _disc(image, centre, 58, 150 + rng.uniform(-8, 8))
    _disc(image, centre, 20, 60 + rng.uniform(-6, 6))
    start = rng.uniform(-0.1, 0.1)
    for angle in start + np.arange(4) * np.pi / 2:
        _disc(image, (centre[0] + 40 * np.cos(angle), centre[1] + 40 * np.sin(angle)), 6, 70)
    if defect:
        begin = rng.uniform(35, 60, 2)
        end = begin + rng.uniform(20, 40, 2) * (1, -0.6)
        cv2.line(image, _fixed(begin), _fixed(end), (235, 235, 235), 4, cv2.LINE_AA, shift=4)
    image *= np.linspace(1, 1 + rng.uniform(-0.06, 0.06), 160, dtype=np.float32)[None, :, None]
    return np.clip(image + rng.normal(0, 2.5, image.shape), 0, 255).astype(np.uint8)


def _render_plate(seed: int, speck: tuple[int, int] | None = None) -> Frame:
    rng = np.random.default_rng(seed)
    rough = cv2.GaussianBlur(rng.normal(0, 1, (480, 640)).astype(np.float32), (0, 0), 1.5)
    plate = 130 + 2 * rough / rough.std() + rng.uniform(-1, 1)
    if speck is not None:
        cv2.circle(plate, speck, 3, 230.0, -1)
    grey = np.clip(plate + rng.normal(0, 2, plate.shape), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _disc(image: NDArray[np.float32], centre: Sequence[float], radius: float, grey: float) -> None:
    cv2.circle(image, _fixed(centre), round(radius * 16), (grey,) * 3, -1, cv2.LINE_AA, shift=4)


def _fixed(point: Sequence[float] | NDArray[np.float64]) -> tuple[int, int]:
    """Sixteenths of a pixel, as cv2's `shift=4` takes them."""
    return round(float(point[0]) * 16), round(float(point[1]) * 16)


def _fitted_head(
    weights: Mapping[str, NDArray[np.float32]], photos: Sequence[Path], preprocessing: Preprocessing
) -> Head:
    """A head that works without training: the L1 distance in whitened principal components of good patches.

    |x| is two leaky units, since LeakyReLU(x) + LeakyReLU(-x) = (1 - slope) |x|.
    """
    import torch

    from trainer.backbone import build_backbone
    from trainer.features import patch_features

    squares = np.concatenate([preprocessing.squares(preprocessing(read_image(photo))) for photo in photos])
    patches = patch_features(build_backbone("resnet18", weights), squares, torch.device("cpu")).numpy()
    patches = patches.reshape(-1, patches.shape[-1]).astype(np.float64)
    mean = patches.mean(axis=0)
    deviations, axes = np.linalg.svd(patches - mean, full_matrices=False)[1:]
    axes = axes[:64] / (deviations[:64, None] / np.sqrt(len(patches)))
    hidden = np.concatenate([axes, -axes])
    out = np.full(len(hidden), -1 / (1 - LEAKY_SLOPE) / len(axes))
    ones, zeros = np.ones(len(hidden)), np.zeros(len(hidden))
    arrays = (np.eye(len(mean)), hidden, -hidden @ mean, ones, zeros, zeros, ones, out, np.zeros(1))
    return Head(*(array.astype(np.float32) for array in arrays))
