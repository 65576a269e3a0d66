from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge.web.users import Role, UserFile
from tests.edge.web.conftest import PASSWORD, Answer, Client, StartWeb, Web, field, settings_of

SECRET = ["/events", "/parts", "/parts/1", "/parts/1/picture.png", "/rejects"]


@pytest.fixture(scope="module")
def web(start_web: StartWeb, users_file: Path) -> Web:
    return start_web(f'users = "{users_file}"')


@pytest.fixture
def client(start_web: StartWeb, users_file: Path) -> Client:
    """Of a page of its own, since failed attempts are counted by address."""
    return start_web(f'users = "{users_file}"').client()


def test_without_users_everybody_looks_and_nobody_logs_in(start_web: StartWeb) -> None:
    client = start_web().client()
    assert client.get("/").status == 200
    assert client.get("/login").status == 404
    assert client.post("/logout", {}).status == 404
    assert client.cookies == {}


def test_nothing_is_shown_to_who_is_not_logged_in(web: Web) -> None:
    client = web.client()
    for path in SECRET:
        answer = client.get(path, Accept="*/*")
        assert (answer.status, answer.body) == (401, "log in first")
    answer = client.get("/parts?part_id=a&camera=top")
    assert (answer.status, answer.headers["location"]) == (303, "/login?next=/parts%3Fpart_id%3Da%26camera%3Dtop")


def test_a_login_opens_the_page_and_a_logout_closes_it(web: Web) -> None:
    client = web.client()
    assert client.log_in(next="/parts").headers["location"] == "/parts"
    page = client.get("/")
    assert page.status == 200
    assert "vera" in page.body
    assert client.post("/logout", {"csrf": field(page, "csrf")}).status == 303
    assert client.get("/").status == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(web: Web) -> None:
    client = web.client()
    client.log_in()
    session = next(line for line in client.set_cookies if line.startswith(f"session-{web.port}="))
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in session.split(";")}


@pytest.mark.parametrize(
    ("name", "password"), [("vera", "wrong password"), ("nobody", PASSWORD), ("", ""), ("'--", "x")]
)
def test_a_wrong_password_or_name_gets_the_same_answer(client: Client, name: str, password: str) -> None:
    answer = client.log_in(name, password)
    assert answer.status == 401
    assert "wrong name or password" in answer.body
    assert f"session-{client.port}" not in client.cookies


def test_guessing_is_slowed_down_also_for_the_right_password(client: Client) -> None:
    answers = [client.log_in("vera", f"guess number {number}") for number in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert client.log_in("vera", PASSWORD).status == 429


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_login_form_of_another_site_is_refused(web: Web, token: str) -> None:
    client = web.client()
    client.get("/login")
    assert client.post("/login", {"token": token, "name": "vera", "password": PASSWORD}).status == 403
    assert f"session-{client.port}" not in client.cookies


def test_a_post_needs_the_token_and_the_origin_of_the_page(web: Web) -> None:
    client = web.client()
    client.log_in()
    csrf = field(client.get("/"), "csrf")
    assert client.post("/logout", {}).status == 403
    assert client.post("/logout", {"csrf": csrf[:-1]}).status == 403
    assert client.post("/logout", {"csrf": csrf}, Origin="http://evil.example").status == 403
    other = web.client()
    other.log_in("oleg")
    assert other.post("/logout", {"csrf": csrf}).status == 403
    assert client.get("/").status == 200
    assert client.post("/logout", {"csrf": csrf}, Origin=f"http://127.0.0.1:{web.port}").status == 303


@pytest.mark.parametrize("token", ["", "forged", "x" * 4000])
def test_a_forged_session_opens_nothing(web: Web, token: str) -> None:
    client = web.client()
    client.cookies[f"session-{web.port}"] = token
    assert client.get("/").status == 303


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "/\nx"])
def test_a_login_leads_nowhere_else(web: Web, path: str) -> None:
    assert web.client().log_in(next=path).headers["location"] == "/"


def test_a_user_who_is_removed_is_out_at_the_next_click(start_web: StartWeb, tmp_path: Path) -> None:
    users = UserFile(tmp_path / "u.json")
    users.add("vera", Role.VIEWER, PASSWORD)
    client = start_web(f'users = "{tmp_path / "u.json"}"').client()
    client.log_in()
    assert client.get("/").status == 200
    users.remove("vera")
    assert client.get("/").status == 303
    (tmp_path / "u.json").write_text("not any more")
    assert client.get("/").status == 303
    assert client.log_in().status == 401


def test_markup_in_what_was_typed_stays_text(web: Web) -> None:
    answer: Answer = web.client().get("/login?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>" not in answer.body


def test_with_a_certificate_the_page_is_encrypted_and_cookies_are_secure(
    start_web: StartWeb, users_file: Path, tmp_path: Path, peer: object
) -> None:
    import ssl
    import urllib.request

    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True)
    web = start_web(f'users = "{users_file}"\ncertificate = "{certificate}"\nprivate_key = "{key}"')
    trusting = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(f"https://127.0.0.1:{web.port}/login", context=trusting, timeout=30) as response:
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith(f"__Host-login-{web.port}=")
        assert "Secure" in cookie
        assert "max-age" in response.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    ("web", "message"),
    [
        ('users = "absent.json"', "edge-inspect web-user add"),
        ('certificate = "absent.pem"\nprivate_key = "absent.pem"', "no certificate and its key"),
        ('key = "absent.key"', "expected a key"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(tmp_path: Path, cli: tuple[str, ...], web: str, message: str) -> None:
    (tmp_path / "station.toml").write_text(settings_of(web))
    command = [*cli, "web", "--config", str(tmp_path / "station.toml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert message in result.stderr.splitlines()[-1]


def test_an_address_in_use_is_said_at_the_start(tmp_path: Path, cli: tuple[str, ...], web: Web) -> None:
    (tmp_path / "station.toml").write_text(settings_of().replace("127.0.0.1:0", f"127.0.0.1:{web.port}"))
    command = [*cli, "web", "--config", str(tmp_path / "station.toml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 2
    assert "cannot listen" in result.stderr


def test_it_ends_when_it_is_asked_to(start_web: StartWeb) -> None:
    assert start_web().end() == 0
