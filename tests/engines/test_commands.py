"""`edge-inspect build` as a user calls it, with TensorRT-RTX's real builder."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from engines import commands
from engines.bundle import Bundle
from engines.cli import GROUP, main
from engines.cuda import devices

pytest.importorskip("onnx")

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_LIBRARY", "libcuda-that-is-nowhere.so.1")


@pytest.fixture
def bundle(calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> str:
    return str(bundle_copy(calibrated_bundle).path)


@pytest.fixture
def rtx(bundle: str) -> tuple[str, ...]:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[rtx]'")
    return "build", "--bundle", bundle, "--engine", "tensorrt-rtx"


def test_engines_for_several_targets(
    rtx: tuple[str, ...], bundle: str, part_photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--target", "sm86,SM_89", "--batch", "2", "--photographs", str(part_photos / "test"))
    assert main([*rtx, *arguments]) == 0
    out, err = capsys.readouterr()
    for target in ("sm86", "sm89"):
        folder = Path(f"{bundle}.engines") / f"tensorrt-rtx-{target}-b2"
        assert f"engine:     {folder / 'engine.plan'}\n" in out
        assert f"there is no engine at {folder}; building it\n" in err
    assert "for sm86, batch 1 to 2" in out
    assert "8 golden parts, 30 photographs" in out
    assert f"next:       edge-inspect calibrate --bundle {bundle} --engine tensorrt-rtx --good DIR" in out

    assert main([*rtx, *arguments, "--no-build"]) == 0
    assert capsys.readouterr().err == ""


def test_no_build_says_what_is_wrong_and_builds_nothing(
    rtx: tuple[str, ...], bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*rtx, "--target", "sm89", "--no-build"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("edge-inspect build: there is no engine at ")
    assert err.count("\n") == 1
    assert not Path(f"{bundle}.engines").exists()


def test_a_harmed_engine_is_told_and_replaced(
    rtx: tuple[str, ...], bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*rtx, "--target", "sm89"]) == 0
    plan = Path(f"{bundle}.engines") / "tensorrt-rtx-sm89-b1" / "engine.plan"
    whole = plan.stat().st_size
    plan.write_bytes(plan.read_bytes()[:1000])
    capsys.readouterr()
    assert main([*rtx, "--target", "sm89"]) == 0
    assert "engine.plan was altered or cut short" in capsys.readouterr().err
    assert plan.stat().st_size > whole / 2


def test_without_a_gpu_one_line_says_so(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--bundle", bundle]) == 1
    err = capsys.readouterr().err
    assert err.startswith("edge-inspect build: no NVIDIA GPU can be used here")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--target", "sm89"), "TensorRT builds for the GPU at hand alone"),
        (("--engine", "tensorrt-rtx", "--target", "sm90"), "has no target sm90"),
        (("--engine", "tensorrt-rtx", "--target", "sm89", "--photographs", "nowhere"), "expected a folder of images"),
    ],
)
def test_wrong_orders_end_with_two(
    bundle: str, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "tensorrt-rtx" in arguments:
        pytest.importorskip("tensorrt_rtx")
    assert main(["build", "--bundle", bundle, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_batch_below_one_is_refused(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["build", "--bundle", bundle, "--batch", "0"])
    assert "expected at least 1, found 0" in capsys.readouterr().err


def test_many_photographs_are_spread(
    calibrated_bundle: Bundle, part_photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MOST_PHOTOGRAPHS", 10)
    found = commands._photographs(part_photos / "test", calibrated_bundle)
    assert found.shape == (10, 128, 128, 3)


def test_the_tiles_of_a_picture_are_one_batch(
    tiled_bundle: Bundle,
    plate_photos: Path,
    bundle_copy: Callable[[Bundle], Bundle],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And ranges are measured on tiles."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install '.[rtx]'")
    path = bundle_copy(tiled_bundle).path
    photographs = ("--photographs", str(plate_photos / "test" / "speck"))
    options = ("--engine", "tensorrt-rtx", "--target", "sm89", *photographs)
    assert main(["build", "--bundle", str(path), *options]) == 0
    out = capsys.readouterr().out
    assert "batch 1 to 12" in out
    assert f"{8 * 12} golden parts, {2 * 12} photographs" in out


@pytest.mark.parametrize(
    ("terminal", "written"),
    [
        (False, "stale; building\nbuild: 1 s\nbuild: 2 s\n"),
        (True, "\r\x1b[Kstale; building\n\r\x1b[Kbuild: 1 s\r\x1b[Kbuild: 2 s\n"),
    ],
)
def test_progress(
    terminal: bool, written: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    progress = commands._Progress()
    for text in ("stale; building", "build: 1 s", "build: 2 s"):
        progress.show(text)
    progress.end()
    assert capsys.readouterr().err == written


@pytest.mark.parametrize("page", ["deployment-jetson.md", "deployment-rtx.md"])
def test_the_commands_on_the_pages_exist(page: str) -> None:
    lines = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("edge-inspect ")]
    assert len(lines) >= 4
    registered = {entry.name: entry for entry in entry_points(group=GROUP)}
    for line in lines:
        _, name, *arguments = shlex.split(line)
        parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
        registered[name].load().configure(parser)
        parser.parse_args(arguments)
