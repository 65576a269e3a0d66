"""The number format that heads train in."""

from __future__ import annotations

import contextlib

import torch


def training_dtype(device: torch.device) -> torch.dtype:
    """Bfloat16 where matrix products in it are native (AMX or AVX-512 on a CPU, Ampere and newer), else float32.

    On a CPU without either, bfloat16 is emulated and several times slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Autocast to `training_dtype`, or nothing where that is float32."""
    dtype = training_dtype(device)
    return contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)
