from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from edge.doctor import Finding, can_inspect, examine, report

KINDS = {"system", "cpu", "memory", "disk", "engine", "training", "opencv", "camera", "zeromq", "gpu"}


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    return examine()


def test_everything_is_looked_at(findings: list[Finding]) -> None:
    assert {finding.kind for finding in findings} == KINDS


def test_each_finding_is_one_line(findings: list[Finding]) -> None:
    lines = report(findings, as_json=False).splitlines()
    assert len(lines) == len(findings)
    assert all(line.split()[0] in ("ok", "MISSING", "-") for line in lines)


def test_what_is_missing_comes_with_a_remedy(findings: list[Finding]) -> None:
    assert all(finding.remedy or "pip install" in finding.text for finding in findings if finding.good is False)


def test_the_versions_are_those_installed(findings: list[Finding]) -> None:
    import zmq

    from engines.backends.onnxruntime import onnxruntime

    text = report(findings, as_json=False)
    assert f"onnxruntime {onnxruntime.__version__}: f32" in text
    assert f"ZeroMQ {zmq.zmq_version()}" in text


def test_json_carries_the_same(findings: list[Finding]) -> None:
    data = json.loads(report(findings, as_json=True))
    assert [entry["text"] for entry in data] == [finding.text for finding in findings]


def test_one_engine_is_enough(findings: list[Finding]) -> None:
    assert can_inspect(findings)
    none = [finding for finding in findings if finding.kind != "engine"]
    assert not can_inspect([*none, Finding(kind="engine", good=False, text="")])


def test_a_machine_without_engines_is_told_what_to_install(cli: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("openvino", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run([*cli, "doctor"], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 1
    missing = [line for line in result.stdout.splitlines() if line.startswith("MISSING engine")]
    assert len(missing) == 2
    assert all("libgomp.so.1" in line and "pip install" in line for line in missing)


def test_a_broken_library_does_not_stop_the_examination(cli: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run([*cli, "doctor", "--json"], capture_output=True, text=True, env=environment, check=False)
    by_kind = {entry["kind"]: entry for entry in json.loads(result.stdout)}
    assert by_kind["opencv"]["good"] is False
    assert "libGL.so.1" in by_kind["opencv"]["text"]
    assert by_kind["zeromq"]["good"] is True


def test_the_doctor_is_well_here(cli: tuple[str, ...]) -> None:
    result = subprocess.run([*cli, "doctor"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
