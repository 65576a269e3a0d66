from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak_cameras import holds, main
from engines.bundle import Bundle

KEPT = {"frames": 9, "verdicts": 9, "not_decidable": 0, "dropped": {}, "growth_mib": 1.0}


def test_every_part_of_two_cameras_has_its_verdict(
    tmp_path: Path, calibrated_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--minutes", "0.03", "--fps", "5", "--bundle", str(calibrated_bundle.path)])
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[:8])
    assert said["frames"] == said["verdicts"]
    assert said["dropped"] == "{}"
    # The pictures are not the bundle's product: its guards may call them NotDecidable.
    assert code in (0, 1)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"verdicts": 8}, False),
        ({"not_decidable": 1}, False),
        ({"dropped": {"newer frame": 1}}, False),
        ({"growth_mib": 17.0}, False),
        ({"frames": 0, "verdicts": 0}, False),
    ],
)
def test_one_broken_promise_is_a_failure(change: dict[str, object], kept: bool) -> None:
    assert holds({**KEPT, **change}) is kept
