"""Metrics as Prometheus's library has them: names under `edge_inspect_`, with units; labels from fixed lists.

A counter is there from the first scrape on, at 0: of one that comes with its first event Prometheus sees no increase.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines import __version__
from engines.extras import import_extra

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PREFIX = "edge_inspect_"


@dataclass(frozen=True)
class Row:
    """One sample of a metric: its labels' values and its own."""

    labels: tuple[str, ...]
    value: float


def info(name: str, text: str, station: str) -> Metric:
    """A metric that is always 1 and tells version and station."""
    value = {"version": __version__, "station": station}
    metric: Metric = core().InfoMetricFamily(f"{PREFIX}{name}", text, value=value)
    return metric


def gauge(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    """A value that goes up and down."""
    return _filled(core().GaugeMetricFamily(f"{PREFIX}{name}", text, labels=labels), rows)


def counter(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Metric:
    """A count that only grows; `_total` is put behind its name."""
    return _filled(core().CounterMetricFamily(f"{PREFIX}{name}", text, labels=labels), rows)


def core() -> Any:
    """The library's metric families. Raises UsageError where the extra is not installed."""
    return import_extra("prometheus_client.core", "web")


def _filled(family: Any, rows: Iterable[Row]) -> Metric:
    for row in rows:
        family.add_metric(row.labels, float(row.value))
    metric: Metric = family
    return metric
