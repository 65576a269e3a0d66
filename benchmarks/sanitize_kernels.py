"""Runs the CUDA kernels on awkward shapes under NVIDIA's compute-sanitizer, which finds accesses outside their memory.

    python benchmarks/sanitize_kernels.py

Needs a GPU, pycuda, and compute-sanitizer from the CUDA toolkit. Ends with 0 where the sanitizer found nothing. The
tests do the same on the CPU with AddressSanitizer, for the same sources.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from engines.cuda.blur import GaussianBlur
from engines.cuda.context import CudaContext
from engines.cuda.devices import require_gpu
from engines.cuda.frames import FrameIntake, load_preprocessing
from engines.cuda.memory import DeviceBuffer
from engines.cuda.stream import Stream
from engines.errors import EngineError, InspectError
from engines.preprocess import Preprocessing

SHAPES = ((1, 1), (2, 7, 3), (33, 41, 3), (515, 512), (517, 1000, 3), (1024, 1280, 3), (5, 3000), (3000, 4096))
MAP_SIDES = (7, 64, 224)
_INNER = "--inner"


def run_kernels() -> None:
    """Every kernel once on each shape."""
    with CudaContext() as context, Stream(context) as stream, load_preprocessing(context) as kernel:
        for shape in SHAPES:
            height, width = shape[:2]
            corner = (width - 1, height - 1, 1, 1)
            for preprocessing in (Preprocessing(), Preprocessing(field="full"), Preprocessing(roi=corner)):
                side = preprocessing.input_size
                with DeviceBuffer(context, 3 * side * side) as target, context.active():
                    intake = FrameIntake(context, stream, kernel, target.address, ())
                    intake.prepare(np.zeros(shape, np.uint8), preprocessing).enqueue()
                    stream.synchronise()
                    intake.close()
        for side in MAP_SIDES:
            size = 4 * side * side
            with (
                GaussianBlur(context, stream, side, 4.0) as blur,
                DeviceBuffer(context, size) as before,
                DeviceBuffer(context, size) as after,
                context.active(),
            ):
                before.upload(np.zeros((side, side), np.float32), stream)
                blur.enqueue(before.address, after.address)
                stream.synchronise()


def main() -> int:
    try:
        if _INNER in sys.argv:
            run_kernels()
            return 0
        require_gpu()
        sanitizer = shutil.which("compute-sanitizer")
        if not sanitizer:
            raise EngineError("compute-sanitizer is not on the PATH; it comes with NVIDIA's CUDA toolkit")
    except InspectError as error:
        print(f"sanitize_kernels: {error}", file=sys.stderr)
        return error.exit_code
    command = [sanitizer, "--tool", "memcheck", "--error-exitcode", "1", sys.executable, __file__, _INNER]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
