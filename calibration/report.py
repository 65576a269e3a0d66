"""What `edge-inspect calibrate` and `quantise` tell a person."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from calibration.charts import WINDOWS
from calibration.drift import PARTS_TO_FALSE_ALARM
from calibration.guard_fitting import FEWEST_PARTS
from calibration.int8_gate import Evidence, Finding
from calibration.parts import GoodParts, Selection
from calibration.threshold import parts_needed, percent
from engines.bundle import Bundle, Calibration, Escapes, Guard, Parity
from engines.engine import EngineDescription
from engines.registry import open_engine
from engines.tuning import WORTH_IT, frame_rate

_INDENT = " " * 14
_WIDTH = 100


def engine(description: EngineDescription) -> str:
    """Say which engine is calibrated, and why this one."""
    name = f"{description.backend} {description.precision} on {description.device}"
    return _line("engine", f"{name} ({description.reason})")


def calibration(bundle: Bundle, selection: Selection, parts: GoodParts) -> str:
    """Report the bundle's latest calibration: a few labelled lines, the parity table, the next step."""
    calibration = bundle.latest_calibration
    lines = [
        _line("good parts", _used(selection, parts)),
        _line("threshold", _threshold(calibration)),
        _line("certified", calibration.guarantee),
        *_escapes(calibration.escapes),
        _line("golden parts", _golden(calibration)),
        _line("parity", _parity_intro(calibration)),
        *_parity_table(calibration.parity),
        _line("guards", _guards_intro(calibration)),
        *_guards_table(calibration.guards),
    ]
    if not bundle.info.provenance.trained_on:
        lines.append(
            _line(
                "warning",
                "this bundle does not record which photographs were trained on; the threshold is "
                "worth nothing if these were among them",
            )
        )
    return "\n".join([*lines, _line("next", _next_step(bundle, calibration))])


def severity(bundle: Bundle) -> str:
    """Report the severity scale that a bundle has just been given."""
    scale = bundle.info.severity
    if scale is None:
        raise ValueError("the bundle has no severity scale")
    counts = ", ".join(f"{count} {name}" for name, count in scale.labels.items())
    return "\n".join(
        [
            _line("graded parts", counts),
            _line(
                "severity",
                f"concordance index {scale.concordance:.2f}, Kendall's tau-b {scale.tau_b:.2f}, each part graded by a "
                "map fitted to the others; 0.5 and 0 are chance",
            ),
            _line("next", "restart or reload the daemon; a new threshold makes severity uncalibrated again"),
        ]
    )


def gate(evidence: Evidence, selection: Selection, backend: str, ranges: int) -> str:
    """Say what int8 is made from and what it is held to."""
    if evidence.pasted:
        defects = f"{len(evidence.defects)} of them with a patch pasted where it does not belong (no --defects given)"
    else:
        defects = f"{len(evidence.defects)} photographs of defects"
    return "\n".join(
        [
            _line("ranges", f"{ranges} photographs that were trained on"),
            _line("gate", f"{len(evidence.good)} good parts {selection.origin} and {defects}, on {backend}"),
        ]
    )


def tried(finding: Finding) -> str:
    """One setting, and whether it passed."""
    return _line("passed" if finding.passed else "refused", str(finding))


def speed(bundle: Bundle, native: EngineDescription) -> str:
    """How much faster int8 is on this machine than the precision that `auto` takes."""
    rates = []
    for precision in ("int8", native.precision, "int8", native.precision):  # in turns: other work hits both
        with open_engine(bundle, native.backend, precision) as opened:
            rates.append(frame_rate(opened))
    ratio = (rates[0] + rates[2]) / (rates[1] + rates[3])
    verdict = f"{ratio:.2f} times the frames a second of {native.precision} on this machine"
    return _line("speed", verdict if ratio > WORTH_IT else f"{verdict}: not worth it; run {native.precision} here")


def _line(label: str, text: str) -> str:
    # A no-break space, unknown to textwrap, keeps a number and its percent sign on one line.
    unbroken = f"{label:<{len(_INDENT)}}{text}".replace(" %", "\N{NO-BREAK SPACE}%")
    filled = textwrap.fill(unbroken, _WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\N{NO-BREAK SPACE}", " ")


def _used(selection: Selection, parts: GoodParts) -> str:
    count = f"{len(parts)} {selection.origin}"
    repeats = len(parts.repeated)
    return count + (f"; {repeats} more left out as repeats of the same file" if repeats else "")


def _threshold(calibration: Calibration) -> str:
    review = "" if calibration.review_above is None else f", one above {calibration.review_above:.6g} wants review"
    return (
        f"a score above {calibration.threshold:.6g} is NotOK{review}; regions are drawn where the map is above "
        f"{calibration.map_threshold:.6g}"
    )


def _escapes(escapes: Escapes | None) -> list[str]:
    if escapes is None:
        return []
    low, high = escapes.interval
    text = (
        f"{escapes.escaped} of {escapes.parts} labelled defects pass; for defects like these the share lies between "
        f"{percent(low)} and {percent(high)} with 95 % confidence"
    )
    if escapes.cheapest is not None:
        text += (
            f"; where an escape costs {escapes.escape_cost:g} false rejects and {percent(escapes.defect_rate or 0)} of "
            f"parts are defective, {escapes.cheapest:.6g} would cost least and let {escapes.escaped_at_cheapest} pass "
            "(every second defect chose it, the others are counted)"
        )
    return [_line("escapes", text)]


def _golden(calibration: Calibration) -> str:
    return (
        f"{len(calibration.golden)} kept in the bundle; the daemon arms only if the engine reproduces their scores "
        f"within {calibration.golden_tolerance:.3g}"
    )


def _parity_intro(calibration: Calibration) -> str:
    if not calibration.parity:
        return "the reference, float32 ONNX Runtime, is the only engine of this machine"
    row = calibration.parity[0]
    return (
        f"largest errors against {row.reference} on these {row.images} parts, whose scores spread by "
        f"{row.score_spread:.3g} (standard deviation); a flip is a part whose verdict differs at this threshold, "
        "where the part that set it lies itself"
    )


def _parity_table(rows: Sequence[Parity]) -> list[str]:
    if not rows:
        return []
    header = f"{_INDENT}{'engine':<18}{'score':>10}{'of spread':>11}{'map':>10}{'flips':>7}"
    return [header, *(_parity_row(row) for row in rows)]


def _parity_row(row: Parity) -> str:
    name = f"{row.backend} {row.precision}"
    if sys.float_info.max in (row.max_score_error, row.max_map_error):
        return f"{_INDENT}{name:<18}overflows: its scores are not finite, do not run it"
    share = percent(row.max_score_error / row.score_spread) if row.score_spread else "-"
    errors = f"{row.max_score_error:>10.2g}{share:>11}{row.max_map_error:>10.2g}"
    return f"{_INDENT}{name:<18}{errors}{row.verdict_flips:>7}"


def _guards_intro(calibration: Calibration) -> str:
    if not calibration.guards:
        return f"none: they take {FEWEST_PARTS} good parts"
    stops = sum(guard.false_alarm_rate for guard in calibration.guards if guard.armed)
    rejected = percent(calibration.certified_rate)
    return (
        f"make at most {percent(stops)} of good parts NotDecidable, together, beside the {rejected} rejected by the "
        "score; seen is the share of these parts caught by one picture when disturbed as named; where that lasts, "
        f"means of up to {WINDOWS[-1]} parts stop the line after so many at most, 95 times in 100, and falsely once in "
        f"{PARTS_TO_FALSE_ALARM:,} good parts in random order"
    )


def _guards_table(guards: Sequence[Guard]) -> list[str]:
    return [
        f"{_INDENT}{guard.name:<15}{'' if guard.armed else 'off, '}sees {guard.seen:.0%} of "
        f"{guard.disturbance}{_chart(guard)}"
        for guard in guards
    ]


def _chart(guard: Guard) -> str:
    if guard.chart is None:
        return ""
    parts = guard.chart.stops_within
    return f"; lasting: {parts} parts" if parts else "; lasting: not told"


def _next_step(bundle: Bundle, calibration: Calibration) -> str:
    needed = parts_needed(calibration.false_reject_rate, calibration.confidence)
    missing = needed - (calibration.lots or calibration.parts)
    run = f"name {bundle.path} in a station file and start the daemon: edge-inspect run --config station.toml"
    if missing <= 0:
        return run
    unit = "lots" if calibration.lots else "good parts"
    return f"{run}; when {missing} more {unit} are photographed, calibrate again with all of them"
