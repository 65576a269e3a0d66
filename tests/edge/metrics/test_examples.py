"""The dashboard and the alert rules that we ship speak of metrics that there are, in words that Prometheus takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector

from edge.metrics.exposition import StationCollector
from edge.plc.exposition import GatewayCollector
from edge.plc.figures import Figures as GatewayFigures
from tests.edge.metrics.conftest import Figures

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
DASHBOARD = EXAMPLES / "grafana-dashboard.json"
RULES = EXAMPLES / "prometheus-rules.yml"


@pytest.fixture
def known(figures: Figures) -> dict[str, set[str]]:
    """Names of the samples that are exported, each with its labels."""
    registry = CollectorRegistry()
    registry.register(StationCollector(figures))
    registry.register(GatewayCollector("cell-7", GatewayFigures(has_plc=True), 30.0))
    ProcessCollector(registry=registry)
    found: dict[str, set[str]] = {"up": {"job", "instance"}}
    for family in registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    return found


def expressions(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        yield from (target["expr"] for target in panel["targets"])


def unknown(text: str, known: dict[str, set[str]]) -> list[str]:
    """Selectors of metrics or labels that are not there."""
    found = []
    for name, labels in re.findall(r"\b((?:edge_inspect|process)_\w+|up)\b(?:\{([^}]*)\})?", text):
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))
        if name not in known or not used <= known[name]:
            found.append(f"{name}{{{labels}}}")
    return found


def test_every_panel_shows_metrics_that_there_are(known: dict[str, set[str]]) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    shown = list(expressions(dashboard["panels"]))
    assert len(shown) > 20
    assert [problem for expression in shown for problem in unknown(expression, known)] == []
    for variable in dashboard["templating"]["list"][1:]:
        assert unknown(variable["query"]["query"], known) == []


def test_the_check_finds_what_is_not_there(known: dict[str, set[str]]) -> None:
    assert unknown("rate(edge_inspect_part_total[5m])", known)
    assert unknown('edge_inspect_parts_total{colour="red"}', known)
    assert not unknown('sum(rate(edge_inspect_stage_seconds_bucket{stage="total", le="+Inf"}[5m]))', known)


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_prometheus_takes_every_expression_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    shown = expressions(json.loads(DASHBOARD.read_text())["panels"])
    rules = [
        {"record": f"a:b{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(shown)
    ]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    check(promtool, "check", "rules", path)


def test_every_alert_speaks_of_metrics_that_there_are(known: dict[str, set[str]]) -> None:
    assert unknown(RULES.read_text().partition("groups:")[2], known) == []


def test_prometheus_takes_the_rules_and_each_rings_when_it_should(promtool: str, tmp_path: Path) -> None:
    check(promtool, "check", "rules", RULES)
    tests = Path(__file__).with_name("rules_test.yml")
    for path in (RULES, tests):
        shutil.copy(path, tmp_path)
    check(promtool, "test", "rules", tmp_path / tests.name)
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    rung = tests.read_text()
    assert [alert for alert in alerts if f"alertname: {alert}\n" not in rung] == []


def check(promtool: str, what: str, kind: str, path: Path) -> None:
    done = subprocess.run([promtool, what, kind, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
