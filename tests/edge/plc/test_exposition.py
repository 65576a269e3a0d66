"""The metrics of a real gateway on a real PLC, as Prometheus reads them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from edge.plc.exposition import GatewayCollector
from edge.plc.figures import Figures
from edge.verdict import Evaluation
from tests.edge.metrics.conftest import fetch
from tests.edge.plc.conftest import Start
from tests.edge.plc.vision import Vision


def samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name.removeprefix('edge_inspect_gateway_')}{''.join(sample.labels.values())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_real_gateway_is_ready_counts_and_tells_of_its_lockout(
    start: Start, vision: Vision, free_address: str, promtool: Path
) -> None:
    line = start(f'lockout_after = 1\n[plc.metrics]\nbind = "{free_address}"')
    vision.wait_for_subscriber()
    line.until_ready(False)
    assert fetch(free_address, "/readyz")[0] == 503
    vision.beat()
    line.until_ready()
    assert fetch(free_address, "/readyz") == (200, "Ready\n")
    assert fetch(free_address, "/healthz") == (200, "it lives\n")
    for number, evaluation in ((1, Evaluation.OK), (2, Evaluation.NOT_OK)):
        line.enter(number)
        vision.judge(number, evaluation)
        line.until_ruled(number)
    line.until_fault("lockout")
    status, said = fetch(free_address, "/readyz")
    assert (status, said) == (503, "NotReady: lockout: 1 defective parts in a row\n")
    text = fetch(free_address)[1]
    found = samples(text)
    for sample, value in {
        "ready": 0,
        "faultlockout": 1,
        "faultgap": 0,
        "faults_totallockout": 1,
        "faults_totalgap": 0,
        "plc_linkup": 1,
        "plc_linklost": 0,
        "parts_totalreleased": 1,
        "parts_totalrejected": 1,
        "parts_late_total": 0,
        "rate_alarm": 0,
    }.items():
        assert found[sample] == value, sample
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_loop_that_stands_still_is_no_life() -> None:
    now = 100.0
    figures = Figures(has_plc=True, clock=lambda: now)
    collector = GatewayCollector("cell-7", figures, hang_s=30.0)
    assert collector.stuck() == ""
    now += 31.0
    assert collector.stuck() == "the loop has not come round for 31 s"
    assert collector.readiness() == (False, "NotReady: starting: the gateway has just started")
