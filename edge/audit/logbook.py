"""What the daemon itself writes down: when it armed and by what, which camera disarmed and why, when it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from edge.audit.recorder import InForce, Recorder, here
from edge.audit.table import AuditTable
from edge.audit.trail import AuditTrail
from edge.product import Recipe

if TYPE_CHECKING:
    from edge.lane import Lane
    from edge.pipeline import Pipeline


class Logbook:
    """The daemon's entries. Without a table nothing is written. Use it as a context manager."""

    def __init__(self, table: AuditTable | None, station: str) -> None:
        self.recorder = None if table is None else Recorder(AuditTrail(table.file, station), self._in_force)
        self._pipeline: Pipeline | None = None
        self._disarmed: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Logbook:
        if self.recorder is not None:
            self._stack.enter_context(self.recorder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def follow(self, pipeline: Pipeline) -> None:
        """Write down from now on what this pipeline's cameras are judged by."""
        self._pipeline = pipeline

    def note(self, what: str, who: str = "", details: Mapping[str, Any] | None = None) -> None:
        """Write down something that was done, by the daemon's user where `who` does not say otherwise."""
        if self.recorder is not None:
            self.recorder.note(what, who or here(), details)

    def note_disarmed(self) -> None:
        """Write down which cameras have been disarmed since the last call."""
        for name, lane in self._lanes().items():
            if lane.disarmed and name not in self._disarmed:
                self._disarmed.add(name)
                self.note("disarmed", details={"camera": name, "reason": lane.why_disarmed})

    def _in_force(self) -> dict[str, InForce]:
        return {name: _judged_by(lane.product.recipe) for name, lane in self._lanes().items()}

    def _lanes(self) -> dict[str, Lane]:
        return dict(self._pipeline.lanes) if self._pipeline is not None else {}


def _judged_by(recipe: Recipe) -> InForce:
    by = recipe.calibration
    return InForce(recipe.name, recipe.bundle.digest, by.threshold, by.map_threshold)
