"""Real web processes for the tests, and somebody who asks them things."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.edge.conftest import CLI

PATIENCE_S = 60.0
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: str


class Client:
    """A browser without a screen: it keeps cookies, and sends what it is told to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        asked = {"Accept": "text/html", **({"Cookie": cookie} if cookie else {}), **(headers or {})}
        try:
            connection.request(method, path, body, asked)
            response = connection.getresponse()
            body_text = response.read().decode("utf-8", "replace")
        finally:
            connection.close()
        self.set_cookies = response.headers.get_all("Set-Cookie") or []
        for line in self.set_cookies:
            self.cookies |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body_text)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, {**kind, **more}, urlencode(fields).encode())

    def log_in(self, name: str = "vera", password: str = PASSWORD, **fields: str) -> Answer:
        page = self.get("/login")
        return self.post("/login", {"token": field(page, "token"), "name": name, "password": password, **fields})


def field(page: Answer, name: str) -> str:
    """Value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.body)
    assert found is not None, page.body
    return found[1]


class Web:
    """`edge-inspect web` on a station file."""

    def __init__(self, folder: Path, settings: str, environment: Mapping[str, str] | None = None) -> None:
        self.stderr = folder / "web.txt"
        station_file = folder / "web.toml"
        station_file.write_text(settings)
        with self.stderr.open("wb") as log:
            command = [*CLI, "web", "--config", str(station_file)]
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, **(environment or {})})
        self.port = self._port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Client:
        return Client(self.port)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def _port(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := re.search(r"is shown on https?://\S+:(\d+)", self.stderr.read_text()):
                return int(found[1])
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(f"the page is not shown: {self.stderr.read_text()}")


StartWeb = Callable[..., Web]


def settings_of(web: str = "", more: str = "", publish: str = "ipc:///nonexistent/verdicts") -> str:
    """A station file for the page; the page needs neither the bundle nor the camera."""
    return (
        'station = "cell-7"\n[recipes.flange]\nbundle = "bundle"\n[cameras.top]\nkind = "folder"\npath = "in"\n'
        f'[publish]\nbind = "{publish}"\n[web]\nbind = "127.0.0.1:0"\n{web}\n{more}\n'
    )


@pytest.fixture(scope="module")
def start_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartWeb]:
    """`start_web(web="", more="", publish=...)`: a page with those settings, and other tables of the station file.

    Further keywords are variables of its environment.
    """
    started: list[Web] = []

    def start(web: str = "", more: str = "", publish: str = "ipc:///nonexistent/verdicts", **environment: str) -> Web:
        settings = settings_of(web, more, publish)
        started.append(Web(tmp_path_factory.mktemp("web"), settings, environment))
        return started[-1]

    yield start
    for web in started:
        web.process.kill()
        web.process.wait()


@pytest.fixture(scope="module")
def browser(peer: Callable[[str], Path]) -> Iterator[Browser]:
    """Chromium, without a window."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=peer("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


def log_in(page: Page, web: Web, path: str = "/") -> None:
    """Ask for a path, log in as oleg, whom the page asks to first, and be there."""
    page.goto(f"{web.url}{path}")
    page.get_by_label("Name").fill("oleg")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{web.url}{path}")


@pytest.fixture(scope="session")
def users_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users: vera, who looks, and oleg, who operates. Do not change it."""
    from edge.web.users import Role, UserFile

    path = tmp_path_factory.mktemp("users") / "users.json"
    UserFile(path).add("vera", Role.VIEWER, PASSWORD)
    UserFile(path).add("oleg", Role.OPERATOR, PASSWORD)
    return path
