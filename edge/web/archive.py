"""The archive as the page reads it: from a thread, since a disk may be slow, and never more than a few at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import cv2

from edge.archive.index import ArchiveIndex
from edge.archive.part import ArchivedPart, ArchiveError, Query
from edge.verdict import Evaluation

_Result = TypeVar("_Result")
_THUMBNAIL = 320
_QUALITY = 82
_KEPT_THUMBNAILS = 200
# JavaScript's whole numbers end here, and so do keys.
LARGEST_KEY = (1 << 53) - 1


@dataclass(frozen=True)
class Choices:
    """What a search can choose from."""

    cameras: list[str]
    products: list[str]


class Archive:
    """The archive in `folder`, which its daemon may not have made yet. For the event loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index: ArchiveIndex | None = None
        self._threads = anyio.CapacityLimiter(2)
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()

    async def search(self, query: Query, limit: int, before: int | None) -> list[ArchivedPart]:
        """As `ArchiveIndex.search`. Raises ArchiveError."""
        return await self._run(lambda index: index.search(query, limit, before))

    async def part(self, key: int) -> ArchivedPart | None:
        """As `ArchiveIndex.part`. Raises ArchiveError."""
        return await self._run(lambda index: index.part(key)) if key <= LARGEST_KEY else None

    async def rejects(self, limit: int) -> list[ArchivedPart]:
        """The newest parts that are not OK. Raises ArchiveError."""
        return await self._run(lambda index: _rejects(index, limit))

    async def choices(self) -> Choices:
        """The cameras and products that there are. Raises ArchiveError."""
        return await self._run(lambda index: Choices(index.cameras(), index.products()))

    async def thumbnail(self, part: ArchivedPart) -> bytes | None:
        """A small JPEG of the part's frame; None where there is none, or none any more."""
        if part.picture is None:
            return None
        if part.key not in self._thumbnails:
            path = part.picture
            data = await anyio.to_thread.run_sync(lambda: _small(path), limiter=self._threads)
            if data is None:
                return None
            self._thumbnails[part.key] = data
            while len(self._thumbnails) > _KEPT_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return self._thumbnails[part.key]

    async def _run(self, work: Callable[[ArchiveIndex], _Result]) -> _Result:
        return await anyio.to_thread.run_sync(lambda: work(self._opened()), limiter=self._threads)

    def _opened(self) -> ArchiveIndex:
        if self._index is None:
            # SQLite's readers of an index in WAL mode write a file of locks beside it.
            if os.access(self._folder, os.F_OK) and not os.access(self._folder, os.W_OK):
                why = "cannot be read by who may not write there; run the page as the daemon's user"
                raise ArchiveError(f"the archive in {self._folder} {why}")
            self._index = ArchiveIndex.open(self._folder)
        return self._index

    def close(self) -> None:
        """Close the index."""
        if self._index is not None:
            self._index.close()
            self._index = None


def _rejects(index: ArchiveIndex, limit: int) -> list[ArchivedPart]:
    found = [
        part
        for evaluation in (Evaluation.NOT_OK, Evaluation.NOT_DECIDABLE)
        for part in index.search(Query(evaluation=evaluation), limit)
    ]
    return sorted(found, key=lambda part: -part.key)[:limit]


def _small(path: Path) -> bytes | None:
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ArchiveError(f"the archived picture {path} cannot be read: {error}") from None
    if picture is None:
        return None
    height, width = picture.shape[:2]
    scale = min(_THUMBNAIL / max(height, width), 1.0)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
