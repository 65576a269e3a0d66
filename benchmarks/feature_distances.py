"""How far apart good parts lie in feature space, beside the length of the recipe's noise. No defect is looked at.

From every patch of some good training photographs to the nearest patch of others: where that is mostly longer than the
noise, the discriminator can tell a training patch from its noisy copy by remembering it.

    python benchmarks/feature_distances.py --data DIR [DIR ...] --backbone resnet18 --weights FILE --markdown
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.results import format_table
from engines.backbones import BACKBONES
from engines.errors import DataError, InspectError
from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone
from trainer.data import scan_dataset
from trainer.features import extract
from trainer.memory_bank import MemoryBank
from trainer.recipe import PAPER
from trainer.weights import find_weights

QUERIES, OTHERS = 20, 200
PERCENTILES = (1, 10, 50, 90)
HEADER = ["set", "patch length", "noise length", *(f"{p} %" for p in PERCENTILES), "largest in a part, median",
          "nearer than the noise"]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        backbone = build_backbone(options.backbone, find_weights(options.backbone, options.weights).arrays)
        rows = [_row(folder, backbone, Preprocessing(field=options.field)) for folder in options.data]
    except InspectError as error:
        print(f"feature_distances: {error}", file=sys.stderr)
        return error.exit_code
    print(format_table(HEADER, rows, options.markdown))
    return 0


def _row(folder: Path, backbone: torch.nn.Module, preprocessing: Preprocessing) -> list[str]:
    paths = scan_dataset(folder).train_good
    if len(paths) <= QUERIES:
        raise DataError(f"{folder}: expected more than {QUERIES} good parts, found {len(paths)}")
    order = np.random.default_rng(0).permutation(len(paths))[: QUERIES + OTHERS]
    patches = extract(backbone, [paths[index] for index in order], preprocessing, torch.device("cpu")).patches
    queries = torch.from_numpy(patches[:QUERIES].astype(np.float32))
    others = MemoryBank(torch.from_numpy(patches[QUERIES:].astype(np.float32)).flatten(0, 1))
    return [folder.name, *_figures(queries, others.patch_scores(queries).numpy())]


def _figures(queries: torch.Tensor, distances: NDArray[np.float32]) -> list[str]:
    """Text for one line: `queries` `(N, P, C)`, `distances` to the nearest other patch `(N, P)`."""
    noise = PAPER.noise_sigma * queries.shape[2] ** 0.5
    lengths = [float(queries.norm(dim=2).mean()), noise, *np.percentile(distances, PERCENTILES)]
    largest = float(np.median(distances.max(axis=1)))
    return [*(f"{length:.2f}" for length in (*lengths, largest)), f"{(distances < noise).mean():.2%}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in MVTec AD's layout, or plain")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18")
    parser.add_argument("--weights", help="file of its ImageNet weights (default: where `train` looks for them)")
    parser.add_argument("--field", choices=("crop", "full"), default="crop")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
