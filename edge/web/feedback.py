"""What people say of parts, as the page reads and writes it: from a thread, since a disk may be slow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from edge.archive.index import ArchiveIndex
from edge.archive.part import ArchivedPart
from edge.audit.trail import AuditTrail
from edge.config import StationConfig
from edge.feedback.book import FOLDER, FeedbackBook
from edge.feedback.opinion import Opinion, Statement
from edge.feedback.preview import preview, since_calibration
from edge.feedback.report import proposal_rows
from edge.feedback.review import review, unjudged
from engines.bundle import Bundle
from engines.errors import InspectError

_Result = TypeVar("_Result")
_TO_JUDGE = 24


@dataclass(frozen=True)
class Outlook:
    """Where a recipe's threshold would go, in labelled sentences, or the `problem` that keeps from knowing it.

    Of the sample `judged` parts were looked at, and of `waiting` ones, newest first, nobody has said anything.
    """

    recipe: str
    product: str = ""
    rows: tuple[tuple[str, str], ...] = ()
    judged: int = 0
    unseen: int = 0
    waiting: tuple[ArchivedPart, ...] = ()
    problem: str = ""


class Feedback:
    """The opinions on the parts of one station's archive. For the event loop."""

    def __init__(self, config: StationConfig, folder: Path) -> None:
        self._folder = folder
        self._recipes = {name: table.bundle for name, table in config.recipes.items()}
        self._trail = None if config.audit is None else AuditTrail(config.audit.file, config.station)
        self._bundles: dict[Path, tuple[int, Bundle]] = {}
        self._threads = anyio.CapacityLimiter(1)

    async def of(self, key: int) -> list[Opinion]:
        """Everything that was said of a part, the last word at the end. Raises FeedbackError."""
        if not (self._folder / FOLDER).exists():
            return []
        return await self._run(lambda book: book.of(key))

    async def add(self, part: ArchivedPart, statement: Statement) -> None:
        """As `FeedbackBook.add`. Raises FeedbackError or AuditError."""
        await self._run(lambda book: book.add(part, statement))

    async def outlooks(self) -> list[Outlook]:
        """Where the thresholds of all recipes would go. Raises FeedbackError or ArchiveError."""
        return await self._run(lambda book: list(self._outlooks(book)))

    def _outlooks(self, book: FeedbackBook) -> Iterator[Outlook]:
        with ArchiveIndex.open(self._folder) as index:
            for recipe, path in self._recipes.items():
                try:
                    yield _outlook(recipe, self._bundle(path), book, index)
                except InspectError as error:
                    yield Outlook(recipe, problem=str(error))

    def _bundle(self, path: Path) -> Bundle:
        # Opening one reads all of it, for its sha256.
        manifest = path / "MANIFEST.json"
        stamp = manifest.stat().st_mtime_ns if manifest.exists() else 0
        known = self._bundles.get(path)
        if known is None or known[0] != stamp:
            known = self._bundles[path] = stamp, Bundle.open(path)
        return known[1]

    async def _run(self, work: Callable[[FeedbackBook], _Result]) -> _Result:
        def worked() -> _Result:
            with FeedbackBook.open(self._folder, self._trail) as book:
                return work(book)

        return await anyio.to_thread.run_sync(worked, limiter=self._threads)


def _outlook(recipe: str, bundle: Bundle, book: FeedbackBook, index: ArchiveIndex) -> Outlook:
    product = bundle.info.product
    found = review(book, index, product, since_calibration(bundle))
    return Outlook(
        recipe,
        product,
        tuple(proposal_rows(preview(bundle, found))),
        found.judged,
        len(found.unseen),
        tuple(unjudged(book, index, product, _TO_JUDGE)),
    )
