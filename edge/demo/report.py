"""The demo's report: one HTML file that needs nothing else, with a heat map of every part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from edge.verdict import Evaluation, Verdict
from engines.bundle import BundleInfo, Calibration
from engines.engine import EngineDescription
from engines.page.charts import Dot, colour_bar, score_chart, score_meter, stage_chart
from engines.page.document import document, embedded, facts, table, tile_row
from engines.page.heat import Scale, in_frame, outlined, overlaid

_STAGES = ("capture", "queue", "preprocess", "infer", "decide", "publish")
_METRICS = {
    "image_auroc": "I-AUROC",
    "image_ap": "I-AP",
    "escape_at_1pct_fr": "escapes at 1 % false rejects",
    "pixel_auroc": "P-AUROC",
    "pixel_ap": "P-AP",
    "aupro": "AUPRO@0.3",
    "n_good": "good parts",
    "n_defect": "defective parts",
}
_BADGES = {Evaluation.OK: "ok", Evaluation.NOT_OK: "bad", Evaluation.NOT_DECIDABLE: "warn"}


@dataclass(frozen=True)
class Judged:
    """One fresh part: what it is, what the daemon said of it, and why.

    `picture` BGR uint8 `(H, W, 3)`, `mask` uint8 `(H, W)` of the true defect, `anomaly_map` float32 `(S, S)`;
    `truth` is the defect's name, None for a good part.
    """

    name: str
    truth: str | None
    verdict: Verdict
    picture: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]

    @property
    def accepted(self) -> bool:
        """Whether the part goes on down the line: only OK does, NotDecidable is rejected."""
        return self.verdict.evaluation is Evaluation.OK

    @property
    def mistake(self) -> str:
        """`escape`, `false reject`, or nothing."""
        if self.accepted:
            return "escape" if self.truth else ""
        return "" if self.truth else "false reject"


@dataclass(frozen=True)
class Story:
    """All that one report tells. `metrics` are those of `edge-inspect evaluate`; `seconds` is the time of each step."""

    kind: str
    parts: tuple[Judged, ...]
    info: BundleInfo
    calibration: Calibration
    engine: EngineDescription
    bundle_digest: str
    scale: Scale
    metrics: Mapping[str, float | int | str | None]
    seconds: Mapping[str, float]

    @property
    def random_backbone(self) -> bool:
        """Whether the backbone was never trained."""
        return self.info.backbone.weights_source.startswith("random, seed")

    def count(self, mistake: str) -> int:
        """How many parts were judged wrongly in this way."""
        return sum(part.mistake == mistake for part in self.parts)


def render_report(story: Story) -> str:
    """Write the whole page. It refers to nothing outside itself."""
    title = f"{len(story.parts)} fresh {escape(story.kind)} parts, judged"
    body = "\n".join(
        [
            f"<h1>{title}</h1>",
            _introduction(story),
            _banner(story),
            _tiles(story),
            _scores(story),
            _tables(story),
            _gallery(story),
            _timing(story),
            _provenance(story),
        ]
    )
    return document(f"Edge Inspect demo: {title}", body)


def _introduction(story: Story) -> str:
    return (
        f"<p>A network learned from {story.info.provenance.images} photographs of good parts what normal looks like. "
        f"Then a line dropped {len(story.parts)} parts it had never seen into the daemon's folder, one by one, and a "
        "subscriber in another process wrote down the verdicts. This page compares them with the truth.</p>"
        '<p class="soft">The photographs are drawn by code. The figures show that the parts of the software work '
        "together; they say nothing about your parts.</p>"
    )


def _banner(story: Story) -> str:
    if not story.random_backbone:
        return ""
    return (
        '<div class="banner"><b>Random backbone.</b> No ImageNet weights could be had, so the features come from a '
        "network that was never trained. Detection is much weaker than it would be with weights, and most defects "
        "escape. Name a weights file in <code>EDGE_INSPECT_WEIGHTS</code> and run the demo again.</div>"
    )


def _tiles(story: Story) -> str:
    totals = [part.verdict.stage_ms.total for part in story.parts]
    defective = sum(part.truth is not None for part in story.parts)
    good = len(story.parts) - defective
    escapes, rejects = story.count("escape"), story.count("false reject")
    tiles = [
        ("", str(len(story.parts)), f"parts judged: {good} good, {defective} defective"),
        ("bad" if escapes else "ok", f"{escapes}", f"escapes of {defective} defective parts"),
        ("bad" if rejects else "ok", f"{rejects}", f"false rejects of {good} good parts"),
        ("", f"{np.median(totals):.1f} ms", f"from file to verdict, middle part; slowest {max(totals):.1f} ms"),
        ("", f"{story.calibration.certified_rate:.1%}", f"false rejects certified by {story.calibration.parts} parts"),
        ("", escape(story.engine.precision), f"{escape(story.engine.backend)}, {escape(story.engine.device)}"),
    ]
    return tile_row(tiles)


def _scores(story: Story) -> str:
    dots = [
        Dot(part.verdict.score, int(part.truth is not None), bool(part.mistake), _label(part), _anchor(index))
        for index, part in enumerate(story.parts)
        if part.verdict.score is not None
    ]
    chart = score_chart(dots, story.calibration.threshold) if dots else "<p>No part has a score.</p>"
    return (
        f'<h2>Scores</h2><div class="panel">{chart}<p class="soft small">One dot a part; a ring marks a wrong '
        "verdict; a dot leads to its pictures. The threshold was set from good parts alone, before these parts "
        "were drawn.</p></div>"
    )


def _tables(story: Story) -> str:
    names = sorted({part.truth for part in story.parts if part.truth})
    rows = []
    for name in names:
        these = [part for part in story.parts if part.truth == name]
        caught = sum(not part.accepted for part in these)
        rows.append((_words(name), str(len(these)), str(caught), str(len(these) - caught)))
    kinds = table(("defect", "parts", "rejected", "escaped"), rows)
    metrics = [(label, _number(story.metrics.get(name))) for name, label in _METRICS.items()]
    return (
        '<div class="columns"><div><h2>By kind of defect</h2>'
        f'<div class="panel">{kinds}</div></div><div><h2>On the test set</h2><div class="panel">'
        f'{table(("edge-inspect evaluate", ""), metrics)}<p class="soft small">Other drawn parts than those of '
        "the line.</p></div></div></div>"
    )


def _timing(story: Story) -> str:
    times = {stage: [_stage(part.verdict, stage) for part in story.parts] for stage in (*_STAGES, "total")}
    rows = [
        (stage, f"{np.median(values):.2f}", f"{np.percentile(values, 95):.2f}", f"{max(values):.2f}")
        for stage, values in times.items()
    ]
    steps = [(escape(step), f"{seconds:.1f} s") for step, seconds in story.seconds.items()]
    chart = stage_chart({stage: float(np.median(times[stage])) for stage in _STAGES})
    return (
        f'<h2>Time</h2><div class="panel">{chart}</div><div class="columns" style="margin-top:14px">'
        f'<div class="panel">{table(("stage, ms", "median", "95 %", "slowest"), rows)}</div>'
        f'<div class="panel">{table(("step of the demo", "time"), steps)}</div></div>'
    )


def _gallery(story: Story) -> str:
    key = (
        f'<h2>Heat maps</h2><div class="panel key">{colour_bar()}<span><i class="truth"></i>true defect</span>'
        '<span><i class="found"></i>above the threshold (white)</span>'
        '<span class="soft small">One scale for all parts; 0 is a quiet place of a good part. '
        "A darkened margin is out of view.</span>"
        "</div>"
    )
    numbered = list(enumerate(story.parts))
    wrong = [(i, part) for i, part in numbered if part.mistake]
    defective = [(i, part) for i, part in numbered if part.truth and not part.mistake]
    good = [(i, part) for i, part in numbered if not part.truth and not part.mistake]
    sections = [
        _section(f"Wrongly judged: {len(wrong) or 'none'}", wrong, story),
        _section(f"Defective and rejected: {len(defective)}", sorted(defective, key=_by_truth), story),
        _section(f"Good and accepted: {len(good)}", sorted(good, key=_by_score), story),
    ]
    return key + "".join(sections)


def _section(title: str, parts: Sequence[tuple[int, Judged]], story: Story) -> str:
    cards = "".join(_card(index, part, story) for index, part in parts)
    return f'<h2>{title}</h2><div class="parts">{cards}</div>' if cards else f"<h2>{title}</h2>"


def _card(index: int, part: Judged, story: Story) -> str:
    verdict = part.verdict
    word = verdict.evaluation.value
    mistake = f'<span class="badge bad">{part.mistake}</span>' if part.mistake else ""
    position = story.scale.position(in_frame(part.anomaly_map, story.info.preprocessing, part.picture.shape))
    pictures = (outlined(part.picture, part.mask), overlaid(part.picture, position, part.mask))
    images = "".join(f'<img src="{embedded(image)}" alt="{escape(_label(part))}">' for image in pictures)
    score = "no score" if verdict.score is None else f"score {verdict.score:.3f}"
    state = " wrong" if part.mistake else ""
    return (
        f'<article class="part{state}" id="{_anchor(index)}"><div class="pair">{images}</div><div class="about">'
        f'<div class="line"><b>{escape(part.name)}</b><span>{mistake} '
        f'<span class="badge {_BADGES[verdict.evaluation]}">{word}</span></span></div>{_meter(part, story)}'
        f'<div class="line small soft"><span>truth: {_words(part.truth or "good")}</span>'
        f"<span>{score}, limit {verdict.threshold:.3f}</span><span>{verdict.stage_ms.total:.1f} ms</span></div>"
        f"{_reason(verdict)}</div></article>"
    )


def _provenance(story: Story) -> str:
    return (
        '<h2>Where this comes from</h2><div class="panel facts">'
        f"{facts(story.info, story.calibration, story.engine, story.bundle_digest)}</div>"
    )


def _meter(part: Judged, story: Story) -> str:
    scores = [other.verdict.score for other in story.parts if other.verdict.score is not None]
    if part.verdict.score is None:
        return ""
    return score_meter(part.verdict.score, part.verdict.threshold, min(scores), max(scores))


def _reason(verdict: Verdict) -> str:
    if verdict.evaluation is not Evaluation.NOT_DECIDABLE:
        return ""
    return f'<div class="small">{escape(verdict.reason)}</div>'


def _stage(verdict: Verdict, stage: str) -> float:
    return float(getattr(verdict.stage_ms, stage) or 0.0)


def _label(part: Judged) -> str:
    return f"{part.name}: {(part.truth or 'good').replace('_', ' ')}, judged {part.verdict.evaluation.value}"


def _anchor(index: int) -> str:
    return f"part-{index + 1}"


def _by_truth(entry: tuple[int, Judged]) -> tuple[str, float]:
    return entry[1].truth or "", -(entry[1].verdict.score or 0.0)


def _by_score(entry: tuple[int, Judged]) -> float:
    return -(entry[1].verdict.score or 0.0)


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _number(value: float | int | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))
