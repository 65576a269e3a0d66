"""The page in a real browser, on a real daemon: what a person does, by mouse and by keyboard alone."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.page_latency import OBSERVE, delays_ms
from benchmarks.plc_program import PlcProgram, free_port
from edge.client import Subscriber
from edge.config import load_config
from edge.verdict import Verdict
from engines.bundle import Bundle
from tests.conftest import RenderPart
from tests.edge.conftest import CLI, Daemon
from tests.edge.web.conftest import PASSWORD, PATIENCE_S, StartWeb, Web, log_in

# A file's name is the part's id.
HOSTILE = '<img src=x onerror="document.title=`owned`">.png'
AXE = "axe-core@4.10.3"
# Rounded numbers of the style sheet's 48 pixels, for a glove.
_SMALLEST_TARGET = 44
_MS = 1000 * PATIENCE_S


class Line:
    """A station and its page: parts come when `send` is called."""

    def __init__(self, folder: Path, daemon: Daemon, web: Web, render: RenderPart) -> None:
        self.daemon = daemon
        self.address = f"ipc://{folder / 'verdicts'}"
        self.web = web
        self._inbox = folder / "in"
        self._render = render
        self.sent = 0

    def send(self, name: str = "", defect: bool = False) -> str:
        """Let one part arrive, and return its id."""
        self.sent += 1
        name = name or f"part-{self.sent}.png"
        picture = self._render(200 if defect else 100 + self.sent, defect=defect)
        (self._inbox / f".{name}.part").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        (self._inbox / f".{name}.part").rename(self._inbox / name)
        return name


@pytest.fixture(scope="module")
def line(
    tmp_path_factory: pytest.TempPathFactory,
    calibrated_bundle: Bundle,
    start_web: StartWeb,
    users_file: Path,
    render_part: RenderPart,
) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("line")
    (folder / "in").mkdir()
    tables = (
        f'[archive]\nfolder = "{folder / "archive"}"\nkeep_free_gb = 0.001\n[live]\nbind = "ipc://{folder / "live"}"\n'
    )
    gateway = (
        f"[plc]\ntravel = 0.5\nmargin = 0.1\nearly_s = 10.0\nlockout_after = 1\nsilence_s = 10.0\n"
        f'[plc.modbus]\nhost = "127.0.0.1"\nport = {free_port()}\ntimeout_s = 2.0\nretry_s = 0.05\n'
        f'[plc.publish]\nbind = "ipc://{folder / "gateway"}"\nheartbeat_s = 0.3\n'
    )
    daemon = Daemon(
        folder,
        f'station = "cell-7"\n[recipes.flange]\nbundle = "{calibrated_bundle.path}"\n'
        f'[cameras.top]\nkind = "folder"\npath = "{folder / "in"}"\n[engine]\nin_flight = 1\n'
        f'[publish]\nbind = "ipc://{folder / "verdicts"}"\nheartbeat_s = 0.3\n{tables}',
    )
    try:
        web = start_web(f'users = "{users_file}"', tables + gateway, f"ipc://{folder / 'verdicts'}")
        yield Line(folder, daemon, web, render_part)
    finally:
        daemon.kill()


@pytest.fixture
def page(browser: Browser, line: Line) -> Iterator[Page]:
    """Somebody who is not logged in yet; what the browser complains of fails the test."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(_MS)
    shown = context.new_page()
    shown.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    yield shown
    context.close()
    assert complaints == []


def picture_number(page: Page) -> int:
    return int(page.locator("#picture").get_attribute("data-number") or 0)


def await_picture(page: Page, name: str) -> None:
    """Wait until the live picture is that of this part."""
    expect(page.locator("#picture")).to_have_attribute("aria-label", re.compile(re.escape(name)), timeout=_MS)


def press_until(page: Page, selector: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(60):
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the keyboard does not reach {selector}")


def test_a_reject_is_seen_found_and_looked_at_by_keyboard_alone(page: Page, line: Line) -> None:
    page.goto(line.web.url)
    page.keyboard.type("oleg")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#state b")).to_have_text("Running", timeout=_MS)
    await_picture(page, line.send())
    expect(page.locator("#word")).to_have_text("OK", timeout=_MS)
    await_picture(page, line.send(HOSTILE, defect=True))
    expect(page.locator("#word")).to_have_text("NotOK", timeout=_MS)
    expect(page.locator("#part")).to_have_text(HOSTILE)
    expect(page.locator("#reason")).to_contain_text("is above the threshold")
    expect(page.locator("#spoken")).to_contain_text("NotOK", timeout=_MS)
    card = page.locator("#rejects a.card").first
    expect(card.locator("b")).to_have_text(HOSTILE, timeout=_MS)

    press_until(page, "nav a[href='/parts']")
    page.keyboard.press("Enter")
    page.wait_for_url("**/parts")
    press_until(page, "#part_id")
    page.keyboard.type(HOSTILE)
    page.keyboard.press("Enter")
    expect(page.locator("a.card")).to_have_count(1)
    press_until(page, "a.card")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator("#picture[data-drawn=heat]")).to_be_visible(timeout=_MS)
    press_until(page, "#heat")
    page.keyboard.press("Space")
    expect(page.locator("#picture[data-drawn=plain]")).to_be_visible()
    assert page.title() != "owned"


def test_a_reject_appears_by_itself_after_its_verdict(page: Page, line: Line) -> None:
    page.add_init_script(OBSERVE)
    log_in(page, line.web)
    with Subscriber(line.address) as subscriber:
        good = line.send()
        expect(page.locator("#part")).to_have_text(good, timeout=_MS)
        name = line.send(defect=True)
        expect(page.locator("#rejects b").first).to_have_text(name, timeout=_MS)
        await_picture(page, name)
        verdict = None
        while verdict is None or verdict.part_id != name:
            heard = subscriber.receive(PATIENCE_S)
            verdict = heard if isinstance(heard, Verdict) else verdict
    # What was seen is kept in the page: a reload would have lost the good part.
    seen = page.evaluate("() => window.seen")
    assert [each["text"] for each in seen if each["place"] == "lamp"][-2:] == [good, name]
    lamp, picture, gallery = (ms for (ms,) in delays_ms([verdict], seen).values())
    assert 0 <= lamp <= gallery
    assert picture >= 0


def test_the_heat_map_is_warm_where_the_scratch_is_and_nowhere_on_a_good_part(page: Page, line: Line) -> None:
    log_in(page, line.web)
    warm = """() => {
        const canvas = document.getElementById('picture');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let found = 0;
        for (let at = 0; at < data.length; at += 4) found += data[at] > data[at + 2] + 60;
        return found / (data.length / 4);
    }"""
    await_picture(page, line.send())
    assert page.evaluate(warm) == 0
    await_picture(page, line.send(defect=True))
    assert 0.005 < page.evaluate(warm) < 0.5


def test_a_held_picture_stays_and_goes_on(page: Page, line: Line) -> None:
    log_in(page, line.web)
    await_picture(page, line.send())
    page.get_by_role("button", name="Hold").click()
    held = picture_number(page)
    name = line.send()
    expect(page.locator("#part")).to_have_text(name, timeout=_MS)
    assert picture_number(page) == held
    page.get_by_role("button", name="Hold").click()
    await_picture(page, line.send())
    assert picture_number(page) > held


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_axe_finds_nothing_serious(page: Page, line: Line, node_package: Callable[[str], Path], theme: str) -> None:
    axe = axe_of(node_package)
    page.goto(f"{line.web.url}/login")
    page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
    found = inspected(page, axe)
    log_in(page, line.web)
    await_picture(page, line.send(defect=True))
    expect(page.locator("#rejects a.card").first).to_be_visible(timeout=_MS)
    assert page.locator("html").get_attribute("data-theme") == theme
    found += inspected(page, axe)
    for path in ("/parts", "/parts?since=never"):
        page.goto(line.web.url + path) if "never" not in path else page.request.get(line.web.url + path)
        found += inspected(page, axe)
    page.locator("a.card").first.click()
    page.wait_for_selector("#picture[data-drawn]")
    found += inspected(page, axe)
    assert found == []


def axe_of(node_package: Callable[[str], Path]) -> str:
    return (node_package(AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text()


def inspected(page: Page, axe: str) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("() => axe.run()")["violations"]
    return [
        f"{page.url}: {each['impact']} {each['id']}: {[node['html'][:120] for node in each['nodes']]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("size", [(1440, 900), (820, 1180), (390, 800)], ids=["desktop", "tablet", "phone"])
def test_nothing_is_wider_than_the_window_or_too_small_for_a_glove(
    page: Page, line: Line, size: tuple[int, int]
) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    log_in(page, line.web)
    line.send(defect=True)
    expect(page.locator("#rejects a.card").first).to_be_visible(timeout=_MS)
    for path in ("/", "/parts"):
        page.goto(line.web.url + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = page.evaluate(
            """least => [...document.querySelectorAll('button, a:not(.skip), input:not([type=hidden]), select')]
                .filter(each => each.offsetParent && each.getBoundingClientRect().height < least)
                .map(each => each.outerHTML)""",
            _SMALLEST_TARGET,
        )
        assert small == []


def test_the_gateway_is_seen_its_lockout_told_and_its_silence_dated(
    page: Page, line: Line, plc_binary: Path, tmp_path: Path, node_package: Callable[[str], Path]
) -> None:
    log_in(page, line.web)
    row = page.locator("#gateway-status")
    expect(row).to_contain_text("no news of it yet", timeout=_MS)
    station = line.web.stderr.with_name("web.toml")
    with PlcProgram(plc_binary, tmp_path, port=load_config(station).plc.modbus.port) as plc:
        plc.image.sensor = line.sent
        gateway = subprocess.Popen([*CLI, "plc", "--config", str(station)])
        try:
            expect(row).to_contain_text("Ready", timeout=_MS)
            expect(row).to_contain_text("Connected")
            name = line.send(defect=True)
            plc.image.sensor = line.sent
            assert name == f"part-{line.sent}.png"
            expect(page.locator("#lockout")).to_contain_text("Locked out: 1 defective parts in a row", timeout=_MS)
            expect(row.locator("td.n")).to_have_text(["0", "1", "0"])
            assert inspected(page, axe_of(node_package)) == []
            plc.image.reset = 1
            expect(page.locator("#lockout")).to_be_hidden(timeout=_MS)
            expect(row).to_contain_text("Ready")
        finally:
            gateway.kill()
            gateway.wait()
    expect(row).to_contain_text("no news since", timeout=_MS)
    expect(page.locator("#state b")).to_have_text("Running")


def test_a_page_that_hangs_holds_up_no_verdict(page: Page, line: Line) -> None:
    log_in(page, line.web)
    with Subscriber(line.address) as subscriber:
        line.web.process.send_signal(signal.SIGSTOP)
        try:
            names = {line.send() for _ in range(3)}
            deadline = time.monotonic() + PATIENCE_S
            while names and time.monotonic() < deadline:
                message = subscriber.receive(0.5)
                names -= {message.part_id} if isinstance(message, Verdict) else set()
        finally:
            line.web.process.send_signal(signal.SIGCONT)
    assert names == set()


def test_a_station_that_dies_is_called_silent(page: Page, line: Line) -> None:
    log_in(page, line.web)
    expect(page.locator("#state b")).to_have_text("Running", timeout=_MS)
    line.daemon.process.kill()
    expect(page.locator("#state b")).to_have_text("Silent", timeout=_MS)
    expect(page.locator("#word")).to_have_text("No verdicts")
    expect(page.locator("#trouble")).to_contain_text("no heartbeat")
