"""The audit's page: the photographs that look most like defects, their heat maps, and what repeats."""

from __future__ import annotations

from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.images import read_image
from engines.page.charts import colour_bar, score_meter
from engines.page.document import document, embedded, table, tile_row
from engines.page.heat import Scale, in_frame, overlaid
from trainer.audit import Audit
from trainer.repeats import Community

# Of the list; a person who looks at a fifth of it has seen most defects, and a page of hundreds is not looked at.
SHOWN_SHARE, MOST_SHOWN = 0.2, 60
_FEWEST_SHOWN, _OF_COMMUNITY = 12, 8


def render(found: Audit) -> str:
    """The whole page; it refers to nothing outside itself. Reads the photographs that it shows."""
    name = escape(found.root.resolve().name)
    scale = Scale(float(np.median(found.patch_scores)), found.limit)
    shown = min(max(round(SHOWN_SHARE * len(found.paths)), _FEWEST_SHOWN), MOST_SHOWN, len(found.paths))
    tiles = [
        ("", str(len(found.paths)), "photographs"),
        ("warn" if found.standing_out else "ok", str(found.standing_out), "stand out from the others"),
        ("warn" if found.communities else "", str(len(found.communities)), "groups that share something rare"),
    ]
    cards = "".join(_card(found, int(index), scale, found.patch_scores) for index in found.order[:shown])
    body = (
        f"<h1>Audit of {name}</h1><p class='soft'>Each photograph was compared with {_compared(found)}. Nothing was "
        "deleted: what looks unlike the rest may be a defect, a rare variant or dirt on the lens, and a person decides."
        f"</p>{tile_row(tiles)}{_key()}{_communities(found, scale)}"
        f"<h2>What looks most like a defect</h2><p class='soft'>The first {shown} of {len(found.paths)}, in order.</p>"
        f'<div class="parts">{cards}</div><h2>All photographs</h2><div class="panel">{_list(found)}</div>'
        f"<footer>{_footer(found)}</footer>"
    )
    return document(f"Audit of {name}", body)


def _compared(found: Audit) -> str:
    others = len(found.paths) - 1
    return f"the {others} others" if found.compared > others else f"{found.compared} of the {others} others"


def _key() -> str:
    return (
        f'<div class="key">{colour_bar()}<span class="soft small">The threshold of the colours is the score above '
        "which a photograph stands out: 1.5 interquartile ranges above the third quartile of this set.</span></div>"
    )


def _communities(found: Audit, scale: Scale) -> str:
    if not found.communities:
        return ""
    parts = [_community(found, number, community, scale) for number, community in enumerate(found.communities, start=1)]
    return (
        "<h2>Defect or variant?</h2><p class='soft'>These photographs share something with a few others that the rest "
        "does not have: a fault that repeats, the same part photographed again, or a variant that is rare and good. "
        f"Their scores here leave their group out.</p>{''.join(parts)}"
    )


def _community(found: Audit, number: int, community: Community, scale: Scale) -> str:
    members = sorted(community.photographs, key=lambda index: -found.apart[index].max())
    cards = "".join(_card(found, index, scale, found.apart) for index in members[:_OF_COMMUNITY])
    names = ", ".join(escape(found.name(index)) for index in members)
    return (
        f"<h3>Group {number}: {len(members)} photographs, defect or variant?</h3>"
        f'<div class="parts">{cards}</div><p class="small soft">All of them: {names}</p>'
    )


def _card(found: Audit, index: int, scale: Scale, patch_scores: NDArray[np.float32]) -> str:
    """One photograph beside its heat map, by `patch_scores` `(N, P)`: the audit's own or `apart`."""
    picture = _colour(read_image(found.paths[index]))
    score, name = float(patch_scores[index].max()), escape(found.name(index))
    position = in_frame(scale.position(_map(found, patch_scores[index])), found.preprocessing, picture.shape)
    shown = (
        f'<img src="{embedded(picture)}" alt="{name}">'
        f'<img src="{embedded(overlaid(picture, position))}" alt="heat map of {name}">'
    )
    group = found.community_of(index)
    badge = '<span class="badge warn">stands out</span>' if score > found.limit else ""
    meter = score_meter(score, found.limit, float(found.scores.min()), float(found.apart.max()))
    return (
        f'<article class="part"><div class="pair even">{shown}</div><div class="about"><div class="line"><b>{name}</b>'
        f'{badge}</div>{meter}<div class="line small soft"><span>{f"group {group}" if group else ""}</span>'
        f"<span>score {score:.3f}, limit {found.limit:.3f}</span></div></div></article>"
    )


def _map(found: Audit, patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Patch scores on the network's input grid."""
    size = found.preprocessing.input_size
    grid = patches.reshape(round(len(patches) ** 0.5), -1)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)


def _list(found: Audit) -> str:
    rows = [
        (
            escape(found.name(index)),
            str(rank),
            f"{found.scores[index]:.3f}",
            "yes" if found.scores[index] > found.limit else "",
            str(found.community_of(index) or ""),
        )
        for rank, index in enumerate(map(int, found.order), start=1)
    ]
    return table(("photograph", "place", "score", "stands out", "group"), rows)


def _footer(found: Audit) -> str:
    return escape(
        f"{found.backbone} up to level 3, weights {found.weights.source} (sha256 {found.weights.sha256[:12]}); "
        f"field {found.preprocessing.field}. A score is the largest, over the picture's patches, mean distance to the "
        "nearest patch of the three compared photographs that are nearest."
    )
