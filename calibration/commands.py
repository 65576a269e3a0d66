"""`edge-inspect calibrate`, `quantise` and `grade`: from photographs to a threshold, an int8 network and severities."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibration.threshold import Goal, check_rate, explain
from engines.cli import Command
from engines.errors import UsageError

if TYPE_CHECKING:
    from calibration.procedure import Defects
    from engines.bundle import Bundle

DEFAULT_RATE = 0.01


class _Explain(argparse.Action):
    """Print the table and leave, like `--help`, whatever else is on the command line."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        print(explain())
        parser.exit()


def _configure_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", type=Path, required=True, metavar="BUNDLE", help="bundle to calibrate, changed in place"
    )
    parser.add_argument(
        "--good",
        type=Path,
        required=True,
        metavar="DIR",
        help="good parts that were not trained on: a folder of images; the folder that was trained on, for those that "
        "training held back; another data set in MVTec AD's layout, for its test/good; or a text file with the path "
        "of one image a line",
    )
    _add_rate_and_engine(parser)
    _add_goal(parser)
    _add_defects(parser)
    parser.add_argument(
        "--precision",
        choices=("auto", "f32", "f16", "bf16", "int8"),
        default="auto",
        help="arithmetic that will run the network (default: what this machine does natively)",
    )
    parser.add_argument(
        "--explain", action=_Explain, nargs=0, help="print how many good parts certify which rate, and leave"
    )


def _add_goal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confidence",
        type=float,
        metavar="SHARE",
        help="hold the rate for this one threshold with this confidence, as 0.95, instead of on average over "
        "calibrations; takes about three times as many parts",
    )
    parser.add_argument(
        "--certified-only",
        action="store_true",
        help="where parts are too few, keep to their largest score and never estimate beyond it",
    )
    parser.add_argument(
        "--review-rate",
        type=float,
        metavar="RATE",
        help="mark good verdicts for review from the score that at most this share of good parts exceeds",
    )
    parser.add_argument(
        "--lots",
        metavar="SOURCE",
        help="which production lot each part is from: the word folders, where each lot is a folder in --good, or a csv "
        "file with the columns file and lot",
    )


def _add_defects(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--defects",
        type=Path,
        metavar="DIR",
        help="photographs of defects, to count those that pass; folders in it are kinds",
    )
    parser.add_argument(
        "--escape-cost",
        type=float,
        metavar="TIMES",
        help="how many false rejects an escaped defect costs; with --defect-rate, the cheapest threshold is taken "
        "where it rejects no more good parts than the rate allows",
    )
    parser.add_argument(
        "--defect-rate", type=float, metavar="RATE", help="share of parts that are defective in production"
    )


def _configure_quantise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", type=Path, required=True, metavar="BUNDLE", help="bundle to quantise, changed in place"
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="the folder that was trained on; it sets the ranges"
    )
    parser.add_argument(
        "--good",
        type=Path,
        metavar="DIR",
        help="good parts that were not trained on, for the gate and the threshold, as for calibrate (default: those "
        "that training held back in --data)",
    )
    parser.add_argument(
        "--defects",
        type=Path,
        metavar="DIR",
        help="photographs of defects, for the gate; folders in it are kinds (default: patches of good parts pasted "
        "where they do not belong)",
    )
    _add_rate_and_engine(parser)


def _add_rate_and_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--false-reject-rate",
        type=float,
        default=DEFAULT_RATE,
        metavar="RATE",
        help="share of good parts that may be rejected, between 0 and 1 (default: %(default)s, which takes 99 parts)",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "tensorrt", "tensorrt-rtx", "openvino", "onnxruntime"),
        default="auto",
        help="library that will run the network (default: the fastest on this machine)",
    )


def _calibrate(options: argparse.Namespace) -> None:
    from calibration import report
    from calibration.folds import find_folds
    from calibration.parts import check_parts, join_parts, select_parts
    from calibration.procedure import calibrate as set_threshold
    from engines.bundle import Bundle
    from engines.lots import FOLDERS, lots_of
    from engines.registry import open_engine

    goal = Goal(options.false_reject_rate, options.confidence, options.certified_only, options.review_rate)
    goal.check()
    bundle = Bundle.open(options.bundle)
    info = bundle.info
    progress = _progress if sys.stderr.isatty() else None
    folds = find_folds(bundle, options.good)
    selection = folds.selection if folds else select_parts(options.good, info.provenance, options.lots == FOLDERS)
    defects = _defects(options, bundle)
    # The engine comes before the photographs: a missing library should not be found out after a minute of reading.
    with open_engine(bundle, options.engine, options.precision) as engine:
        print(report.engine(engine.description), flush=True)
        out_of_fold = None
        if folds:
            checked = folds.parts(progress)
            parts = join_parts(checked)
            name = engine.description.backend, engine.description.precision
            out_of_fold = folds.score(checked, *name, progress)
        else:
            parts = check_parts(selection, info.preprocessing, info.provenance, progress)
        root = options.good if options.good.is_dir() else options.good.parent
        lots = lots_of(parts.paths, root, options.lots) if options.lots else None
        calibrated = set_threshold(bundle, engine, parts, goal, progress, lots, defects, out_of_fold)
    print(report.calibration(calibrated, selection, parts))


def _defects(options: argparse.Namespace, bundle: Bundle) -> Defects | None:
    from calibration.escapes import Costs
    from calibration.parts import check_parts, select_defects
    from calibration.procedure import Defects

    named = [options.escape_cost is not None, options.defect_rate is not None]
    if any(named) and not (all(named) and options.defects):
        raise UsageError("--escape-cost and --defect-rate go together, and need photographs of defects: --defects DIR")
    if options.defects is None:
        return None
    costs = Costs(options.escape_cost, options.defect_rate) if all(named) else None
    if costs:
        costs.check()
    info = bundle.info
    return Defects(check_parts(select_defects(options.defects), info.preprocessing, info.provenance), costs)


def _quantise(options: argparse.Namespace) -> None:
    from calibration import report
    from calibration.int8_gate import Evidence, quantise
    from calibration.parts import check_parts, select_defects, select_parts, trained_parts
    from calibration.procedure import calibrate as set_threshold
    from engines.bundle import Bundle
    from engines.registry import open_engine

    check_rate(options.false_reject_rate)
    bundle = Bundle.open(options.bundle)
    preprocessing, provenance = bundle.info.preprocessing, bundle.info.provenance
    progress = _progress if sys.stderr.isatty() else None
    with open_engine(bundle, options.engine) as engine:
        native = engine.description
    ranges = trained_parts(options.data, preprocessing, provenance)
    selection = select_parts(options.good or options.data, provenance)
    good = check_parts(selection, preprocessing, provenance, progress)
    defects = None
    if options.defects:
        defects = check_parts(select_defects(options.defects), preprocessing, provenance, progress)
    evidence = Evidence.gather(good, defects)
    print(report.gate(evidence, selection, native.backend, len(ranges)), flush=True)
    quantised = quantise(
        bundle, native.backend, ranges, evidence, options.false_reject_rate, lambda f: print(report.tried(f)), progress
    )
    with open_engine(quantised, native.backend, "int8") as engine:
        calibrated = set_threshold(quantised, engine, good, options.false_reject_rate, progress)
    print(report.speed(calibrated, native), flush=True)
    print(report.calibration(calibrated, selection, good))


def _configure_grade(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", type=Path, required=True, metavar="BUNDLE", help="calibrated bundle, changed in place"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV table with the columns image (a photograph of a rejected part, relative to the table) and grade "
        "(minor, major or critical)",
    )


def _grade(options: argparse.Namespace) -> None:
    from calibration import report
    from calibration.labels import read_labels
    from calibration.procedure import grade as fit_grades
    from calibration.severity import GRADES
    from engines.bundle import Bundle
    from engines.registry import open_engine

    bundle = Bundle.open(options.bundle)
    calibration = bundle.latest_calibration
    labels = read_labels(options.labels, GRADES)
    progress = _progress if sys.stderr.isatty() else None
    with open_engine(bundle, calibration.backend, calibration.precision) as engine:
        graded = fit_grades(bundle, engine, labels, progress)
    print(report.severity(graded))


def _configure_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE", help="calibrated bundle")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="photographs that put the threshold to the test: a data set in MVTec AD's layout, or a folder with good "
        "and one folder for each kind of defect",
    )
    parser.add_argument(
        "--every", action="store_true", help="show all defective parts and false rejects of --data, not the worst six"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the page is written")
    parser.add_argument("--engine", metavar="NAME", help="a calibrated engine (default: the one calibrated last)")
    parser.add_argument("--precision", metavar="NAME", help="its precision; goes with --engine")


def _report(options: argparse.Namespace) -> None:
    from calibration.evidence import gather
    from calibration.page.calibration_page import render
    from engines.bundle import Bundle
    from engines.registry import open_engine

    if (options.engine is None) is not (options.precision is None):
        raise UsageError("--engine and --precision go together: a threshold belongs to one engine at one precision")
    bundle = Bundle.open(options.bundle)
    calibration = bundle.latest_calibration
    if options.engine:
        calibration = bundle.calibration_for(options.engine, options.precision)
    progress = _progress if sys.stderr.isatty() else None
    with open_engine(bundle, calibration.backend, calibration.precision) as engine:
        page = render(gather(bundle, calibration, engine, options.data, options.every, progress))
    try:
        options.out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{options.out}: cannot be written ({error.strerror}); name another --out") from None
    print(f"report: {options.out}")


def _progress(action: str, done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\r{action} {done}/{total}", end=end, file=sys.stderr, flush=True)


calibrate = Command(
    summary="set the rejection threshold from photographs of good parts that were not trained on",
    example="edge-inspect calibrate --bundle bundles/flange --good photos/flange-calibration",
    configure=_configure_calibrate,
    run=_calibrate,
)

quantise = Command(
    summary="add an int8 network to a bundle, if that costs no accuracy, and set its threshold",
    example="edge-inspect quantise --bundle bundles/flange --data photos/flange",
    configure=_configure_quantise,
    run=_quantise,
)

grade = Command(
    summary="learn grades of severity from rejected parts that a person has graded",
    example="edge-inspect grade --bundle bundles/flange --labels photos/flange-graded.csv",
    configure=_configure_grade,
    run=_grade,
)

report = Command(
    summary="write a page with the threshold, its promise, score histograms and heat maps of the parts in doubt",
    example="edge-inspect report --bundle bundles/flange --data photos/flange-test --out flange.html",
    configure=_configure_report,
    run=_report,
)
