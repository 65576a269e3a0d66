"""The benchmark on few draws, and its page against the rows that it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import bench_false_rejects as bench
from benchmarks.false_rejects_plot import plot
from benchmarks.machine import REPOSITORY
from benchmarks.results import format_table
from engines.errors import WeightsError

DOCS = REPOSITORY / "docs"
KEYS = {"law", "n", "target", "method", "realised_mean", "realised_p95", "promise_kept"}


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return json.loads((DOCS / "calibration" / "false-rejects.json").read_text())


def test_what_we_offer_keeps_its_promise_and_what_we_do_not_breaks_it() -> None:
    found = [*bench.simulated(200), *bench.lot_rows(100)]
    assert all(row.keys() >= KEYS for row in found)
    offered = {bench.CONFORMAL, bench.TOLERANCE, bench.ESTIMATE, bench.BY_LOT}
    assert all(row["promise_kept"] for row in found if row["method"] in offered)
    broken = [row for row in found if row["method"] == bench.SIGMA and row["law"] not in ("normal", "uniform")]
    assert sum(not row["promise_kept"] for row in broken) > len(broken) / 2
    assert not all(row["promise_kept"] for row in found if row["method"] == bench.LOTS_IGNORED)


def test_real_sets_are_resampled_and_absent_ones_left_out(
    part_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("SETTINGS", ()), ("LOT_SETTINGS", ()), ("TRAINED_ON", 4), ("REAL_SETTINGS", ((6, 0.2),))):
        monkeypatch.setattr(bench, name, value)
    options = [
        "--quick",
        "--weights",
        "random",
        "--json",
        str(tmp_path / "rows.json"),
        "--plot",
        str(tmp_path / "p.svg"),
    ]
    assert bench.main([*options, "--data", str(part_photos), str(tmp_path / "absent")]) == 0
    assert f"left out: absent, which is not at {tmp_path}" in capsys.readouterr().out
    found = json.loads((tmp_path / "rows.json").read_text())
    laws = {f"{part_photos.name}, resampled", f"{part_photos.name}, its test/good"}
    assert {row["law"] for row in found} == laws
    resampled = [row for row in found if row["law"].endswith("resampled") and row["method"] == bench.CONFORMAL]
    assert [row["promise_kept"] for row in resampled] == [True]
    assert (tmp_path / "p.svg").read_text().startswith("<svg")


def test_training_in_folds_is_rows_of_its_own(
    part_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FOLD_PARTS", 6), ("FOLD_FRESH", 18), ("FOLDS", 2), ("FOLD_TARGET", 0.2)):
        monkeypatch.setattr(bench, name, value)
    options = [
        "--folds",
        "1",
        "--recipe",
        "paper",
        "--epochs",
        "1",
        "--weights",
        "random",
        "--json",
        str(tmp_path / "rows.json"),
    ]
    assert bench.main([*options, "--data", str(part_photos)]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["method"] for row in rows] == [bench.OUT_OF_FOLD, bench.NOT_ALIGNED]
    assert {row["law"] for row in rows} == {f"{part_photos.name}, recipe paper, 1 epochs"}
    assert [row["promise"] for row in rows] == pytest.approx([1 / 7] * 2)
    assert all(0 <= row["realised_mean"] <= 1 for row in rows)


def test_without_weights_the_simulations_still_count(
    part_photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_found(*_: object) -> None:
        raise WeightsError("no weights for resnet18")

    monkeypatch.setattr(bench, "SETTINGS", ((24, 0.05),))
    monkeypatch.setattr(bench, "LOT_SETTINGS", ())
    monkeypatch.setattr(bench, "real_scores", none_found)
    monkeypatch.setattr(bench, "_weights", lambda folder: None)
    options = ["--quick", "--json", str(tmp_path / "rows.json"), "--data", str(part_photos)]
    assert bench.main(options) == 0
    assert "left out: the real sets, whose scores take a backbone (no weights" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 24
    assert bench.main([*options, "--weights", "absent.pth"]) == 2


def test_the_page_shows_the_rows(rows: list[dict]) -> None:
    page = (DOCS / "calibration.md").read_text(encoding="utf-8")
    real = [row for row in rows if any(row["law"].startswith(name) for name in bench.SETS)]
    simulated = [row for row in rows if row not in real]
    assert format_table(*bench.summary(simulated), markdown=True) in page
    offered = [row for row in real if row["method"] in (bench.CONFORMAL, bench.ESTIMATE)]
    assert format_table(*bench.details(offered), markdown=True) in page
    assert (DOCS / "calibration" / "false-rejects.svg").read_text() == plot(rows)


def test_the_promise_was_kept_in_every_simulation_and_where_real_parts_are_exchangeable(rows: list[dict]) -> None:
    for row in rows:
        offered = row["method"] in (bench.CONFORMAL, bench.TOLERANCE, bench.ESTIMATE, bench.BY_LOT)
        if offered and not row["law"].endswith("test/good"):
            assert row["promise_kept"], row


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_a_file_that_cannot_be_written_is_named(
    option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SETTINGS", "LOT_SETTINGS"):
        monkeypatch.setattr(bench, name, ())
    assert bench.main(["--quick", option, "/nowhere/rows", "--data"]) == 2
    assert "/nowhere/rows: cannot be written" in capsys.readouterr().err
