"""The CPU's name and instruction sets, as several kernels write them."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from engines import cpu

X86 = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold: 6430\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor\t: 1\n"
ARM = "processor\t: 0\nBogoMIPS\t: 62.50\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd42\n\n"


@pytest.mark.parametrize(
    ("text", "name", "flags"),
    [
        (X86, "Intel(R) Xeon(R) Gold: 6430", {"fpu", "avx2", "amx_bf16"}),
        (ARM, platform.machine(), set()),
        ("", platform.machine(), set()),
        (None, platform.machine(), set()),
    ],
)
def test_name_and_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, name: str, flags: set[str]
) -> None:
    information = tmp_path / "cpuinfo"
    if text is not None:
        information.write_text(text)
    monkeypatch.setattr(cpu, "_INFORMATION", information)
    assert (cpu.cpu_name(), cpu.cpu_flags()) == (name, flags)


def test_this_machine_has_a_name() -> None:
    assert cpu.cpu_name()
