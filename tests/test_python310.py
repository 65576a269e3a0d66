"""JetPack 6 has Python 3.10: the runtime is installed there as a user would, without extras, and must work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from engines.bundle import Bundle

REPOSITORY = Path(__file__).parents[1]
INSTALLED = ("engines", "calibration", "edge", "trainer")
STATION = """
station = "jetson"
[recipes.flange]
bundle = "{bundle}"
[cameras.top]
kind = "folder"
path = "{inbox}"
settle_s = 0.1
[publish]
bind = "ipc://{folder}/verdicts"
wait_for_subscriber_s = 30
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def find_python() -> str | None:
    """A Python 3.10 that starts: on the PATH, or one of pyenv's."""
    candidates = [shutil.which("python3.10"), *sorted(map(str, Path.home().glob(".pyenv/versions/3.10*/bin/python")))]
    return next((name for name in candidates if name and _is_310(name)), None)


def _is_310(name: str) -> bool:
    # A version manager's stand-in may be on the PATH without any Python behind it.
    command = [name, "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 10))"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of a virtual environment with Python 3.10 and the project installed, without extras."""
    python = find_python()
    if python is None:
        pytest.skip("no Python 3.10 found (looked for python3.10 on the PATH and in ~/.pyenv/versions)")
    folder = tmp_path_factory.mktemp("python310")
    source = folder / "source"
    # A copy, so that the build leaves nothing in the repository.
    for name in INSTALLED:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, source)
    _checked([python, "-m", "venv", str(folder / "venv")], folder)
    binaries = folder / "venv" / "bin"
    _checked(
        [str(binaries / "pip"), "install", "--quiet", "--no-compile", "--disable-pip-version-check", str(source)],
        folder,
    )
    return binaries


@pytest.fixture
def run(runtime: Path, tmp_path: Path) -> Run:
    """`run("edge-inspect", "doctor")`: run a program of that environment, away from the repository."""
    return lambda program, *arguments: _checked([str(runtime / program), *arguments], tmp_path)


@pytest.fixture
def bundle(calibrated_bundle: Bundle, bundle_copy: Callable[[Bundle], Bundle]) -> Path:
    return bundle_copy(calibrated_bundle).path


@pytest.fixture
def daemon(runtime: Path, tmp_path: Path, bundle: Path, part_photos: Path) -> Iterator[Callable[[], subprocess.Popen]]:
    """`daemon()`: start it on a folder with two good parts and a scratched one."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number, name in enumerate(("good/100.png", "good/101.png", "scratch/203.png")):
        shutil.copy(part_photos / "test" / name, inbox / f"{number}.png")
    station = tmp_path / "station.toml"
    station.write_text(STATION.format(bundle=bundle, inbox=inbox, folder=tmp_path))
    started: list[subprocess.Popen] = []

    def start() -> subprocess.Popen:
        started.append(subprocess.Popen([str(runtime / "edge-inspect"), "run", "--config", str(station)], cwd=tmp_path))
        return started[0]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def _checked(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, cwd=folder, env=environment
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result


def test_every_module_of_the_runtime_can_be_imported(run: Run) -> None:
    code = """
import importlib, pkgutil, sys
for name in ("engines", "calibration", "edge"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            # A page is made of its framework: what the extra brings cannot be imported inside functions only.
            assert module.name.startswith("edge.web.") and error.name in ("anyio", "jinja2", "starlette", "uvicorn")
assert "torch" not in sys.modules and "trainer" not in sys.modules
"""
    run("python", "-c", code)


def test_a_page_without_its_extra_says_which_one_is_missing(runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text(STATION.format(bundle="bundle", inbox="in", folder=tmp_path))
    command = [str(runtime / "edge-inspect"), "web", "--config", str(tmp_path / "station.toml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 2
    assert "pip install 'edge-inspect[web]'" in result.stderr


def test_the_help_names_every_command(run: Run) -> None:
    help_text = run("edge-inspect", "--help").stdout
    assert all(f"\n  {name} " in help_text for name in ("train", "calibrate", "evaluate", "export", "run", "watch"))


def test_the_doctor_finds_an_engine_and_misses_the_training(run: Run) -> None:
    text = run("edge-inspect", "doctor").stdout
    assert "Python 3.10" in text
    assert "ok      engine" in text
    assert "pip install 'edge-inspect[train]'" in text


def test_a_bundle_is_calibrated_and_run_there(
    run: Run, daemon: Callable[[], subprocess.Popen], bundle: Path, part_photos: Path, tmp_path: Path
) -> None:
    # What runs there may be another version of the engine's library, so it is calibrated there.
    good = part_photos / "test" / "good"
    run("edge-inspect", "calibrate", "--bundle", str(bundle), "--good", str(good), "--false-reject-rate", "0.05")
    process = daemon()
    watch = ("watch", "--connect", f"ipc://{tmp_path}/verdicts", "--json", "--count", "3", "--timeout", "60")
    verdicts = [json.loads(line) for line in run("edge-inspect", *watch).stdout.splitlines()]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert [(v["part_id"], v["evaluation"]) for v in verdicts] == [
        ("0.png", "OK"),
        ("1.png", "OK"),
        ("2.png", "NotOK"),
    ]
