"""The calibration's page: what was promised, on which scores, and the parts that put it to the test."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from itertools import groupby

import numpy as np

from calibration.binomial import proportion_interval
from calibration.charts import WINDOWS
from calibration.drift import PARTS_TO_FALSE_ALARM
from calibration.evidence import GOOD, Evidence, Picture
from calibration.threshold import percent
from engines.bundle import Calibration, Guard, Parity, Provenance
from engines.page.charts import Lane, Limits, colour_bar, histogram_chart, loss_chart, score_meter
from engines.page.document import document, embedded, facts, table, tile_row
from engines.page.heat import outlined, overlaid

_METHODS = {
    "conformal": "conformal rule: certified on average over calibrations",
    "tolerance": "tolerance limit: certified for this very threshold",
    "tail": "estimate from the tail of the scores: not certified at the target",
}
# A test of the conformal rule holds the figure.
_SIGMA = (
    "A threshold at the mean plus three standard deviations is not offered. It is right only where scores follow the "
    "bell curve, and the largest of many patch scores does not: for a target of 0.1 % on log-normal scores of 1000 "
    "parts it rejected more than ten times as many good parts, and more parts do not mend it."
)


def render(evidence: Evidence) -> str:
    """Write the whole page. It refers to nothing outside itself."""
    product = escape(evidence.bundle.info.product)
    body = "\n".join(
        [
            f"<h1>{product}: what its threshold promises</h1>",
            _introduction(evidence),
            _banner(evidence),
            _tiles(evidence),
            _promise(evidence),
            _scores(evidence),
            _counts(evidence),
            _guards(evidence.calibration),
            _gallery(evidence),
            _engines(evidence),
            _training(evidence.bundle.info.provenance),
            '<h2>Where this comes from</h2><div class="panel facts">'
            f"{facts(evidence.bundle.info, evidence.calibration, evidence.engine, evidence.bundle.digest)}</div>",
        ]
    )
    return document(f"Edge Inspect: {product}", body.replace(" %", "\N{NO-BREAK SPACE}%"))


def _introduction(evidence: Evidence) -> str:
    calibration = evidence.calibration
    lots = f" of {calibration.lots} lots" if calibration.lots else ""
    fresh = "no further photographs were named, so nothing here says what escapes"
    if evidence.data:
        good, bad = len(evidence.scores(good=True)), len(evidence.scores(good=False))
        fresh = f"{good} good and {bad} defective photographs of {escape(str(evidence.data))} put it to the test"
    unseen = "that the network was not trained on"
    if calibration.folds:
        unseen = f"each scored by one of {calibration.folds} heads that was trained without it,"
    return (
        f"<p>{calibration.parts} good parts{lots} {unseen} set the threshold of "
        f"{escape(calibration.backend)} {escape(calibration.precision)}; {fresh}.</p>"
    )


def _banner(evidence: Evidence) -> str:
    if not evidence.bundle.info.backbone.weights_source.startswith("random, seed"):
        return ""
    return (
        '<div class="banner"><b>Random backbone.</b> The features come from a network that was never trained; what '
        "this page says of defects is worth nothing.</div>"
    )


def _tiles(evidence: Evidence) -> str:
    calibration = evidence.calibration
    sure = f", {percent(calibration.confidence)} sure" if calibration.confidence else ", on average"
    reached = calibration.certified_rate <= calibration.false_reject_rate and calibration.folds is None
    whose = "certified by" if calibration.folds is None else "expected, not certified, from out-of-fold scores of"
    counted = f"{calibration.lots} lots" if calibration.lots else f"{calibration.parts} good parts"
    tiles = [
        (
            "",
            f"{calibration.threshold:.4g}",
            f"threshold: NotOK above; target {percent(calibration.false_reject_rate)}",
        ),
        ("ok" if reached else "warn", percent(calibration.certified_rate), f"{whose} {counted}{sure}"),
    ]
    for good, label in ((True, "false rejects"), (False, "escapes")):
        if scores := evidence.scores(good).tolist():
            wrong = sum((score > calibration.threshold) is good for score in scores)
            low, high = proportion_interval(wrong, len(scores))
            mood = "bad" if wrong else "ok"
            between = f"95 % interval {percent(low)} to {percent(high)}"
            tiles.append((mood, f"{wrong} of {len(scores)}", f"{label} on the photographs; {between}"))
    return tile_row(tiles)


def _promise(evidence: Evidence) -> str:
    calibration = evidence.calibration
    rows = [("rule", _METHODS[calibration.method]), ("promise", calibration.guarantee)]
    if calibration.interval:
        low, high = calibration.interval
        rows.append(("interval", f"{low:.5g} to {high:.5g}: 95 % of the thresholds from other parts like these"))
    if calibration.review_above is not None:
        between = f"above {calibration.review_above:.5g} and up to {calibration.threshold:.5g}"
        rows.append(("review", f"parts that score {between} pass, marked for a person to look at"))
    if calibration.escapes:
        counted = calibration.escapes
        share = f"{percent(counted.interval[0])} to {percent(counted.interval[1])}"
        rows.append(("defects", f"{counted.escaped} of {counted.parts} labelled ones passed; their share is {share}"))
    rows.append(("not offered", f"{_SIGMA}{_sigma_here(calibration)}"))
    cells = [(name, escape(text)) for name, text in rows]
    return f'<h2>What is certified</h2><div class="panel facts">{table(("", ""), cells)}</div>'


def _sigma_here(calibration: Calibration) -> str:
    if len(calibration.scores) < 2:
        return ""
    scores = np.asarray(calibration.scores)
    level = float(scores.mean() + 3 * scores.std(ddof=1))
    above = int(np.sum(scores > level))
    return (
        f" Here it would lie at {level:.4g}, below {above} of the {len(scores)} calibrated parts"
        f" ({percent(above / len(scores))}, where the bell curve has 0.135 %)."
    )


def _scores(evidence: Evidence) -> str:
    calibration = evidence.calibration
    lanes = [Lane("calibration", calibration.scores, GOOD)] if calibration.scores else []
    for good, name, kind in ((True, "good", "good"), (False, "defective", "defective")):
        if scores := evidence.scores(good).tolist():
            lanes.append(Lane(name, scores, kind))
    if not lanes:
        return "<h2>Scores</h2><p>This bundle was calibrated before scores were kept; calibrate it again.</p>"
    chart = histogram_chart(lanes, Limits(calibration.threshold, calibration.review_above, calibration.interval))
    return (
        f'<h2>Scores</h2><div class="panel">{chart}<p class="soft small">Bars are as high as their share of the '
        "lane's tallest. Red: rejected. Amber: passes, to be reviewed. The thick line at the top is the interval of "
        "the threshold.</p></div>"
    )


def _counts(evidence: Evidence) -> str:
    if not evidence.parts:
        return ""
    rows = []
    for kind in sorted({part.kind for part in evidence.parts}, key=lambda kind: (kind != GOOD, kind)):
        scores = [part.score for part in evidence.parts if part.kind == kind]
        rejected = sum(score > evidence.calibration.threshold for score in scores)
        wrong = rejected if kind == GOOD else len(scores) - rejected
        low, high = proportion_interval(wrong, len(scores))
        cells = (str(len(scores)), str(rejected), str(len(scores) - rejected), f"{percent(low)} to {percent(high)}")
        rows.append((escape(kind.replace("_", " ")), *cells))
    head = ("kind", "parts", "rejected", "passed", "wrong verdicts, 95 % interval")
    note = "Good photographs that set the threshold themselves are no test of it: judge false rejects by others."
    return f'<h2>By kind</h2><div class="panel">{table(head, rows)}<p class="soft small">{note}</p></div>'


def _guards(calibration: Calibration) -> str:
    if not calibration.guards:
        return ""
    rows = [
        (
            guard.name.replace("_", " "),
            "armed" if guard.armed else "off: blind to it in one picture",
            f"{guard.limit:.3g}",
            percent(guard.false_alarm_rate),
            f"{percent(guard.seen)} of {guard.disturbance}",
            _chart(guard),
        )
        for guard in calibration.guards
    ]
    head = ("guard", "state", "limit", "false alarms, at most", "seen by one picture", "stopped where it stays")
    stops = percent(sum(guard.false_alarm_rate for guard in calibration.guards if guard.armed))
    rejected = percent(calibration.certified_rate)
    note = (
        f"A part that trips an armed guard is NotDecidable. Together they stop at most {stops} of good parts, beside "
        f"the {rejected} that the score rejects. What they see was tried on these good parts, disturbed as named. What "
        "stays also shows in the mean of the last parts, which then stops all of them until it is over: 95 times in "
        f"100 within so many parts, and of good ones in random order falsely once in {PARTS_TO_FALSE_ALARM:,} parts."
    )
    return f'<h2>Guards</h2><div class="panel">{table(head, rows)}<p class="soft small">{note}</p></div>'


def _chart(guard: Guard) -> str:
    if guard.chart is None:
        return ""
    parts = guard.chart.stops_within
    return f"within {parts} parts" if parts else f"not by the mean of {WINDOWS[-1]} parts, either"


def _gallery(evidence: Evidence) -> str:
    from_where = "Golden parts of the bundle" if evidence.data is None else "Good parts with the highest scores"
    sections = [
        f'<h2>Heat maps</h2><div class="panel key">{colour_bar()}<span><i class="found"></i>above the map\'s '
        f'threshold</span>{_truth_key(evidence)}<span class="soft small">One scale for every picture: the same colour '
        "is the same value; it turns yellow at the threshold for regions.</span></div>",
        _pictures(from_where, evidence.worst_good, evidence),
    ]
    if evidence.every:
        for kind, shown in groupby(evidence.shown_bad, key=lambda picture: picture.kind):
            title = f"{escape(kind.replace('_', ' '))}, lowest scores first"
            sections.append(_pictures(title, list(shown), evidence))
    elif evidence.shown_bad:
        sections.append(_pictures("Defective parts with the lowest scores", evidence.shown_bad, evidence))
    return "".join(sections)


def _truth_key(evidence: Evidence) -> str:
    known = any(picture.mask is not None for picture in evidence.shown_bad)
    return '<span><i class="truth"></i>the true defect</span>' if known else ""


def _pictures(title: str, pictures: Sequence[Picture], evidence: Evidence) -> str:
    cards = "".join(_card(picture, evidence) for picture in pictures)
    return f'<h3>{title}</h3><div class="parts">{cards}</div>'


def _card(picture: Picture, evidence: Evidence) -> str:
    limit = evidence.calibration.threshold
    rejected = picture.score > limit
    wrong = rejected is (picture.kind == GOOD)
    name = escape(picture.name)
    label = escape(f"{picture.name}, {picture.kind.replace('_', ' ')}, score {picture.score:.4g}")
    plain = picture.image if picture.mask is None else outlined(picture.image, picture.mask)
    heat = overlaid(picture.image, picture.position, picture.mask)
    shown = f'<img src="{embedded(plain)}" alt="{label}"><img src="{embedded(heat)}" alt="heat map of {label}">'
    badge = f'<span class="badge {"bad" if rejected else "ok"}">{"NotOK" if rejected else "OK"}</span>'
    scores = [*evidence.calibration.scores, *(part.score for part in evidence.parts), picture.score, limit]
    return (
        f'<article class="part{" wrong" if wrong else ""}"><div class="pair even">{shown}</div><div class="about">'
        f'<div class="line"><b>{name}</b>{badge}</div>{score_meter(picture.score, limit, min(scores), max(scores))}'
        f'<div class="line small soft"><span>{escape(picture.kind.replace("_", " "))}</span>'
        f"<span>score {picture.score:.4g}, limit {limit:.4g}</span></div></div></article>"
    )


def _engines(evidence: Evidence) -> str:
    calibration = evidence.calibration
    columns = []
    if calibration.parity:
        head = ("engine", "score error", "of spread", "map error", "flips")
        rows = [_parity_row(row) for row in calibration.parity]
        first = calibration.parity[0]
        note = (
            f"Largest errors against {first.reference} on {first.images} good parts. A flip is a part whose verdict "
            "differs; the part that set the threshold lies on it."
        )
        columns.append(_column("Parity of engines", table(head, rows), note))
    if evidence.times:
        rows = [
            (stage, *(f"{value:.2f}" for value in (np.median(times), np.percentile(times, 95), max(times))))
            for stage, times in evidence.times.items()
        ]
        note = f"One part at a time on this machine, {len(evidence.parts)} parts, with reading left out."
        columns.append(_column("Timing", table(("stage, ms", "median", "95 %", "slowest"), rows), note))
    return f'<div class="columns">{"".join(columns)}</div>'


def _training(trained: Provenance) -> str:
    if not trained.losses:
        return ""
    note = (
        "Mean loss of the photographs trained on, by epoch; the last epoch is the one that runs. A loss says that "
        "training went well, not how well defects are found."
    )
    chart = loss_chart(trained.losses)
    return f'<h2>Training</h2><div class="panel">{chart}<p class="soft small">{note}</p></div>'


def _column(title: str, content: str, note: str) -> str:
    return f'<div><h2>{title}</h2><div class="panel">{content}<p class="soft small">{escape(note)}</p></div></div>'


def _parity_row(row: Parity) -> tuple[str, ...]:
    name = escape(f"{row.backend} {row.precision}")
    if sys.float_info.max in (row.max_score_error, row.max_map_error):
        return (name, "overflows", "-", "-", "-")
    share = percent(row.max_score_error / row.score_spread) if row.score_spread else "-"
    return (name, f"{row.max_score_error:.2g}", share, f"{row.max_map_error:.2g}", str(row.verdict_flips))
