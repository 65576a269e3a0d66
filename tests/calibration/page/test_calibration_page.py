"""The page in a real browser: drawn, not wider than its window, complete, and in need of nothing else."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from calibration.page.calibration_page import render
from engines.bundle import Bundle, update_bundle
from engines.cli import main

# What a script in the page would say of it, as its title.
_MEASURE = (
    "<script>onload = () => { document.title = [document.documentElement.scrollWidth > innerWidth, "
    "[...document.images].every(i => i.complete && i.naturalWidth), document.images.length].join() }</script>"
)


@pytest.fixture(scope="module")
def page(calibrated_bundle: Bundle, part_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    command = ["report", "--bundle", str(calibrated_bundle.path), "--data", str(part_photos), "--out", str(out)]
    assert main(command) == 0
    return out


def browse(chromium: Path, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    profile = f"--user-data-dir={page.parent / 'profile'}"
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    command = [str(chromium), *quiet, "--hide-scrollbars", profile, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize(("scheme", "bright"), [(1, True), (0, False)], ids=["light", "dark"])
def test_the_page_is_drawn_in_light_and_dark(peer: Any, page: Path, tmp_path: Path, scheme: int, bright: bool) -> None:
    picture = tmp_path / "page.png"
    options = (f"--screenshot={picture}", "--window-size=1280,3000", f"--blink-settings=preferredColorScheme={scheme}")
    result = browse(peer("chromium"), page, *options)
    assert "CONSOLE" not in result.stderr
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape == (3000, 1280, 3)
    assert bool(np.median(drawn) > 200) is bright
    assert drawn.std() > 20
    blue = (drawn[:, :, 0].astype(int) - drawn[:, :, 2] > 90).sum()
    orange = (drawn[:, :, 2].astype(int) - drawn[:, :, 0] > 120).sum()
    assert min(blue, orange) > 500, "bars of good and of defective parts"


@pytest.mark.parametrize("width", [1280, 500])
def test_nothing_is_wider_than_the_window_and_every_picture_is_there(
    peer: Any, page: Path, tmp_path: Path, width: int
) -> None:
    measured = tmp_path / "measured.html"
    measured.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{_MEASURE}</body>"), encoding="utf-8")
    result = browse(peer("chromium"), measured, "--dump-dom", f"--window-size={width},900")
    assert "CONSOLE" not in result.stderr
    assert "<title>false,true,24</title>" in result.stdout


def test_the_page_refers_to_nothing_outside_itself(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    without_pictures = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<script|<link", without_pictures)
    assert all(source.startswith("data:image/") for source in re.findall(r'src="([^"]*)"', html))
    assert html.count("alt=") == html.count("<img")


def test_the_page_says_what_is_certified_and_why_sigma_is_not_offered(page: Path, calibrated_bundle: Bundle) -> None:
    text = re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")).replace("\N{NO-BREAK SPACE}", " ")
    calibration = calibrated_bundle.latest_calibration
    for sentence in (
        calibration.guarantee,
        "mean plus three standard deviations is not offered",
        f"NotOK above {calibration.threshold:.4g}",
        "conformal rule: certified on average over calibrations",
        "95 % interval",
        calibrated_bundle.digest,
    ):
        assert sentence in text


def test_the_page_draws_how_the_training_went(bundle_copy: Any, calibrated_bundle: Bundle, tmp_path: Path) -> None:
    info = calibrated_bundle.info
    trained = msgspec.structs.replace(info.provenance, losses=(0.5, 0.25, 0.125))
    bundle = update_bundle(bundle_copy(calibrated_bundle), msgspec.structs.replace(info, provenance=trained))
    out = tmp_path / "report.html"
    assert main(["report", "--bundle", str(bundle.path), "--out", str(out)]) == 0
    html = out.read_text(encoding="utf-8")
    points = re.findall(r'<polyline class="curve" points="([^"]*)"', html)[0].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert len(heights) == 3
    assert heights[1] - heights[0] == pytest.approx(2 * (heights[2] - heights[1]), abs=0.2)
    assert "Loss of 3 epochs, 0.125 at the last" in html


def test_the_page_says_what_every_guard_sees(page: Path, calibrated_bundle: Bundle) -> None:
    text = page.read_text().replace("\N{NO-BREAK SPACE}", " ")
    section = text.partition("<h2>Guards</h2>")[2].partition("<h2>")[0]
    for guard in calibrated_bundle.latest_calibration.guards:
        assert guard.name.replace("_", " ") in section
        assert guard.disturbance in section


def test_names_are_text_never_markup(calibrated_bundle: Bundle, bundle_copy: Any, tmp_path: Path) -> None:
    copy = bundle_copy(calibrated_bundle)
    hostile = update_bundle(copy, msgspec.structs.replace(copy.info, product="<script>alert(1)</script>"))
    assert main(["report", "--bundle", str(hostile.path), "--out", str(tmp_path / "page.html")]) == 0
    assert "<script" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_calibration_without_scores_still_makes_a_page(calibrated_bundle: Bundle, open_named: Any) -> None:
    from calibration.evidence import gather

    calibration = msgspec.structs.replace(calibrated_bundle.latest_calibration, scores=(), interval=None, parity=())
    engine = open_named(calibrated_bundle, calibration.backend, calibration.precision)
    assert "calibrate it again" in render(gather(calibrated_bundle, calibration, engine, None))


def test_out_of_fold_scores_are_not_called_certified(calibrated_bundle: Bundle, open_named: Any) -> None:
    from calibration.evidence import gather

    calibration = msgspec.structs.replace(calibrated_bundle.latest_calibration, folds=5)
    engine = open_named(calibrated_bundle, calibration.backend, calibration.precision)
    page = render(gather(calibrated_bundle, calibration, engine, None))
    assert "expected, not certified, from out-of-fold scores of 24 good parts" in page
    assert "each scored by one of 5 heads" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "openvino"], "--engine and --precision go together"),
        (["--engine", "openvino", "--precision", "f8"], "is calibrated for"),
        (["--data", "nowhere"], "expected folders of photographs"),
        (["--out", "/nowhere/page.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    calibrated_bundle: Bundle, tmp_path: Path, capsys: Any, options: list[str], message: str
) -> None:
    command = ["report", "--bundle", str(calibrated_bundle.path), "--out", str(tmp_path / "page.html"), *options]
    assert main(command) == 2
    assert message in capsys.readouterr().err
