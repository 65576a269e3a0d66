"""What an operator says on the page is kept, audited and exported; nobody else says anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, Page

from edge.audit.trail import read_trail
from edge.feedback.book import FeedbackBook
from edge.feedback.opinion import Says
from engines.bundle import Bundle, update_bundle
from engines.cli import main
from tests.edge.feedback.line import Render, run_line
from tests.edge.web.conftest import Client, Web, field, log_in, settings_of
from tests.edge.web.test_browser import axe_of, inspected

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture(scope="module")
def bundle(calibrated_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The calibrated bundle, as if calibrated before the parts of the tests were made."""
    copy = tmp_path_factory.mktemp("bundle") / "flange"
    shutil.copytree(calibrated_bundle.path, copy)
    opened = Bundle.open(copy)
    old = msgspec.structs.replace(opened.latest_calibration, created="2026-01-01T00:00:00+00:00")
    return update_bundle(opened, msgspec.structs.replace(opened.info, calibrations=(old,)))


@pytest.fixture(scope="module")
def archive(bundle: Bundle, render_part: Render, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """An archive, and the keys of its parts: seven good ones that passed, then two defects that were rejected."""
    folder = tmp_path_factory.mktemp("station") / "archive"
    return folder, list(run_line(folder, bundle, render_part, range(1001, 1008), range(2000, 2002)))


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, users_file: Path, bundle: Bundle, archive: tuple[Path, list[int]]
) -> Iterator[Web]:
    folder, _ = archive
    more = f'[archive]\nfolder = "{folder}"\n[audit]\nfile = "{folder.parent / "audit.jsonl"}"\n'
    settings = settings_of(f'users = "{users_file}"', more).replace('"bundle"', f'"{bundle.path}"')
    started = Web(tmp_path_factory.mktemp("web"), settings)
    yield started
    started.process.kill()
    started.process.wait()


@pytest.fixture
def operator(web: Web) -> Client:
    client = web.client()
    client.log_in("oleg")
    return client


def said(archive: tuple[Path, list[int]], key: int) -> list[tuple[Says, str, str, str | None]]:
    with FeedbackBook.open(archive[0]) as book:
        found = [each.statement for each in book.of(key)]
    return [(each.says, each.reason, each.by, each.grade) for each in found]


def say(client: Client, key: int, **fields: str) -> int:
    csrf = field(client.get(f"/parts/{key}"), "csrf")
    return client.post(f"/parts/{key}/feedback", {"csrf": csrf, **fields}).status


def test_an_operator_says_what_a_part_is(operator: Client, archive: tuple[Path, list[int]]) -> None:
    key = archive[1][-1]
    assert "Nobody has said anything" in operator.get(f"/parts/{key}").body
    assert say(operator, key, says="defect", reason="a scratch", grade="major") == 303
    assert say(operator, key, says="good", reason=HOSTILE, grade="major") == 303
    assert said(archive, key) == [(Says.DEFECT, "a scratch", "oleg", "major"), (Says.GOOD, HOSTILE, "oleg", None)]
    page = operator.get(f"/parts/{key}").body
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert say(operator, key, says="withdrawn", reason="wrong part") == 303
    written = [entry for entry in read_trail(archive[0].parent / "audit.jsonl").entries if entry.details["part"] == key]
    assert [(entry.what, entry.who, entry.details["says"]) for entry in written] == [
        ("feedback", "oleg", "defect"),
        ("feedback", "oleg", "good"),
        ("feedback", "oleg", "withdrawn"),
    ]


def test_nobody_else_says_anything(web: Web, operator: Client, archive: tuple[Path, list[int]]) -> None:
    key = archive[1][0]
    viewer = web.client()
    viewer.log_in("vera")
    page = viewer.get(f"/parts/{key}")
    assert 'name="says"' not in page.body
    assert say(viewer, key, says="good", reason="mine") == 403
    fields = {"says": "good", "reason": "no token"}
    assert operator.post(f"/parts/{key}/feedback", fields).status == 403
    csrf = field(operator.get(f"/parts/{key}"), "csrf")
    assert operator.post(f"/parts/{key}/feedback", {**fields, "csrf": csrf}, Origin="http://evil.test").status == 403
    assert web.client().post(f"/parts/{key}/feedback", fields).status == 401
    assert said(archive, key) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"says": "good", "reason": " "}, "expected a reason of 1 to 500 characters"),
        ({"says": "good", "reason": "x" * 501}, "expected a reason"),
        ({"says": "dreadful", "reason": "x"}, "expected good, defect or withdrawn"),
        ({"says": "defect", "reason": "x", "grade": "dreadful"}, "expected a grade out of minor, major, critical"),
    ],
)
def test_what_makes_no_sense_is_refused(
    operator: Client, archive: tuple[Path, list[int]], fields: dict[str, str], message: str
) -> None:
    key = archive[1][1]
    csrf = field(operator.get(f"/parts/{key}"), "csrf")
    answer = operator.post(f"/parts/{key}/feedback", {"csrf": csrf, **fields})
    assert answer.status == 400
    assert message in answer.body
    assert operator.post("/parts/1/feedback", {"csrf": csrf, "says": "good", "reason": "x"}).status == 404
    assert said(archive, key) == []


@pytest.fixture
def browser_page(browser: Browser, web: Web) -> Iterator[Page]:
    with browser.new_page(base_url=web.url) as page:
        log_in(page, web)
        yield page


def test_by_keyboard_feedback_lands_in_the_data_set_and_in_the_preview(
    browser_page: Page, archive: tuple[Path, list[int]], tmp_path: Path, node_package: Callable[[str], Path]
) -> None:
    page, (folder, keys) = browser_page, archive
    page.goto(f"/parts/{keys[-2]}")
    for _ in range(40):
        if page.evaluate("document.activeElement.id") == "reason":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("only a reflection")
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "good":
            break
    target = page.locator("button[value=good]").bounding_box()
    assert target is not None
    assert target["height"] >= 48, "for gloved fingers"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/parts/{keys[-2]}#feedback")
    assert "only a reflection" in page.inner_text("#feedback")
    page.click("text=Where the threshold would go")
    text = page.inner_text("main")
    assert "0 of 0 parts of the sample were judged" in text
    assert "Not certified" in text
    assert "0 of 1 disputed parts pass" in text
    assert "1 of 1 disputed parts pass" in text
    axe = axe_of(node_package)
    found = inspected(page, axe)
    page.goto(f"/parts/{keys[-2]}")
    assert found + inspected(page, axe) == []
    assert main(["feedback", "export", "--archive", str(folder), "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "train" / "good" / f"{keys[-2]}.png").is_file()
