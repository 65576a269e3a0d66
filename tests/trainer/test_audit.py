"""`edge-inspect audit` as a user types it: what stands out is on top, what repeats is a group, nothing is changed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.cli import main

RenderPart = Callable[..., NDArray[np.uint8]]

# What a script in the page would say of it, as its title.
_MEASURE = (
    "<script>onload = () => { document.title = [document.documentElement.scrollWidth > innerWidth, "
    "[...document.images].every(i => i.complete && i.naturalWidth), document.images.length].join() }</script>"
)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, render_part: RenderPart) -> Path:
    """Thirty good parts, two with scratches of their own, and one scratched part photographed nine times."""
    folder = tmp_path_factory.mktemp("mixed")
    for seed in range(30):
        cv2.imwrite(str(folder / f"good_{seed:02}.png"), render_part(seed))
    for seed in (200, 201):
        cv2.imwrite(str(folder / f"scratch_{seed}.png"), render_part(seed, defect=True))
    rng, stain = np.random.default_rng(0), render_part(77)
    cv2.rectangle(stain, (95, 88), (118, 108), (20, 20, 200), -1)
    for index in range(9):
        noisy = stain + rng.normal(0, 2, stain.shape)
        cv2.imwrite(str(folder / f"stain_{index}.png"), noisy.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def audited(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `audit.html` and `audit.json`."""
    out = tmp_path_factory.mktemp("audited")
    before = {path.name: path.read_bytes() for path in mixed.iterdir()}
    places = ("--html", out / "audit.html", "--json", out / "audit.json")
    assert run("audit", "--data", mixed, "--weights", "random", *places) == 0
    assert {path.name: path.read_bytes() for path in mixed.iterdir()} == before
    return out


def test_loners_are_on_top_and_the_repeated_fault_is_a_group(audited: Path) -> None:
    found = json.loads((audited / "audit.json").read_text())
    photographs = found["photographs"]
    assert [entry["rank"] for entry in photographs] == list(range(1, 42))
    assert {entry["file"] for entry in photographs[:2]} == {"scratch_200.png", "scratch_201.png"}
    assert found["communities"][0]["files"] == [f"stain_{index}.png" for index in range(9)]
    stains = [entry for entry in photographs if entry["file"].startswith("stain")]
    assert all(entry["community"] == 1 for entry in stains)
    assert all(entry["score_without_group"] > 1.3 * entry["score"] for entry in stains)
    assert found["compared_with"] == 41


def test_the_page_asks_about_the_group_and_shows_the_loners(audited: Path) -> None:
    page = (audited / "audit.html").read_text()
    assert "9 photographs, defect or variant?" in page
    assert page.index("stain_0.png") < page.index("scratch_200.png")
    assert "http" not in page.replace("http://www.w3.org", "")


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_in_a_browser(peer: Any, audited: Path, tmp_path: Path, width: int) -> None:
    page = tmp_path / "measured.html"
    page.write_text((audited / "audit.html").read_text() + _MEASURE)
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/p"]
    command = [str(peer("chromium")), *quiet, f"--window-size={width},900", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    wider, complete, pictures = dom.partition("<title>")[2].partition("</title>")[0].split(",")
    assert (wider, complete) == ("false", "true")
    assert int(pictures) >= 2 * 12


def test_too_few_photographs_are_refused(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in sorted(photos.iterdir())[:9]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert run("audit", "--data", tmp_path, "--weights", "random") == 2
    assert "expected at least 10 different photographs to compare with one another, found 9" in capsys.readouterr().err
