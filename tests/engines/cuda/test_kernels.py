"""The kernels' arithmetic, on the CPU: against the one preprocessing, and against scipy's Gaussian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.cuda.blur import gaussian_weights
from engines.cuda.kernels import SOURCES, read_source
from engines.errors import DataError
from engines.images import list_images, read_image
from engines.preprocess import Preprocessing

# OpenCV may use other code on another CPU: one grey level. With the code of this project's test machine, none.
TOLERANCE = 1

PREPROCESSINGS = (
    Preprocessing(),
    Preprocessing(field="full"),
    Preprocessing(crop=223),
    Preprocessing(field="full", resize=128),
)
SHAPES = (
    (1024, 1280, 3),
    (1080, 1920),
    (2048, 2448, 3),
    (513, 300, 3),
    (517, 1000),
    (3000, 300),
    (777, 333, 1),
    (512, 512),
    (511, 513, 3),
    (515, 512),
    (256, 256, 3),
    (128, 128, 3),
    (100, 120),
    (33, 41, 3),
    (2, 7, 3),
    (1, 1),
    (5, 8000),
)


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def difference(host_kernels, frame: NDArray[np.uint8], preprocessing: Preprocessing) -> int:
    found = host_kernels.preprocess(frame, preprocessing).astype(int)
    return int(np.abs(found - preprocessing(frame)).max())


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_noise_of_any_size(host_kernels, shape: tuple[int, ...], preprocessing: Preprocessing) -> None:
    assert difference(host_kernels, noise(*shape), preprocessing) <= TOLERANCE


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS[:2], ids=str)
@pytest.mark.parametrize("roi", [(0, 0, 640, 480), (37, 11, 600, 587), (600, 300, 200, 300), (799, 599, 1, 1)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_a_region_of_interest(
    host_kernels, roi: tuple[int, int, int, int], channels: tuple[int, ...], preprocessing: Preprocessing
) -> None:
    regional = Preprocessing(field=preprocessing.field, roi=roi)
    assert difference(host_kernels, noise(600, 800, *channels), regional) <= TOLERANCE


@pytest.mark.parametrize("channels", [(), (3,)])
def test_rows_may_lie_apart(host_kernels, channels: tuple[int, ...]) -> None:
    """Cameras pad their rows, so that each begins at a round address."""
    padded = noise(600, 1024, *channels)
    assert difference(host_kernels, padded[:, :1000], Preprocessing()) <= TOLERANCE


def test_drawn_parts(host_kernels, render_part: Callable[..., NDArray[np.uint8]]) -> None:
    for seed in range(6):
        assert difference(host_kernels, render_part(seed, defect=seed % 2 == 1), Preprocessing()) <= TOLERANCE


@pytest.mark.shared
@pytest.mark.parametrize("product", ["magnetic_tile", "mvtec_screw"])
def test_real_photographs(host_kernels, shared_dir: Path, product: str) -> None:
    folder = shared_dir / "data" / product / "test" / "good"
    for path in list_images(folder)[:6]:
        assert difference(host_kernels, read_image(path), Preprocessing()) <= TOLERANCE


def test_too_strong_a_shrink_is_refused(host_kernels) -> None:
    with pytest.raises(DataError, match="from 1024 pixels at most, found 1100x20"):
        host_kernels.preprocess(noise(20, 1100), Preprocessing(field="full", resize=16))


@pytest.mark.parametrize(("size", "sigma"), [(224, 4.0), (256, 4.0), (64, 2.5), (20, 4.0), (7, 4.0)])
def test_the_blur_is_scipys(host_kernels, size: int, sigma: float) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    source = np.random.default_rng(1).standard_normal((size, size)).astype(np.float32)
    found = host_kernels.blur(source, gaussian_weights(sigma))
    np.testing.assert_allclose(found, ndimage.gaussian_filter(source.astype(np.float64), sigma), atol=2e-6)


# Imported by a Python with AddressSanitizer before everything else, so that it watches numpy's memory, too.
WATCHED = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
import numpy as np
from conftest import HostKernels
from engines.cuda.blur import gaussian_weights
from engines.preprocess import Preprocessing
kernels = HostKernels(Path(sys.argv[1]))
for shape in [(1, 1), (2, 7, 3), (33, 41, 3), (515, 512), (517, 1000, 3), (1024, 1280), (5, 3000)]:
    frame = np.full(shape, 7, np.uint8)
    for preprocessing in (Preprocessing(), Preprocessing(field="full", resize=64)):
        if max(shape) < preprocessing.resize << 6:
            kernels.preprocess(frame, preprocessing)
    kernels.preprocess(frame, Preprocessing(roi=(shape[1] - 1, shape[0] - 1, 1, 1)))
for size in (7, 64):
    kernels.blur(np.ones((size, size), np.float32), gaussian_weights(4.0))
print("watched")
"""


def test_no_kernel_leaves_its_arrays(tmp_path: Path, host_library) -> None:
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("this compiler has no AddressSanitizer")
    library = host_library(tmp_path, "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(library), str(Path(__file__).parent)],
        env={**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0"},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "watched\n"), done.stderr[-3000:]


@pytest.mark.parametrize("target", ["sm_87", "sm_89", "sm_90", "sm_120"])
@pytest.mark.parametrize("name", SOURCES)
def test_nvcc_compiles_every_kernel(tmp_path: Path, name: str, target: str) -> None:
    compiler = shutil.which("nvcc")
    if not compiler:
        pytest.skip("no nvcc: it comes with NVIDIA's CUDA toolkit")
    source = tmp_path / name
    source.write_text(read_source(name))
    command = [
        compiler,
        "--cubin",
        f"-arch={target}",
        "-Werror",
        "all-warnings",
        str(source),
        "-o",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes()[:4] == b"\x7fELF"
