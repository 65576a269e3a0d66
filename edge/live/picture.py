"""One live picture on the wire: a topic, a head in JSON, a JPEG, and the map as a grey PNG where there is one."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.anomaly_map import MapView
from edge.inspector import Judgement
from edge.live.table import LiveTable
from edge.verdict import Evaluation, Verdict

# Four frames a message; the largest that a reader takes is this, in bytes.
LONGEST_FRAME = 16 << 20
# The fastest level that compresses: a map is small and smooth.
_FASTEST = (cv2.IMWRITE_PNG_COMPRESSION, 1)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture shows. `width` and `height` are the camera frame's; `view` says where the map lies on it."""

    camera: str
    session_id: str
    seq: int
    part_id: str | None
    frame_id: int
    evaluation: Evaluation
    width: int
    height: int
    view: MapView | None = None


def topic_of(camera: str) -> str:
    """Topic under which a camera's pictures are sent. The end is marked, or `a` would bring those of `ab`, too."""
    return f"{camera}/"


def encode(verdict: Verdict, judgement: Judgement, table: LiveTable) -> list[bytes] | None:
    """The frames of one message; None where there is no picture, or none that can be shown."""
    frame, anomaly_map = judgement.frame.image, judgement.map
    if frame is None:
        return None
    shown = anomaly_map is not None and anomaly_map.finite
    head = Head(
        camera=verdict.camera,
        session_id=verdict.session_id,
        seq=verdict.seq,
        part_id=verdict.part_id,
        frame_id=verdict.frame_id,
        evaluation=verdict.evaluation,
        width=frame.shape[1],
        height=frame.shape[0],
        view=anomaly_map.view(frame.shape) if anomaly_map is not None and shown else None,
    )
    data = cv2.imencode(".jpg", shrunk(frame, table.side), (cv2.IMWRITE_JPEG_QUALITY, table.quality))[1].tobytes()
    grey = b""
    if anomaly_map is not None and shown:
        grey = cv2.imencode(".png", anomaly_map.grey(), _FASTEST)[1].tobytes()
    return [topic_of(verdict.camera).encode(), msgspec.json.encode(head), data, grey]


def shrunk(frame: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The frame with its longer side no longer than `side` pixels."""
    height, width = frame.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return frame
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
