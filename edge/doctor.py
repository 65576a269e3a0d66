"""`edge-inspect doctor`: what this machine can run, and what is missing with the way to get it."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

import msgspec

from edge.cameras.introspection import load_aravis, load_gstreamer
from engines import __version__
from engines.errors import CameraError

_ENOUGH_DISK_GIB = 1.0
# Flags of /proc/cpuinfo (x86 `flags`, Arm `Features`) that mean a precision is computed natively.
_NATIVE = {
    "bf16": {"amx_bf16", "avx512_bf16", "bf16"},
    "f16": {"amx_fp16", "avx512_fp16", "asimdhp"},
    "int8": {"amx_int8", "avx512_vnni", "avx_vnni", "asimddp", "i8mm"},
}
# What the extras that are no cameras and no GPU are for.
_EXTRAS = {
    "train": "training, evaluate and export",
    "int8": "quantise",
    "plc": "the outputs of the gateway to a PLC",
    "sign": "signatures of bundles",
    "web": "the live page and metrics",
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `good` is None where it is neither needed nor missed; `remedy` is what to do."""

    kind: str
    good: bool | None
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything. A check that itself fails is a finding, too: broken libraries are what a doctor is for."""
    checks = (
        _system,
        _processor,
        _memory,
        _disk,
        _engines,
        _extras,
        _opencv,
        _cameras,
        _zeromq,
        _gpu,
        _cuda_libraries,
    )
    return [finding for check in checks for finding in _guarded(check)]


def can_inspect(findings: list[Finding]) -> bool:
    """Whether at least one engine runs here."""
    return any(finding.kind == "engine" and finding.good for finding in findings)


def report(findings: list[Finding], as_json: bool) -> str:
    """The findings as one line each, or as a JSON array."""
    if as_json:
        return msgspec.json.format(msgspec.json.encode(findings), indent=2).decode()
    marks = {True: "ok", False: "MISSING", None: "-"}
    return "\n".join(
        f"{marks[finding.good]:<8}{finding.kind:<10}{finding.text}" + (f"; {finding.remedy}" if finding.remedy else "")
        for finding in findings
    )


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:
        kind = check.__name__.strip("_")
        text = f"cannot be examined: {type(error).__name__}: {error}"
        return [Finding(kind=kind, good=False, text=text, remedy="install edge-inspect again")]


def _system() -> list[Finding]:
    text = f"edge-inspect {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    return [Finding(kind="system", good=True, text=text)]


def _processor() -> list[Finding]:
    model, flags = platform.machine(), set[str]()
    for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
    native = [name for name, any_of in _NATIVE.items() if flags & any_of]
    cores = len(os.sched_getaffinity(0))
    text = f"{model}, {cores} core(s) for this process, native besides f32: {', '.join(native) or 'nothing'}"
    return [Finding(kind="cpu", good=True, text=text)]


def _memory() -> list[Finding]:
    values = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(values[key].split()[0]) / 2**20 for key in ("MemTotal", "MemAvailable"))
    return [Finding(kind="memory", good=None, text=f"{free:.1f} of {total:.1f} GiB available")]


def _disk() -> list[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    good = free >= _ENOUGH_DISK_GIB
    remedy = "" if good else f"free some: a bundle's rewrite needs up to {_ENOUGH_DISK_GIB:g} GiB"
    return [Finding(kind="disk", good=good, text=f"{free:.1f} GiB free here", remedy=remedy)]


def _engines() -> list[Finding]:
    from engines.cuda.devices import find_gpus
    from engines.registry import GPU_BACKENDS, available_backends

    no_gpu = not find_gpus()
    findings = []
    for status in available_backends():
        if no_gpu and status.name in GPU_BACKENDS:
            # Nobody misses an engine for a GPU that is not there.
            text = f"{status.name} takes an NVIDIA GPU: see the line of the gpu"
            findings.append(Finding(kind="engine", good=None, text=text))
            continue
        if status.probe is None:
            findings.append(Finding(kind="engine", good=False, text=status.problem))
            continue
        versions = ", ".join(f"{name} {version}" for name, version in status.probe.versions.items())
        precisions = ", ".join(status.probe.precisions)
        text = f"{versions}: {precisions}; auto takes {status.probe.preferred} ({status.probe.reason})"
        findings.append(Finding(kind="engine", good=True, text=text))
    return findings


def _extras() -> list[Finding]:
    return [_extra(extra, purpose) for extra, purpose in _EXTRAS.items()]


def _extra(extra: str, purpose: str) -> Finding:
    """Whether all is installed that an extra of setup.cfg names. Nobody has to have an extra."""
    asked = [entry for entry in requires("edge-inspect") or () if re.search(rf"extra == ['\"]{extra}['\"]", entry)]
    names = [re.split(r"[^\w.-]", entry, maxsplit=1)[0] for entry in asked]
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return Finding(kind="extra", good=True, text=f"{extra}, for {purpose}")
    text = f"{extra}, for {purpose}: not installed: {', '.join(missing)}"
    return Finding(kind="extra", good=None, text=text, remedy=f"pip install 'edge-inspect[{extra}]'")


def _installed(name: str) -> str:
    """The version of a package, or nothing. It isn't imported: pycuda ends in an error where there is no driver."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _opencv() -> list[Finding]:
    import cv2

    wanted = {"FFmpeg": cv2.CAP_FFMPEG, "GStreamer": cv2.CAP_GSTREAMER, "Video4Linux": cv2.CAP_V4L2}
    present = [name for name, number in wanted.items() if cv2.videoio_registry.hasBackend(number)]
    absent = [name for name in wanted if name not in present]
    text = f"OpenCV {cv2.__version__} with {', '.join(present) or 'no video'}" + (
        f", without {', '.join(absent)}" if absent else ""
    )
    good = "FFmpeg" in present
    return [Finding(kind="opencv", good=good, text=text, remedy="" if good else "pip install opencv-python-headless")]


def _cameras() -> list[Finding]:
    devices = sorted(Path("/dev").glob("video[0-9]*"))
    if not devices:
        found = [Finding(kind="camera", good=None, text="no /dev/video*; folders and video files need none")]
    else:
        found = [_camera(device) for device in devices]
    return [*found, *_camera_libraries()]


def _camera_libraries() -> list[Finding]:
    """What the kinds of cameras need that come neither through OpenCV nor from files."""
    gst, aravis = ("gstreamer, csi, rtsp", load_gstreamer), ("genicam", load_aravis)
    found = []
    for kinds, load in (gst, aravis):
        try:
            load()
            found.append(Finding(kind="camera", good=True, text=f"the library for {kinds} is there"))
        except CameraError as error:
            found.append(Finding(kind="camera", good=None, text=f"no library for {kinds}: {error}"))
    pylon = find_spec("pypylon") is not None
    text = "pypylon for basler is there" if pylon else "no pypylon for basler: pip install 'edge-inspect[basler]'"
    return [*found, Finding(kind="camera", good=True if pylon else None, text=text)]


def _camera(device: Path) -> Finding:
    label = Path("/sys/class/video4linux") / device.name / "name"
    name = label.read_text(errors="replace").strip() if label.exists() else "unnamed"
    readable = os.access(device, os.R_OK | os.W_OK)
    remedy = "" if readable else "add this user to the group `video`"
    return Finding(kind="camera", good=readable, text=f"{device} ({name})", remedy=remedy)


def _zeromq() -> list[Finding]:
    import zmq

    curve = "with" if zmq.has("curve") else "without"
    text = f"ZeroMQ {zmq.zmq_version()} (pyzmq {zmq.pyzmq_version()}), {curve} CURVE"
    return [Finding(kind="zeromq", good=True, text=text)]


def _gpu() -> list[Finding]:
    from engines.cuda.devices import find_gpus, l4t_version, require_gpu
    from engines.errors import EngineError

    try:
        require_gpu()
    except EngineError as error:
        return [Finding(kind="gpu", good=None, text=str(error))]
    release = f", L4T {l4t_version()}" if l4t_version() else ""
    return [
        Finding(
            kind="gpu",
            good=True,
            text=f"{gpu.name}, {gpu.target}, {gpu.memory / 2**30:.0f} GiB, driver {gpu.driver or 'of unknown version'} "
            f"for CUDA up to {gpu.cuda}{release}",
        )
        for gpu in find_gpus()
    ]


def _cuda_libraries() -> list[Finding]:
    """What the GPU engines need besides the driver: missed where there is a GPU, else only listed."""
    from engines.backends.tensorrt_library import FLAVOURS, load_library
    from engines.cuda.devices import find_gpus
    from engines.errors import EngineError

    missed = False if find_gpus() else None
    findings = []
    for flavour in FLAVOURS.values():
        try:
            library = load_library(flavour)
            findings.append(Finding(kind="cuda", good=True, text=f"{flavour.title} {library.__version__}"))
        except EngineError as error:
            findings.append(Finding(kind="cuda", good=missed, text=str(error)))
    return [*findings, _package("pycuda", missed), _package("cuda-bindings", missed)]


def _package(name: str, missed: bool | None) -> Finding:
    if installed := _installed(name):
        return Finding(kind="cuda", good=True, text=f"{name} {installed}")
    remedy = "install it with: pip install 'edge-inspect[tensorrt]'"
    return Finding(kind="cuda", good=missed, text=f"{name} is not installed", remedy=remedy)
