from __future__ import annotations

import subprocess
from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from edge.metrics.exposition import StationCollector
from tests.edge.metrics.conftest import Figures


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and labels' values, in the order of the labels."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exported(figures: Figures) -> str:
    from prometheus_client import generate_latest

    registry = CollectorRegistry()
    registry.register(StationCollector(figures))
    return generate_latest(registry).decode()


def test_the_figures_are_those_of_the_heartbeat(figures: Figures) -> None:
    found = samples(exported(figures))
    for sample, value in {
        ("edge_inspect_state", "Running"): 1,
        ("edge_inspect_state", "Degraded"): 0,
        ("edge_inspect_parts_total", "top", "OK"): 5,
        ("edge_inspect_parts_total", "top", "NotOK"): 2,
        ("edge_inspect_parts_total", "top", "NotDecidable"): 1,
        ("edge_inspect_frames_total", "top"): 9,
        ("edge_inspect_frames_dropped_total", "top", "newer frame"): 1,
        ("edge_inspect_frames_dropped_total", "top", "pipeline closed"): 0,
        ("edge_inspect_worker_restarts_total", "top.feeder"): 2,
        ("edge_inspect_worker_restarts_total", "publisher"): 0,
        ("edge_inspect_threshold", "top"): 1.25,
        ("edge_inspect_queue_items", "", "verdicts"): 2,
        ("edge_inspect_drift_alarm", "top", "score"): 1,
        ("edge_inspect_recipe_info", "top", "openvino", "f32", "flange"): 1,
        ("edge_inspect_archive_degraded",): 1,
        ("edge_inspect_archive_size_bytes",): 1000,
        ("edge_inspect_archive_pictures_lost_total", "overrun"): 6,
        ("edge_inspect_archive_pictures_lost_total", "disk full"): 0,
        ("edge_inspect_audit_failures_total",): 0,
        ("edge_inspect_stage_seconds_bucket", "top", "0.0025", "infer"): 0,
        ("edge_inspect_stage_seconds_bucket", "top", "0.005", "infer"): 1,
        ("edge_inspect_stage_seconds_count", "top", "infer"): 1,
        ("edge_inspect_stage_seconds_sum", "top", "infer"): 0.004,
    }.items():
        assert found[sample] == value, sample


def test_prometheus_itself_finds_nothing_to_object_to(
    figures: Figures, real_figures: Callable[[], str], promtool: str
) -> None:
    for text in (exported(figures), real_figures()):
        done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_real_daemon_tells_of_its_parts_and_of_no_single_one(real_figures: Callable[[], str]) -> None:
    text = real_figures()
    found = samples(text)
    assert sum(value for (name, *_), value in found.items() if name == "edge_inspect_parts_total") == 3
    assert found["edge_inspect_stage_seconds_count", "top", "total"] == 3
    assert found["process_resident_memory_bytes",] > 1e6
    assert "300.png" not in text
    # With one camera; whatever number of parts comes, there are no more.
    assert len(found) < 400
