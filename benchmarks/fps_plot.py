"""The plot of frames a second, beside the figure of SimpleNet's paper."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import Row

# SimpleNet, section 4.3: on an RTX 3080 Ti.
PAPER_FPS = 77
PAPER_BACKBONE = "wide_resnet50_2"

_BAR, _GAP, _LEFT, _WIDTH, _TOP = 13, 9, 168, 560, 62
_COLOURS = ("#9dbfe8", "#3b76c4")


def plot(rows: Sequence[Row]) -> str:
    """Bars of frames a second with one request and with several, as SVG, with the paper's figure as a line."""
    chosen = [row for row in rows if row["backbone"] == PAPER_BACKBONE and row["batch"] == 1]
    if not chosen:
        chosen = [row for row in rows if row["batch"] == 1]
    names = list(dict.fromkeys((row["engine"], row["precision"]) for row in chosen))
    scale = _WIDTH / (1.12 * max(PAPER_FPS, *(float(row["fps"]) for row in chosen)))
    parts, y = [], _TOP
    for name in names:
        bars = [row for row in chosen if (row["engine"], row["precision"]) == name]
        middle = y + len(bars) * _BAR / 2 + 4
        parts.append(f'<text x="{_LEFT - 8}" y="{middle:.0f}" text-anchor="end">{" ".join(name)}</text>')
        for number, row in enumerate(bars):
            width, colour = scale * row["fps"], _COLOURS[min(number, 1)]
            parts.append(f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" fill="{colour}"/>')
            label = f"{row['fps']:.{0 if row['fps'] >= 20 else 1}f}" + (
                f" ({row['in_flight']} in flight)" if row["in_flight"] > 1 else ""
            )
            parts.append(f'<text class="small" x="{_LEFT + width + 5:.1f}" y="{y + _BAR - 4}">{label}</text>')
            y += _BAR
        y += _GAP
    at = _LEFT + scale * PAPER_FPS
    paper = f'<path d="M{at:.1f} {_TOP - 8}V{y}" class="paper"/>'
    paper += f'<text class="small" x="{at:.1f}" y="{_TOP - 14}" text-anchor="middle">the paper, RTX 3080 Ti: 77</text>'
    width = _LEFT + _WIDTH + 110
    style = (
        "text{font:13px system-ui,'DejaVu Sans',sans-serif;fill:#1f2730}.small{font-size:11px;fill:#47525e}"
        ".paper{stroke:#b3372f;stroke-width:1.5;stroke-dasharray:5 4;fill:none}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 12}" role="img" '
        f'aria-label="Frames a second by engine and precision, {chosen[0]["backbone"]}, batch 1">'
        f'<style>{style}</style><rect width="{width}" height="{y + 12}" rx="10" fill="#f8fafb"/>'
        f'<text x="16" y="22">{chosen[0]["backbone"]}, batch 1, frames a second</text>{"".join(parts)}{paper}</svg>\n'
    )
