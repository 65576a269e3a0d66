"""What a gateway has written down, read while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Journal:
    """The file of `[plc.log]`. Used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._lines: list[dict[str, Any]] = []

    def lines(self) -> list[dict[str, Any]]:
        """All complete lines so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    if line.endswith(b"\n"):
                        self._read += len(line)
                        self._lines.append(json.loads(line))
        return self._lines

    def ready(self) -> bool:
        """Whether the last word was Ready."""
        return [line["ready"] for line in self.lines() if line["event"] == "status"][-1:] == [True]

    def spells(self) -> list[tuple[float, float]]:
        """From when to when any fault was there; one that never ended lasts for ever."""
        began: dict[str, float] = {}
        spells = []
        for line in self.lines():
            if line["event"] != "fault":
                continue
            if line["began"]:
                began.setdefault(line["fault"], line["monotonic"])
            elif line["fault"] in began:
                spells.append((began.pop(line["fault"]), line["monotonic"]))
        return spells + [(since, float("inf")) for since in began.values()]

    def condemned(self) -> set[int]:
        """Numbers of the parts that the gateway rejected for a fault, and said so."""
        rulings = (line for line in self.lines() if line["event"] == "ruling")
        return {line["number"] for line in rulings if line["evaluation"] == "NotDecidable" and line["reason"]}
