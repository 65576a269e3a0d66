"""`edge-inspect feedback`: what people say of archived parts, and what becomes of it."""

from __future__ import annotations

import argparse
import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from engines.cli import Command
from engines.errors import UsageError

if TYPE_CHECKING:
    from edge.archive.index import ArchiveIndex
    from edge.audit.trail import AuditTrail
    from edge.feedback.book import FeedbackBook


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    mark = actions.add_parser("mark", help="say of an archived part that it is good, or defective, and why")
    mark.add_argument("part", type=int, metavar="KEY", help="key of the part in the archive")
    mark.add_argument("says", choices=("good", "defect", "withdrawn"), help="withdrawn takes back what was said before")
    mark.add_argument("--reason", required=True, metavar="TEXT", help="why, in one line")
    mark.add_argument("--by", metavar="NAME", help="who says so (default: the name of this account)")
    mark.add_argument("--grade", metavar="GRADE", help="how bad a defect is: minor, major or critical")
    listed = actions.add_parser("list", help="print the last word on every part")
    export = actions.add_parser("export", help="write a data set for train, calibrate and grade")
    export.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder, or an earlier export's")
    preview = actions.add_parser(
        "preview", help="say how the threshold would move, and what that is worth; moves nothing"
    )
    preview.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE", help="calibrated bundle, not changed")
    preview.add_argument("--defects", type=Path, metavar="DIR", help="photographs of more defects that are known")
    for action in (mark, listed, export, preview):
        where = action.add_mutually_exclusive_group(required=True)
        where.add_argument("--config", type=Path, metavar="FILE", help="station file whose [archive] is meant")
        where.add_argument("--archive", type=Path, metavar="DIR", help="or the archive's folder")
    for action in (listed, export, preview):
        action.add_argument("--product", metavar="NAME", help="of this product (default: the only one)")


def _run(options: argparse.Namespace) -> None:
    from edge.archive.index import ArchiveIndex
    from edge.feedback.book import FeedbackBook

    folder, trail = _station(options)
    with ArchiveIndex.open(folder) as index, FeedbackBook.open(folder, trail) as book:
        if options.action == "mark":
            _mark(options, index, book)
        elif options.action == "list":
            _list(options, book)
        elif options.action == "export":
            _export(options, index, book)
        else:
            _preview(options, index, book)


def _station(options: argparse.Namespace) -> tuple[Path, AuditTrail | None]:
    """The archive's folder, and the trail that opinions go to."""
    if options.config is None:
        return options.archive, None
    from edge.audit.trail import AuditTrail
    from edge.config import load_config

    config = load_config(options.config)
    if config.archive is None:
        raise UsageError(f"{options.config} has no table [archive], so nothing is kept to say anything of")
    return config.archive.folder, None if config.audit is None else AuditTrail(config.audit.file, config.station)


def _mark(options: argparse.Namespace, index: ArchiveIndex, book: FeedbackBook) -> None:
    from edge.feedback.opinion import Says, Statement
    from edge.feedback.report import line

    statement = Statement(Says(options.says), options.reason, options.by or getpass.getuser(), options.grade)
    part = index.part(options.part)
    if part is None:
        raise UsageError(f"the archive in {index.folder} holds no part {options.part}, or none any more")
    print(line(book.add(part, statement)))


def _list(options: argparse.Namespace, book: FeedbackBook) -> None:
    from edge.feedback.report import line

    for opinion in book.last_words(options.product):
        print(line(opinion))


def _export(options: argparse.Namespace, index: ArchiveIndex, book: FeedbackBook) -> None:
    from edge.feedback.data_set import export
    from edge.feedback.report import exported
    from edge.feedback.review import review

    found = review(book, index, options.product)
    print(exported(found, export(book, found, options.to), options.to))


def _preview(options: argparse.Namespace, index: ArchiveIndex, book: FeedbackBook) -> None:
    from edge.feedback.preview import preview_exactly, since_calibration
    from edge.feedback.report import open_parts, proposal
    from edge.feedback.review import review
    from engines.bundle import Bundle

    bundle = Bundle.open(options.bundle)
    found = review(book, index, options.product or bundle.info.product, since_calibration(bundle))
    print("\n".join([proposal(preview_exactly(bundle, book, found, options.defects)), *open_parts(found)]))


feedback = Command(
    summary="say of archived parts what they are, and make a data set of it",
    example="edge-inspect feedback export --config station.toml --to feedback/flange",
    configure=_configure,
    run=_run,
)
