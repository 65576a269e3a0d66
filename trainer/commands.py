"""`edge-inspect train`, `evaluate` and `export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.backbones import BACKBONES
from engines.cli import Command, invoke
from engines.errors import UsageError
from engines.extras import import_extra
from trainer.methods import METHODS
from trainer.recipe import DEFAULT, RECIPES

if TYPE_CHECKING:
    from engines.preprocess import Preprocessing

# Photographs that audit lists on the terminal.
LISTED = 20

_WEIGHTS_HELP = (
    "ImageNet weights of the backbone, .pth or .safetensors (default: the file that EDGE_INSPECT_WEIGHTS names, "
    "torch hub's cache, torchvision's download), or the word random, for rehearsals"
)


def _configure_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photographs of good parts, or a "
                        "data set in MVTec AD's layout, of which train/good is used")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="where the bundle is written; a "
                        "bundle that is already there is replaced once the new one is complete; "
                        "a page about it is written beside it, as BUNDLE.html")  # fmt: skip
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18", help="default: %(default)s")
    parser.add_argument("--weights", metavar="FILE", help=_WEIGHTS_HELP)
    parser.add_argument("--method", choices=METHODS, default="simplenet", help="simplenet trains; patchcore and anoco "
                        "only collect what good parts look like, which takes seconds: docs/day-zero.md "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default=DEFAULT.name,
        help="training settings; paper: SimpleNet as published (default: %(default)s)",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    parser.add_argument("--field", choices=("crop", "full"), help="crop: the paper's, blind to the outer rim; full: "
                        "the whole picture, 1.3 times the work (default: crop, or full with --tiles)")  # fmt: skip
    parser.add_argument("--tiles", type=_grid, metavar="RxC", help="look at large pictures in R rows of C tiles, "
                        "for defects too small to survive the resize of the whole; R x C times the work")  # fmt: skip
    parser.add_argument("--overlap", type=float, metavar="SHARE", help="share of a tile's side that neighbours have "
                        "in common, 0 to 0.5 (default: 0.1)")  # fmt: skip
    parser.add_argument("--roi", type=_roi, metavar="X,Y,W,H", help="part of the picture to inspect, in pixels")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--folds", type=_folds, metavar="K", help="train K more heads, each without its part of the "
                        "photographs, whose scores set the threshold (default: 5 for fewer than 495 photographs)",
                        )  # fmt: skip
    source.add_argument("--hold-back", type=_share, metavar="SHARE", help="keep a share of the photographs from "
                        "training, for the threshold, instead (0: calibrate later; default: 0.2 for more)",
                        )  # fmt: skip
    parser.add_argument("--lots", metavar="SOURCE", help="as for calibrate; photographs of one lot are then never "
                        "on both sides of a split")  # fmt: skip
    parser.add_argument("--false-reject-rate", metavar="RATE",
                        help="as for calibrate, which follows the training (default: calibrate's)")  # fmt: skip
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda where it is")
    parser.add_argument("--resume", action="store_true", help="continue a training that was stopped")


def _train(options: argparse.Namespace) -> int:
    import_extra("torch", "train")
    from trainer.procedure import Order, choose_device, learn

    bundle = learn(
        Order(
            data=options.data,
            out=options.out,
            backbone=options.backbone,
            method=options.method,
            recipe=RECIPES[options.recipe].with_epochs(options.epochs),
            preprocessing=_preprocessing(options),
            weights=options.weights,
            seed=options.seed,
            held_back=options.hold_back,
            folds=options.folds,
            lots=options.lots,
            device=choose_device(options.device),
            resume=options.resume,
        )
    )
    print(f"bundle:     {bundle.path}", flush=True)
    if options.hold_back == 0:
        print(f"next:       edge-inspect calibrate --bundle {options.out} --good DIR")
        return 0
    # By name: the trainer does not know the calibration, and the user could have typed the same.
    rate = ["--false-reject-rate", options.false_reject_rate] if options.false_reject_rate else []
    lots = ["--lots", options.lots] if options.lots else []
    bundle_option = ["--bundle", str(options.out)]
    invoke("calibrate", [*bundle_option, "--good", str(options.data), *rate, *lots])
    return invoke("report", [*bundle_option, "--out", str(options.out.with_name(f"{options.out.name}.html"))])


def _configure_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set in MVTec AD's layout")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page there that shows every defect with its "
                        "map and mask; needs a calibrated bundle")  # fmt: skip
    parser.add_argument(
        "--engine",
        default="auto",
        help="tensorrt, tensorrt-rtx, openvino, onnxruntime, or auto: the one calibrated last",
    )
    parser.add_argument("--precision", default="auto", help="f32, f16, bf16, int8 or auto")


def _evaluate(options: argparse.Namespace) -> int:
    import_extra("sklearn", "train")
    import msgspec

    from engines.bundle import Bundle
    from engines.registry import open_engine
    from trainer.evaluation import evaluate as measure

    bundle = Bundle.open(options.bundle)
    backend, precision = options.engine, options.precision
    if (backend, precision) == ("auto", "auto") and bundle.info.calibrations:
        backend, precision = bundle.latest_calibration.backend, bundle.latest_calibration.precision
    with open_engine(bundle, backend, precision) as engine:
        figures = measure(bundle, engine, options.data)
    for name, value in figures.items():
        print(f"{name:<20} {_text(value)}")
    if options.json:
        _write(options.json, msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    if not options.html:
        return 0
    # By name: pages belong to the calibration, which the trainer does not know.
    chosen = ["--engine", str(figures["engine"]), "--precision", str(figures["precision"])]
    places = ["--bundle", str(options.bundle), "--data", str(options.data), "--out", str(options.html)]
    return invoke("report", [*places, *chosen, "--every"])


def _configure_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--out", type=Path, required=True, metavar="NEW", help="where the new bundle is written")
    parser.add_argument("--weights", metavar="FILE", help=_WEIGHTS_HELP)
    parser.add_argument("--opset", type=int, default=17, metavar="N", help="ONNX operator set (default: 17)")


def _export(options: argparse.Namespace) -> None:
    import_extra("torch", "train")
    from trainer.procedure import export_again

    bundle = export_again(options.bundle, options.out, options.weights, options.opset)
    print(f"bundle:     {bundle.path}")
    print(f"next:       edge-inspect calibrate --bundle {options.out} --good DIR")


def _preprocessing(options: argparse.Namespace) -> Preprocessing:
    from engines.preprocess import Preprocessing
    from engines.tiling import Tiling

    if options.overlap is not None and options.tiles is None:
        raise UsageError("--overlap is for tiles; add --tiles RxC, or leave it out")
    overlap = {} if options.overlap is None else {"overlap": options.overlap}
    try:
        tiles = Tiling(*options.tiles, **overlap) if options.tiles else None
    except ValueError as error:
        raise UsageError(f"--tiles: {error}") from None
    return Preprocessing(field=options.field or ("full" if tiles else "crop"), roi=options.roi, tiles=tiles)


def _configure_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photographs that should be of good "
                        "parts, or a data set in MVTec AD's layout, of which train/good is looked at")  # fmt: skip
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write a page with pictures and heat maps there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the list there")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18", help="default: %(default)s")
    parser.add_argument("--weights", metavar="FILE", help=_WEIGHTS_HELP)
    parser.add_argument("--field", choices=("crop", "full"), default="crop", help="as for train (default: crop)")
    parser.add_argument("--roi", type=_roi, metavar="X,Y,W,H", help="part of the picture to look at, in pixels")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda where it is")


def _audit(options: argparse.Namespace) -> None:
    import_extra("torch", "train")
    import_extra("networkx", "train")
    import msgspec

    from engines.preprocess import Preprocessing
    from trainer.audit import audit, describe
    from trainer.audit_page import render
    from trainer.procedure import choose_device
    from trainer.weights import find_weights

    weights = find_weights(options.backbone, options.weights)
    preprocessing = Preprocessing(field=options.field, roi=options.roi)
    found = audit(options.data, options.backbone, weights, preprocessing, choose_device(options.device))
    print(f"photographs {len(found.paths)}, each compared with {found.compared}; {found.standing_out} stand out")
    for rank, index in enumerate(map(int, found.order[:LISTED]), start=1):
        mark = " stands out" if found.scores[index] > found.limit else ""
        print(f"{rank:>4}  {found.scores[index]:.3f}  {found.name(index)}{mark}")
    for number, community in enumerate(found.communities, start=1):
        names = ", ".join(found.name(index) for index in community.photographs)
        print(
            f"group {number}: {len(community.photographs)} photographs share something rare; defect or variant? {names}"
        )
    if options.json:
        _write(options.json, msgspec.json.format(msgspec.json.encode(describe(found)), indent=2) + b"\n")
    if options.html:
        _write(options.html, render(found).encode())
        print(f"page        {options.html}")
    print("next        look at them, remove what is defective, and train; nothing was changed")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, found {text}")
    return value


def _folds(text: str) -> int:
    if (value := int(text)) < 2:
        raise argparse.ArgumentTypeError(f"expected 2 folds or more, found {text}")
    return value


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected rows x columns such as 2x3, found {text!r}")
    return int(rows), int(columns)


def _roi(text: str) -> tuple[int, int, int, int]:
    numbers = text.split(",")
    if len(numbers) != 4:
        raise argparse.ArgumentTypeError(f"expected four numbers X,Y,W,H, found {text!r}")
    x, y, width, height = map(int, numbers)
    return x, y, width, height


train = Command(
    summary="learn from photographs of good parts, write a bundle and calibrate it",
    example="edge-inspect train --data photos/flange --out bundles/flange",
    configure=_configure_train,
    run=_train,
)
evaluate = Command(
    summary="measure a bundle on a data set with known defects",
    example="edge-inspect evaluate --bundle bundles/flange --data photos/flange --json flange.json",
    configure=_configure_evaluate,
    run=_evaluate,
)
export = Command(
    summary="build a bundle's network anew from its trained head, as after an update",
    example="edge-inspect export --bundle bundles/flange --out bundles/flange-2",
    configure=_configure_export,
    run=_export,
)
audit = Command(
    summary="show which photographs of good parts look like defects, by comparing them with one another",
    example="edge-inspect audit --data photos/flange --html audit.html",
    configure=_configure_audit,
    run=_audit,
)
