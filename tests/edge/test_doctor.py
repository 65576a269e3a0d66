from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.doctor import Finding, can_inspect, examine, report
from engines.cuda.devices import Gpu, find_gpus

KINDS = {"system", "cpu", "memory", "disk", "engine", "extra", "opencv", "camera", "zeromq", "gpu", "cuda"}


@pytest.fixture(scope="module")
def findings() -> list[Finding]:
    return examine()


def test_everything_is_looked_at(findings: list[Finding]) -> None:
    assert {finding.kind for finding in findings} == KINDS


def test_each_library_of_cameras_is_there_or_how_to_get_it(findings: list[Finding]) -> None:
    texts = [finding.text for finding in findings if finding.kind == "camera"]
    for kinds in ("gstreamer, csi, rtsp", "genicam", "basler"):
        (text,) = (text for text in texts if f"for {kinds}" in text)
        assert text.endswith("is there") or "install" in text


def test_each_extra_is_there_or_says_what_it_lacks(findings: list[Finding]) -> None:
    extras = {finding.text.partition(",")[0]: finding for finding in findings if finding.kind == "extra"}
    assert list(extras) == ["train", "int8", "plc", "sign", "web"]
    for name, finding in extras.items():
        assert finding.good or finding.remedy == f"pip install 'edge-inspect[{name}]'"


def test_an_extra_names_each_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = ("jinja2", "starlette", "uvicorn")
    monkeypatch.setattr("edge.doctor._installed", lambda name: "1.0" if name in there else "")
    (web,) = (f for f in examine() if f.kind == "extra" and f.text.startswith("web"))
    assert web.good is None
    assert web.text.endswith("not installed: argon2-cffi, prometheus-client")


def test_each_finding_is_one_line(findings: list[Finding]) -> None:
    lines = report(findings, as_json=False).splitlines()
    assert len(lines) == len(findings)
    assert all(line.split()[0] in ("ok", "MISSING", "-") for line in lines)


def test_what_is_missing_comes_with_a_remedy(findings: list[Finding]) -> None:
    ways = ("pip install", "install ")
    missed = [finding for finding in findings if finding.good is False]
    assert all(finding.remedy or any(way in finding.text for way in ways) for finding in missed)


def test_a_gpu_is_described_or_its_absence_explained_in_one_line(findings: list[Finding]) -> None:
    gpus = find_gpus()
    lines = [finding for finding in findings if finding.kind == "gpu"]
    assert len(lines) == max(1, len(gpus))
    if not gpus:
        assert lines[0].good is None
        assert "install NVIDIA's driver" in lines[0].text


def test_nobody_misses_tensorrt_without_a_gpu(findings: list[Finding]) -> None:
    cuda = [finding for finding in findings if finding.kind == "cuda"]
    assert [text.split()[0] for text in (finding.text for finding in cuda)] == [
        "TensorRT",
        "TensorRT-RTX",
        "pycuda",
        "cuda-bindings",
    ]
    if not find_gpus():
        gpu_engines = [f for f in findings if f.kind == "engine" and "NVIDIA" in f.text]
        assert [f.text.split()[0] for f in gpu_engines] == ["tensorrt", "tensorrt-rtx"]
        assert all(finding.good is not False for finding in (*cuda, *gpu_engines))
        assert sum("libcuda" in f.text for f in findings) <= 1


def test_the_version_of_tensorrt_rtx_is_told(findings: list[Finding]) -> None:
    library = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[rtx]'")
    assert Finding(kind="cuda", good=True, text=f"TensorRT-RTX {library.__version__}") in findings


@pytest.mark.parametrize(
    ("release", "way"),
    [
        ("R36.4.3", "install JetPack's with: sudo apt install python3-libnvinfer"),
        ("", "install NVIDIA's package with: sudo apt install python3-libnvinfer"),
    ],
)
def test_the_way_to_tensorrt_is_this_machines(release: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr("engines.backends.tensorrt_library.l4t_version", lambda: release)
    first = next(finding for finding in examine() if finding.kind == "cuda")
    assert first.text.startswith("TensorRT cannot be imported here")
    assert way in first.text


def test_libraries_are_missed_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Gpu(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 << 30, "580.95.05", "13.0")
    for name in ("find_gpus", "require_gpu"):
        monkeypatch.setattr(f"engines.cuda.devices.{name}", lambda name=name: [card] if name == "find_gpus" else card)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    found = examine()
    assert "NVIDIA GeForce RTX 4090, sm89, 24 GiB, driver 580.95.05 for CUDA up to 13.0" in [f.text for f in found]
    assert next(finding for finding in found if finding.kind == "cuda").good is False


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
