from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.config import parse_config
from engines.errors import ConfigError

STATION: dict[str, Any] = {
    "station": "s",
    "recipes": {"r": {"bundle": "b"}},
    "cameras": {"top": {"kind": "folder", "path": "in"}},
}
TLS = {"certificate": "c.pem", "private_key": "k.pem"}


def parse(**web: object) -> None:
    parse_config({**STATION, "web": web}, Path("/etc"), "station.toml")


@pytest.mark.parametrize("bind", ["127.0.0.1:8080", "127.9.9.9:1", "[::1]:8080", "localhost:0"])
def test_loopback_needs_nothing(bind: str) -> None:
    parse(bind=bind)


@pytest.mark.parametrize("bind", ["0.0.0.0:8080", "[::]:8080", "10.0.0.7:80", "station-3:8080"])
def test_elsewhere_users_and_a_certificate_or_a_confession_are_needed(bind: str) -> None:
    parse(bind=bind, users="u.json", **TLS)
    parse(bind=bind, users="u.json", allow_plain=True)
    with pytest.raises(ConfigError, match=r"name the file of those who may log in in `web\.users`"):
        parse(bind=bind, **TLS)
    with pytest.raises(ConfigError, match="passwords would travel in the clear"):
        parse(bind=bind, users="u.json")


@pytest.mark.parametrize(
    ("web", "message"),
    [
        ({"bind": "127.0.0.1"}, r"`web\.bind`"),
        ({"bind": "127.0.0.1:99999"}, "a port up to 65535"),
        ({"certificate": "c.pem"}, "go together"),
        ({"bind": "http://127.0.0.1:80"}, r"`web\.bind`"),
    ],
)
def test_what_makes_no_sense_is_refused(web: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(**web)
