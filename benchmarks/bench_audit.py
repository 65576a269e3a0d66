"""Whether the audit finds defects that were mixed into training photographs, once each or the same one many times.

`mixed`: one defect for every nine good photographs, drawn from the data set's test photographs. `repeated`: one defect
photographed 20 times, which is a test photograph moved by up to 2 pixels, turned by up to a degree, lit up to 5 %
differently and with new noise, among 100 good ones. Labels are looked at for the count alone, after the audit.

    python benchmarks/bench_audit.py --data DIR [DIR ...] --weights FILE --photographs 300 --draws 3 --markdown
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.machine import describe_machine
from benchmarks.results import Row, append_row, format_table, positive, show_table, summarise
from engines.backbones import BACKBONES
from engines.errors import DataError
from engines.images import read_image
from engines.preprocess import Preprocessing
from trainer.audit import Audit, audit
from trainer.data import Dataset, scan_dataset
from trainer.weights import Weights, find_weights

DEFECT_SHARE = 0.1
REPEATS, AMONG = 20, 100
LOOKED_AT = 0.2

Mixer = Callable[[Dataset, int, int, Path], None]


def main(argv: Sequence[str] | None = None) -> int:
    return show_table("bench_audit", _parser().parse_args(argv), measure, table)


def measure(options: argparse.Namespace) -> list[Row]:
    """One row a data set, case and draw."""
    weights, rows = find_weights(options.backbone, options.weights), []
    machine = describe_machine()
    for folder in options.data:
        dataset = scan_dataset(folder.resolve())
        if not any(sample.is_defect for sample in dataset.test):
            raise DataError(f"{folder}: expected test/<defect> as in MVTec AD, found no defects to mix in")
        for case in options.case:
            for draw in range(options.draws):
                rows.append({**_row(dataset, case, draw, options, weights), "machine": machine})
                print({key: rows[-1][key] for key in rows[-1] if key != "machine"}, file=sys.stderr, flush=True)
                if options.json:
                    append_row(options.json, rows[-1])
    return rows


def _row(dataset: Dataset, case: str, draw: int, options: argparse.Namespace, weights: Weights) -> Row:
    with tempfile.TemporaryDirectory(prefix="bench-audit-") as name:
        CASES[case](dataset, draw, options.photographs or len(dataset.train_good), Path(name))
        began = time.perf_counter()
        found = audit(Path(name), options.backbone, weights, Preprocessing(field=options.field), torch.device("cpu"))
        return {
            "data": dataset.root.name,
            "case": case,
            "draw": draw,
            **judge(found),
            "seconds": round(time.perf_counter() - began, 1),
        }


def judge(found: Audit) -> Row:
    """Count the defects, whose files' names say it, in the list's first 20 % and in groups."""
    is_defect = np.array([path.name.startswith("defect") for path in found.paths])
    first = found.order[: round(LOOKED_AT * len(found.paths))]
    grouped = [np.array(community.photographs) for community in found.communities]
    inside = np.concatenate(grouped) if grouped else np.empty(0, np.intp)
    return {
        "photographs": len(found.paths),
        "defects": int(is_defect.sum()),
        "in_first_fifth": float(is_defect[first].sum() / is_defect.sum()),
        "in_a_group": float(is_defect[inside].sum() / is_defect.sum()),
        "groups": len(grouped),
        "good_in_groups": int((~is_defect[inside]).sum()),
        "place_of_its_group": next(
            (place for place, members in enumerate(grouped, start=1) if is_defect[members].mean() > 0.5), None
        ),
    }


def mix_defects(dataset: Dataset, draw: int, photographs: int, folder: Path) -> None:
    """Link good photographs, and defects up to a tenth of all, into `folder`; all defects are different."""
    rng = np.random.default_rng(draw)
    defects = [sample.path for sample in dataset.test if sample.is_defect]
    good = min(photographs, len(dataset.train_good))
    bad = min(round(good * DEFECT_SHARE / (1 - DEFECT_SHARE)), len(defects))
    for number, index in enumerate(rng.permutation(len(dataset.train_good))[:good]):
        _link(dataset.train_good[index], folder / f"good_{number:05}")
    for number, index in enumerate(rng.permutation(len(defects))[:bad]):
        _link(defects[index], folder / f"defect_{number:05}")


def repeat_defect(dataset: Dataset, draw: int, photographs: int, folder: Path) -> None:
    """Link good photographs into `folder`, and write one defect there 20 times, slightly different each time."""
    rng = np.random.default_rng(draw)
    defects = [sample.path for sample in dataset.test if sample.is_defect]
    good = min(photographs, AMONG, len(dataset.train_good))
    for number, index in enumerate(rng.permutation(len(dataset.train_good))[:good]):
        _link(dataset.train_good[index], folder / f"good_{number:05}")
    defect = read_image(defects[rng.integers(len(defects))])
    for number in range(REPEATS):
        cv2.imwrite(str(folder / f"defect_{number:05}.png"), photographed_again(defect, rng))


def photographed_again(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The same part a moment later: moved, turned, lit a little differently, with noise of its own."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-1, 1), 1)
    matrix[:, 2] += rng.uniform(-2, 2, 2)
    moved = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)
    return np.clip(moved * rng.uniform(0.95, 1.05) + rng.normal(0, 2, moved.shape), 0, 255).astype(np.uint8)


def _link(source: Path, target: Path) -> None:
    target.with_suffix(source.suffix).symlink_to(source)


CASES: dict[str, Mixer] = {"mixed": mix_defects, "repeated": repeat_defect}


def table(rows: Sequence[Row], markdown: bool = False) -> str:
    """Mean and deviation over draws; shares in percent."""
    lines = []
    for data, case in dict.fromkeys((row["data"], row["case"]) for row in rows):
        same = [row for row in rows if (row["data"], row["case"]) == (data, case)]
        shares = [summarise([row[name] for row in same]) for name in ("in_first_fifth", "in_a_group")]
        counts = [
            summarise([row[name] for row in same], scale=1)
            for name in ("groups", "good_in_groups", "place_of_its_group", "seconds")
        ]
        lines.append(
            [data, case, str(same[0]["photographs"]), str(same[0]["defects"]), str(len(same)), *shares, *counts]
        )
    header = ["data", "case", "photographs", "defects", "draws", "% in the first 20 %", "% in a group", "groups",
              "good in groups", "place of its group", "s"]  # fmt: skip
    return format_table(header, lines, markdown)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in MVTec AD's layout")
    parser.add_argument("--backbone", choices=BACKBONES, default="resnet18")
    parser.add_argument("--weights", help="file of its ImageNet weights (default: where `train` looks for them)")
    parser.add_argument("--field", choices=("crop", "full"), default="crop")
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--photographs", type=positive, metavar="N", help="good ones at most (default: all)")
    parser.add_argument("--draws", type=positive, default=1, help="random draws of them (default: 1)")
    parser.add_argument("--json", type=Path, help="rows are added to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
