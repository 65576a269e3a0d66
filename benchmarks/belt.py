"""A conveyor that moves numbered parts from a camera to the gate of a PLC, whatever happens to the processes beside it.

A part passes the sensor and is photographed; `travel_s` later it stands at the gate. The gate is shut at rest: a part
goes through where the PLC has said so, just then, and only there.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.plc_program import PASSES, PlcProgram

# Parts lie unevenly: the distance from one to the next varies by so much.
_JITTER = 0.2
# A PLC that has not sorted by then stands still, and its outputs have fallen.
_GATE_S = 0.08


@dataclass(frozen=True)
class Part:
    """One part: whether it is defective, when it was at sensor and gate (monotonic, in seconds), what became of it."""

    number: int
    bad: bool
    sensed_at: float
    sorted_at: float = 0.0
    passed: bool = False


@dataclass(frozen=True)
class Pictures:
    """Photographs of good and of defective parts that the camera may take."""

    good: Sequence[Path]
    bad: Sequence[Path]


class Belt:
    """Parts are numbered from 1. `incoming` is the folder that the camera watches; a picture goes when its part has."""

    def __init__(self, plc: PlcProgram, pictures: Pictures, incoming: Path, pitch_s: float, travel_s: float) -> None:
        self._plc = plc
        self._pictures = pictures
        self._incoming = incoming
        self._pitch_s = pitch_s
        self._travel_s = travel_s
        self._random = random.Random(7)
        self._waiting: list[Part] = []
        self._at_gate: list[Part] = []
        self._number = 0
        self.sorted: list[Part] = []

    @property
    def entered(self) -> int:
        """Parts that have passed the sensor so far."""
        return self._number

    def run(self, enough: Callable[[], bool], bad_share: float) -> None:
        """Put parts on the belt until there are enough, and carry the last one to the gate."""
        next_at = time.monotonic()
        while not enough() or self._waiting or self._at_gate:
            now = time.monotonic()
            if not enough() and now >= next_at:
                self._enter(self._random.random() < bad_share)
                next_at += self._pitch_s * self._random.uniform(1 - _JITTER, 1 + _JITTER)
            if self._waiting and now >= self._waiting[0].sensed_at + self._travel_s:
                self._arrive(self._waiting.pop(0), now)
            while self._at_gate and self._gone(self._at_gate[0], now):
                self._at_gate.pop(0)
            time.sleep(0.0005)

    def _enter(self, bad: bool) -> None:
        self._number += 1
        self._plc.image.sensor = self._number
        self._waiting.append(Part(self._number, bad, time.monotonic()))
        source = self._random.choice(self._pictures.bad if bad else self._pictures.good)
        hidden = self._incoming / f".{self._number:06d}"
        os.link(source, hidden)
        hidden.rename(self._picture(self._number))

    def _picture(self, number: int) -> Path:
        return self._incoming / f"{number:06d}.png"

    def _arrive(self, part: Part, now: float) -> None:
        self._plc.image.ejector = part.number
        self._at_gate.append(replace(part, sorted_at=now))

    def _gone(self, part: Part, now: float) -> bool:
        decision = self._plc.image.decision[part.number]
        if not decision and now < part.sorted_at + _GATE_S:
            return False
        self.sorted.append(replace(part, passed=decision == PASSES))
        self._picture(part.number).unlink()
        return True
