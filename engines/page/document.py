"""The pieces that every page of ours is made of: the document itself, tables, tiles, pictures inside the page."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.bundle import BundleInfo, Calibration
from engines.engine import EngineDescription
from engines.page.style import STYLE
from engines.preprocess import Preprocessing

PICTURE_WIDTH = 360


def document(title: str, body: str) -> str:
    """A whole page that refers to nothing outside itself; title and body are HTML already."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>\n"
    )


def tile_row(tiles: Iterable[tuple[str, str, str]]) -> str:
    """Figures to see first, each a mood ("", "ok", "bad", "warn"), a value and a label, as HTML."""
    cells = (f'<div class="tile {mood}"><b>{value}</b><span>{label}</span></div>' for mood, value, label in tiles)
    return f'<div class="tiles">{"".join(cells)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are HTML already; all columns but the first are numbers when there are more than two."""
    numeric = ' class="n"' if len(head) > 2 else ""
    cells = [[f"<td{numeric if index else ''}>{cell}</td>" for index, cell in enumerate(row)] for row in rows]
    top = "".join(f'<th scope="col"{numeric if index else ""}>{title}</th>' for index, title in enumerate(head))
    header = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    return f"<table>{header}<tbody>{''.join('<tr>' + ''.join(row) + '</tr>' for row in cells)}</tbody></table>"


def embedded(picture: NDArray[np.uint8]) -> str:
    """A BGR or grey picture as a small JPEG inside the page, a value for `src`."""
    height = max(PICTURE_WIDTH * picture.shape[0] // picture.shape[1], 1)
    small = cv2.resize(picture, (PICTURE_WIDTH, height), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 86])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def facts(info: BundleInfo, calibration: Calibration, engine: EngineDescription, digest: str) -> str:
    """Where a bundle comes from, as a table."""
    trained = info.provenance
    said = {
        "product": info.product,
        "backbone": f"{info.backbone.name} up to level 3",
        "weights": f"{info.backbone.weights_source}; sha256 {info.backbone.weights_sha256}",
        "trained on": f"{trained.images} photographs, seed {trained.seed}; {_pairs(trained.recipe)}",
        "threshold": f"{calibration.threshold:.6g}, measured with {calibration.backend} {calibration.precision} on "
        f"{calibration.created}",
        "guarantee": calibration.guarantee,
        "engine": f"{engine.backend} {engine.precision} on {engine.device}: {engine.reason}",
        "field of view": _field(info.preprocessing),
        "bundle": f"sha256 {digest}",
        "versions": _pairs({**trained.versions, **engine.versions}),
    }
    return table(("", ""), [(name, escape(fact)) for name, fact in said.items()])


def _field(preprocessing: Preprocessing) -> str:
    name = f"{preprocessing.field}, in tiles of {preprocessing.tiles}" if preprocessing.tiles else preprocessing.field
    if not preprocessing.unseen_share:
        return f"{name}: all of the picture is looked at"
    return f"{name}: {preprocessing.unseen_share:.0%} of the picture, at its rim, is not looked at"


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
