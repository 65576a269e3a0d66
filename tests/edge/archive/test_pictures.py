from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.anomaly_map import AnomalyMap
from edge.archive.encoder import Encoder
from edge.archive.part import ArchivedPart, Query
from edge.archive.pictures import write_pictures
from edge.archive.store import ArchiveStore, Entry
from engines.preprocess import Preprocessing
from engines.tiling import Tiling
from tests.edge.archive.parts import anomaly_map, entry, frame


def archived(folder: Path, one: Entry) -> ArchivedPart:
    with ArchiveStore(folder) as store:
        store.add([one])
        return store.index.search(Query())[0]


@pytest.mark.parametrize("shape", [(48, 64, 3), (5, 7), (1, 1, 3)])
def test_the_frame_is_held_without_loss(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = frame(3, shape)
    part = archived(tmp_path, Entry(entry().verdict, "Flange", entry().kept, frame=picture, map=anomaly_map()))
    assert part.picture is not None
    assert np.array_equal(cv2.imread(str(part.picture), cv2.IMREAD_UNCHANGED), picture)


def test_the_map_comes_back_to_half_a_grey_step(tmp_path: Path) -> None:
    one = entry()
    part = archived(tmp_path, one)
    assert part.map is not None
    assert part.map_view is not None
    assert one.map is not None
    view, grey = part.map_view, cv2.imread(str(part.map), cv2.IMREAD_UNCHANGED)
    assert grey.dtype == np.uint8
    assert grey.shape == (32, 32)
    values = view.low + grey.astype(np.float64) * (view.high - view.low) / 255
    assert np.abs(values - one.map.values).max() <= (view.high - view.low) / 255 / 2 * 1.0001
    assert view.threshold == 1.5


def test_a_flat_map_is_no_trouble() -> None:
    flat = AnomalyMap(np.full((4, 4), 2.5, np.float32), Preprocessing("full", 4, 4), 1.0)
    assert not flat.grey().any()
    assert flat.view((4, 4)).low == flat.view((4, 4)).high == 2.5


def test_a_map_says_where_on_the_frame_it_lies() -> None:
    # 48 of the network's pixels for 96 x 192 of the frame; the central 32 are 64 x 128, from 16 and 32 on.
    view = anomaly_map().view((96, 192, 3))
    assert (view.x, view.y, view.width, view.height) == (32, 16, 128, 64)


def test_a_map_of_tiles_lies_on_all_of_the_frame() -> None:
    preprocessing = Preprocessing("full", 32, tiles=Tiling(1, 3, 0.0))
    view = AnomalyMap(np.zeros((32, 96), np.float32), preprocessing, 1.0).view((64, 192))
    assert (view.x, view.y, view.width, view.height) == (0, 0, 192, 64)


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with Encoder() as encoder, pytest.raises(OSError, match="cannot be encoded"):
        write_pictures(tmp_path, 1, frame(), np.zeros((0, 0), np.uint8), encoder)
    assert list(tmp_path.iterdir()) == []
