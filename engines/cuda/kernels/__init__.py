"""CUDA sources, compiled on the machine that runs them; the tests compile them for the CPU, too."""

from __future__ import annotations

from importlib import resources

SOURCES = ("preprocess.cu", "blur.cu")


def read_source(name: str) -> str:
    """The text of one of SOURCES."""
    return (resources.files(__name__) / name).read_text(encoding="utf-8")
