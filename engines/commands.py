"""`edge-inspect build`, `sign` and `verify`: a bundle's engine for a GPU, and who vouches for a bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engines.cli import Command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engines.bundle import Bundle
    from engines.engine_cache import BuiltEngine

MOST_PHOTOGRAPHS = 200


def _configure_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument(
        "--engine",
        choices=("tensorrt", "tensorrt-rtx"),
        default="tensorrt",
        help="library that builds the engine and will run it (default: %(default)s)",
    )
    parser.add_argument(
        "--batch",
        type=_batch,
        metavar="N",
        help="largest number of frames at once (default: what the daemon uses, 1 or the bundle's number of tiles)",
    )
    parser.add_argument(
        "--target",
        type=_targets,
        default=("",),
        metavar="SM,...",
        help="architectures to build for ahead of time, such as sm86,sm89,sm120, with TensorRT-RTX alone, which needs "
        "no GPU for that (default: the GPU at hand)",
    )
    parser.add_argument(
        "--photographs",
        type=Path,
        metavar="DIR",
        help="further photographs of parts, good and defective, on which the range of every layer is measured beside "
        "the bundle's golden parts",
    )
    parser.add_argument(
        "--no-build", action="store_true", help="only check that the right engine is there, and fail where it is not"
    )


def _build(options: argparse.Namespace) -> None:
    from engines.backends.tensorrt_build import ensure_engine
    from engines.bundle import Bundle

    bundle = Bundle.open(options.bundle)
    photographs = _photographs(options.photographs, bundle) if options.photographs else None
    batch = options.batch or bundle.info.preprocessing.squares_a_frame
    progress = _Progress()
    for target in options.target:
        try:
            engine = ensure_engine(
                *(bundle, options.engine, batch, not options.no_build, progress.show, target, photographs)
            )
        finally:
            progress.end()
        print(_summary(engine), flush=True)
    print(f"next:       edge-inspect calibrate --bundle {options.bundle} --engine {options.engine} --good DIR")


def _photographs(folder: Path, bundle: Bundle) -> NDArray[np.uint8]:
    """Network inputs from a folder's images and its subfolders', spread over all of them where they are many."""
    import numpy as np

    from engines.errors import DataError
    from engines.images import list_images, read_image

    folders = (folder, *sorted(path for path in folder.rglob("*") if path.is_dir()))
    paths = [path for place in folders for path in list_images(place)]
    if not paths:
        raise DataError(f"expected photographs in {folder}, found none")
    spread = paths[:: -(-len(paths) // MOST_PHOTOGRAPHS)]
    preprocessing = bundle.info.preprocessing
    return np.concatenate([preprocessing.squares(preprocessing(read_image(path))) for path in spread])


def _summary(engine: BuiltEngine) -> str:
    from engines.backends.tensorrt_build import read_report

    key, report = engine.key, read_report(engine)
    library = f"{key.backend} {key.version}"
    frames = ", ".join(f"{count} {name}" for name, count in report.frames.items())
    near = f"half precision holds {report.least_headroom:.0f} times the largest number" if report.least_headroom else ""
    lines = [
        f"engine:     {engine.path}",
        f"            {library} for {key.gpu or key.target}, batch 1 to {key.batch}, {report.bytes / 2**20:.1f} MiB, "
        f"built in {report.seconds:.1f} s",
        f"precision:  {key.precision}, {len(report.kept_in_float32)} layers in float32; {near or 'no layer is half'}",
        f"            (measured on {frames}; {engine.report_path})",
    ]
    return "\n".join(lines)


class _Progress:
    """Tells on stderr what a build is at: on a terminal in one line that changes, elsewhere in a new one each time."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._topic = ""

    def show(self, text: str) -> None:
        """On a terminal `text` replaces the line before it where both say the same up to the colon."""
        topic = text.partition(":")[0]
        if not self._terminal:
            print(text, file=sys.stderr, flush=True)
            return
        if topic != self._topic:
            self.end()
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        self._topic = topic

    def end(self) -> None:
        """Leave the line as it is."""
        if self._topic:
            print(file=sys.stderr, flush=True)
        self._topic = ""


def _batch(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {text}")
    return value


def _targets(text: str) -> tuple[str, ...]:
    return tuple(name.strip().lower().replace("_", "") for name in text.split(","))


build = Command(
    summary="build a bundle's engine for an NVIDIA GPU, or check the one that is there",
    example="edge-inspect build --bundle bundles/flange --engine tensorrt",
    configure=_configure_build,
    run=_build,
)


def _configure_sign(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, metavar="BUNDLE", help="bundle to sign, after the last calibration")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--key", type=Path, metavar="FILE", help="private key (Ed25519, PEM) to sign with")
    choice.add_argument(
        "--new",
        type=Path,
        metavar="FILE",
        help="make a new private key there, and its public key beside it as .pub; with --bundle, sign with it",
    )


def _sign(options: argparse.Namespace) -> None:
    from engines.bundle import Bundle
    from engines.errors import UsageError
    from engines.signature import make_keys, sign_bundle

    if options.new:
        beside, public = make_keys(options.new)
        print(f"key:        {options.new} (keep it secret), public: {beside}, fingerprint {public.fingerprint}")
    elif not options.bundle:
        raise UsageError("--key needs a bundle to sign; add --bundle BUNDLE")
    if options.bundle:
        signer = sign_bundle(Bundle.open(options.bundle), options.key or options.new)
        print(f"signed:     {options.bundle} by {signer.fingerprint}")
        print("next:       name the public key in the station file: [trust] keys = [FILE]")


def _configure_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument(
        "--key",
        type=Path,
        required=True,
        action="append",
        metavar="FILE",
        help="public key (Ed25519, PEM) to trust; may be given several times",
    )


def _verify(options: argparse.Namespace) -> None:
    from engines.bundle import Bundle
    from engines.signature import check_signature, load_public_keys

    keys = load_public_keys(options.key)
    bundle = Bundle.open(options.bundle)
    signer = check_signature(bundle, keys)
    print(f"verified:   {bundle.path}, {bundle.info.product}, signed by {signer.fingerprint}")


sign = Command(
    summary="sign a bundle (Ed25519), or make the keys for it",
    example="edge-inspect sign --bundle bundles/flange --key quality.key",
    configure=_configure_sign,
    run=_sign,
)

verify = Command(
    summary="check that a bundle is whole and signed by one of your keys",
    example="edge-inspect verify --bundle bundles/flange --key quality.pub",
    configure=_configure_verify,
    run=_verify,
)
