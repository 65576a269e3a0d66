from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from edge.archive.store import ArchiveStore
from edge.verdict import Evaluation
from edge.web.part_pages import _FIELDS, FieldError, query_of
from tests.edge.archive.parts import entry, moment
from tests.edge.web.conftest import Client, StartWeb

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """An archive of 30 rejects, an OK part without picture and one with a hostile name, oldest first."""
    folder = tmp_path_factory.mktemp("archive")
    ok = {"evaluation": Evaluation.OK, "score": 0.5, "reason": ""}
    with ArchiveStore(folder) as store:
        rejects = store.add([entry(second, second, part_id=f"part-{second}") for second in range(30)])
        passed = store.add([entry(40, part_id="good", **ok)])
        hostile = store.add([entry(50, part_id=HOSTILE, reason=HOSTILE, camera="side")])
    return folder, [*rejects, *passed, *hostile]


@pytest.fixture(scope="module")
def client(start_web: StartWeb, keys: tuple[Path, list[int]]) -> Client:
    return start_web(more=f'[archive]\nfolder = "{keys[0]}"').client()


def found(client: Client, search: str) -> list[int]:
    import re

    answer = client.get(f"/parts?{search}")
    assert answer.status == 200, answer.body
    return [int(key) for key in re.findall(r'class="card" href="/parts/(\d+)"', answer.body)]


def test_parts_are_found_by_id_verdict_camera_score_and_time(client: Client, keys: tuple[Path, list[int]]) -> None:
    every = keys[1]
    assert found(client, "part_id=part-7") == [every[7]]
    assert found(client, "part_id=part") == []
    assert found(client, "evaluation=OK") == [every[30]]
    assert found(client, "camera=side") == [every[31]]
    assert found(client, "max_score=1") == [every[30]]
    assert found(client, "product=Flange&max_score=0,9") == [every[30]]
    since, until = (moment(second).astimezone().strftime("%Y-%m-%dT%H:%M:%S") for second in (3, 5))
    assert found(client, f"since={since}&until={until}") == [every[5], every[4], every[3]]


def test_a_long_list_goes_on_with_older_parts(client: Client, keys: tuple[Path, list[int]]) -> None:
    import re
    from html import unescape

    first = found(client, "evaluation=NotOK")
    link = re.search(r'href="/parts\?([^"]*)" rel="next"', client.get("/parts?evaluation=NotOK").body)
    assert link is not None
    rest = found(client, unescape(link[1]))
    assert [*first, *rest] == [keys[1][31], *reversed(keys[1][:30])]


def test_a_part_and_its_pictures(client: Client, keys: tuple[Path, list[int]]) -> None:
    key = keys[1][7]
    page = client.get(f"/parts/{key}")
    assert page.status == 200
    assert "part-7" in page.body
    assert "score 2 is above the threshold 1" in page.body
    for name, kind in (("picture.png", "image/png"), ("map.png", "image/png"), ("thumbnail.jpg", "image/jpeg")):
        answer = client.get(f"/parts/{key}/{name}")
        assert (answer.status, answer.headers["content-type"]) == (200, kind)


def test_markup_in_a_part_id_is_shown_as_text(client: Client, keys: tuple[Path, list[int]]) -> None:
    for path in ("/parts", f"/parts/{keys[1][31]}"):
        body = client.get(path).body
        assert "&lt;script&gt;alert(2)" in body
        assert "<script>" not in body
        assert "<img src=x" not in body
    (card, *_) = json.loads(client.get("/rejects").body)
    assert (card["name"], card["key"]) == (HOSTILE, keys[1][31])


@pytest.mark.parametrize("key", ["0", "9007199254740991", "9007199254740992", "9" * 40])
def test_a_part_that_is_not_there(client: Client, key: str) -> None:
    assert client.get(f"/parts/{key}").status == 404
    assert client.get(f"/parts/{key}/picture.png").status == 404
    assert client.get(f"/parts/{key}/thumbnail.jpg").status == 404


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("since=yesterday", "from: expected a time"),
        ("until=0001-01-01", "to: expected a time"),
        ("min_score=much", "score from: expected a number"),
        ("evaluation=Good", "verdict: expected one of OK, NotOK, NotDecidable"),
        ("before=-1", "before: expected the number"),
        ("before=" + "9" * 30, "before: expected the number"),
    ],
)
def test_a_search_that_makes_no_sense_says_so(client: Client, search: str, message: str) -> None:
    answer = client.get(f"/parts?{search}")
    assert answer.status == 400
    assert message in answer.body


def test_a_station_without_an_archive_says_so(start_web: StartWeb, tmp_path: Path) -> None:
    assert "keeps no archive" in start_web().client().get("/parts").body
    client = start_web(more=f'[archive]\nfolder = "{tmp_path / "later"}"').client()
    answer = client.get("/parts")
    assert answer.status == 503
    assert "expected the index of an archive" in answer.body
    with ArchiveStore(tmp_path / "later") as store:
        store.add([entry()])
    assert client.get("/parts").status == 200


def test_a_time_is_the_stations_own() -> None:
    empty = dict.fromkeys(_FIELDS, "")
    assert query_of({**empty, "since": "2026-03-01T07:00"}).since == datetime(2026, 3, 1, 7).astimezone()
    with pytest.raises(FieldError):
        query_of({**empty, "since": "9" * 30})
