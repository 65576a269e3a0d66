"""From a reject to a threshold that has moved, on a real daemon with its page: everything is said, and audited."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from playwright.sync_api import Browser

from edge.archive.index import ArchiveIndex
from edge.archive.part import ArchivedPart, Query
from edge.audit.trail import Entry, read_trail
from engines.bundle import Bundle
from engines.cli import main
from engines.images import list_images
from tests.edge.conftest import PATIENCE_S, StartDaemon
from tests.edge.feedback.line import Render
from tests.edge.web.conftest import Web, field, log_in

GOOD, SCRATCHED = range(1001, 1031), 2000


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def archived(folder: Path, number: int) -> list[ArchivedPart]:
    """The parts of the archive, newest first, once there are so many."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (folder / "index.sqlite").exists():
            with ArchiveIndex.open(folder) as index:
                if len(parts := index.search(Query(), 1000)) >= number:
                    return parts
        time.sleep(0.1)
    pytest.fail(f"{number} parts were not archived")


@pytest.fixture
def station(
    tmp_path: Path,
    start_daemon: StartDaemon,
    bundle_copy: Callable[[Bundle], Bundle],
    calibrated_bundle: Bundle,
    users_file: Path,
) -> Iterator[tuple[Path, Bundle, Web]]:
    """A folder with `in`, `archive`, `audit.jsonl` and the station file, the bundle, and the page."""
    bundle = bundle_copy(calibrated_bundle)
    (tmp_path / "in").mkdir()
    more = (
        f'[archive]\nfolder = "{tmp_path / "archive"}"\nok_share = 1\n[audit]\nfile = "{tmp_path / "audit.jsonl"}"\n'
        f'[control]\nbind = "ipc://{tmp_path / "control"}"\n[web]\nbind = "127.0.0.1:0"\nusers = "{users_file}"\n'
    )
    start_daemon(f'kind = "folder"\npath = "{tmp_path / "in"}"', more, bundle.path)
    written = (tmp_path / "daemon-0" / "station.toml").read_text()
    (tmp_path / "station.toml").write_text(written)
    web = Web(tmp_path, written)
    yield tmp_path, bundle, web
    web.process.kill()
    web.process.wait()


def test_a_reject_that_was_good_moves_the_threshold(
    station: tuple[Path, Bundle, Web],
    browser: Browser,
    render_part: Render,
    part_photos: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, bundle, web = station
    for seed in (*GOOD, SCRATCHED):
        cv2.imwrite(str(folder / f"{seed}.png"), render_part(seed, defect=seed == SCRATCHED))
        (folder / f"{seed}.png").rename(folder / "in" / f"{seed}.png")
    parts = archived(folder / "archive", len(GOOD) + 1)
    with browser.new_page(base_url=web.url) as page:
        log_in(page, web, "/parts")
        page.select_option("#evaluation", "NotOK")
        page.click("text=Search")
        page.click("a.card >> nth=0")
        page.fill("#reason", "only a reflection")
        page.click("text=Good after all")
        page.wait_for_url("**#feedback")
        assert "only a reflection" in page.inner_text("#feedback")
        client = web.client()
        client.log_in("oleg")
        csrf = field(client.get("/parts"), "csrf")
        for part in parts:
            said = {"csrf": csrf, "says": "good", "reason": "looked at it"}
            assert client.post(f"/parts/{part.key}/feedback", said).status == 303
        page.goto("/feedback")
        told = re.search(r"With the sample\s+threshold ([0-9.]+)", page.inner_text("main"))
    assert told is not None
    assert run("feedback", "export", "--config", folder / "station.toml", "--to", folder / "out") == 0
    good = [*list_images(part_photos / "test" / "good"), *list_images(folder / "out" / "calibrate" / "good")]
    (folder / "good.txt").write_text("\n".join(map(str, good)))
    engine = ("--engine", bundle.latest_calibration.backend, "--false-reject-rate", 0.05)
    assert run("calibrate", "--bundle", bundle.path, "--good", folder / "good.txt", *engine) == 0
    assert run("control", "--connect", f"ipc://{folder / 'control'}", "recipe", "flange") == 0
    moved = Bundle.open(bundle.path).latest_calibration.threshold
    assert moved == pytest.approx(float(told[1]), rel=1e-5)
    (entry,) = _until_audited(folder / "audit.jsonl")
    assert entry.details["before"]["threshold"] == bundle.latest_calibration.threshold
    assert entry.details["after"]["threshold"] == moved
    capsys.readouterr()
    assert run("audit-log", "--config", folder / "station.toml", "--verify") == 0
    assert "entries hold" in capsys.readouterr().out


def _until_audited(trail: Path) -> list[Entry]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        entries = read_trail(trail).entries
        if found := [entry for entry in entries if entry.what == "threshold"]:
            assert sum(entry.what == "feedback" for entry in entries) == len(GOOD) + 2
            return found
        time.sleep(0.1)
    pytest.fail("the threshold's move was not audited")
