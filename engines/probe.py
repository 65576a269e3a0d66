"""What a backend says of itself on this machine, before any bundle is opened."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """A usable backend: its device, its versions, the precisions that the device computes natively.

    `preferred` is the precision that `auto` takes, `reason` says why.
    """

    device: str
    versions: dict[str, str]
    precisions: tuple[str, ...]
    preferred: str
    reason: str
