"""What a measurement was taken on, because a figure without it cannot be compared with another."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engines import __version__

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("numpy", "torch", "scikit-learn", "opencv-python-headless", "openvino", "onnxruntime", "nncf")


def describe_machine(packages: Sequence[str] = PACKAGES) -> dict[str, object]:
    """Processor, GPU, cores, memory in GiB, package versions, commit and load average over the last minute.

    The GPU is "" where there is none.
    The commit ends in `+dirty` where tracked files differ from it, and is "unknown" outside a git checkout.
    """
    return {
        "cpu": _cpu_model(),
        "gpu": _gpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "edge_inspect": __version__,
        "versions": {package: found for package in packages if (found := _version(package))},
        "commit": _commit(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    # ARM kernels name no model there.
    return models[0] if models else platform.processor() or platform.machine()


def _gpu_model() -> str:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return f"{commit}+dirty" if _git("status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
