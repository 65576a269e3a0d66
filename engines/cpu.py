"""What the operating system says of this machine's CPU."""

from __future__ import annotations

import platform
from pathlib import Path

_INFORMATION = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """Model name of the CPU, or its architecture where the kernel names none (ARM)."""
    return _first_core().get("model name") or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Instruction sets of the CPU as Linux spells them, such as `avx2` or `amx_bf16`; empty where unknown."""
    return frozenset(_first_core().get("flags", "").split())


def _first_core() -> dict[str, str]:
    try:
        text = _INFORMATION.read_text(errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
