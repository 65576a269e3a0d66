from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.belt import Part, Pictures
from benchmarks.chaos_line import explained, holds, run
from benchmarks.gateway_journal import Journal
from benchmarks.known_parts import check, copied
from benchmarks.plc_program import PlcError, build
from engines.bundle import Bundle
from engines.errors import DataError
from tests.conftest import missing


def test_no_bad_part_passes_and_every_false_reject_is_explained(
    tmp_path: Path, calibrated_bundle: Bundle, part_photos: Path, peer: Callable[[str], Path]
) -> None:
    peer("gcc")
    try:
        build(tmp_path)
    except PlcError as error:
        missing(str(error))
    pictures = known(calibrated_bundle, part_photos, tmp_path)
    result = run(tmp_path, calibrated_bundle.path, pictures, parts=60)
    assert holds(result), {key: value for key, value in result.items() if key != "faults"}
    assert result["bad"] > 0
    assert {fault["what"].partition(":")[0] for fault in result["faults"]} == {"vision", "gateway", "plc"}


def known(bundle: Bundle, photos: Path, folder: Path) -> Pictures:
    pictures = Pictures(copied(folder, photos / "test" / "good"), copied(folder, photos / "test" / "scratch"))
    check(bundle, pictures)
    return pictures


def test_pictures_that_are_judged_otherwise_are_refused(calibrated_bundle: Bundle, part_photos: Path) -> None:
    good = list((part_photos / "test" / "good").iterdir())
    with pytest.raises(DataError, match="expected a bad part in"):
        check(calibrated_bundle, Pictures(good[:1], good[:1]))


FAULT = '{"event":"fault","fault":"gap","began":%s,"reason":"","monotonic":%s}\n'


@pytest.mark.parametrize(
    ("log", "outages", "found"),
    [
        ("", [], {}),
        (FAULT % ("true", 10.5) + FAULT % ("false", 10.6), [], {5: "gateway's log"}),
        (FAULT % ("true", 8.0) + FAULT % ("false", 9.9), [], {}),
        (FAULT % ("true", 8.0), [], {5: "gateway's log"}),
        (FAULT % ("true", 11.1), [], {}),
        (FAULT % ("true", 8.0) + '{"event":"fa', [], {5: "gateway's log"}),
        ("", [(10.9, 12.0)], {5: "log of restarts"}),
        ("", [(1.0, 2.0)], {}),
        (
            '{"event":"ruling","number":5,"evaluation":"NotDecidable","reason":"late","monotonic":1}\n',
            [],
            {5: "gateway's log"},
        ),
        ('{"event":"ruling","number":5,"evaluation":"NotOK","reason":"score","monotonic":1}\n', [], {}),
    ],
)
def test_a_false_reject_is_explained_only_by_a_fault_of_its_time(
    tmp_path: Path, log: str, outages: list[tuple[float, float]], found: dict[int, str]
) -> None:
    (tmp_path / "log").write_text(log)
    part = Part(number=5, bad=False, sensed_at=10.0, sorted_at=11.0)
    assert explained([part], Journal(tmp_path / "log"), outages) == found


@pytest.mark.parametrize(
    ("change", "kept"),
    [({}, True), ({"bad_passed": 1}, False), ({"false_rejects": 4}, False), ({"recovered": False}, False)],
)
def test_one_broken_promise_is_a_failure(change: dict[str, object], kept: bool) -> None:
    assert (
        holds({"bad_passed": 0, "false_rejects": 3, "false_rejects_explained": 3, "recovered": True, **change}) is kept
    )
