from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import plc_latency


def test_every_part_has_a_word_and_every_defective_one_a_pulse(peer: Callable[[str], Path]) -> None:
    peer("gcc")
    stamps = plc_latency.measure(parts=10, loaded=False)
    assert (len(stamps.verdict), len(stamps.pulse), len(stamps.length)) == (10, 5, 5)
    assert min(stamps.verdict) > 0


def test_the_table_shows_each_figure_of_each_machine() -> None:
    figures = {what: {"p50": 0.4, "p99": 1.2, "max": 3.0} for what in ("verdict", "pulse", "length")}
    lines = plc_latency.table([{"machine": "quiet", "parts": 1, **figures}]).splitlines()
    assert len(lines) == 4
    assert all(line.endswith("0.40  1.20  3.00") for line in lines[1:])
