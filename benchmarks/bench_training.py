"""Training time: the head on cached features against recomputing the frozen features at every step.

(a) ours: features of all photographs once, then `trainer.training.train_head`.
(b) the reference, a plain loop written from the paper: at every step the frozen backbone on 4 photographs, then the
    head, all in float32. The official code does that and more (level 4, an unfolded neighbourhood, reading the files
    again), so (b) is a lower bound of its time. A few steps of (b) are measured and multiplied.

They take turns (A B A B), so that what else the machine does hits both, in a process each, because ours keeps freed
memory (`trainer/allocator.py`).

    python benchmarks/bench_training.py --json training.json         # 200 photographs, 160 epochs: (a) runs in full
    python benchmarks/bench_training.py --quick                      # a minute; (a) is extrapolated as well

With resnet18 and resnet34 a quick run makes (a) look slow: there its steps get cheaper as fewer patches are left
within the margin (`trainer/loss.py`), and its few steps all come before that. The share is printed. Beside other busy
processes set OMP_NUM_THREADS=1: two threads that wait for each other on one free core slow both sides many times.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it runs as a file, from anywhere

from benchmarks.disturbance import Disturbance
from benchmarks.machine import describe_machine
from benchmarks.results import format_table
from edge.demo.parts import write_dataset
from engines.backbones import BACKBONES
from engines.errors import InspectError
from engines.head import LEAKY_SLOPE
from engines.images import list_images, read_image
from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone
from trainer.features import Features, extract, patch_features
from trainer.precision import training_dtype
from trainer.recipe import PAPER, PaperRecipe
from trainer.simplenet import SimpleNet
from trainer.training import EpochReport, train_head
from trainer.weights import RANDOM, find_weights

CPU = torch.device("cpu")
PART = "flange"
# (images, epochs, rounds, reference steps a round) of what is measured; the full size is what is reported.
FULL = (200, 160, 4, 4)
QUICK = (24, 6, 3, 3)


class ReferenceProcess:
    """A Reference in a process of its own; leaving the `with` block ends it."""

    def __init__(self, backbone: str, weights: str, frames: NDArray[np.uint8], recipe: PaperRecipe) -> None:
        self.backbone_ms: list[float] = []
        self.head_ms: list[float] = []
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve_reference, args=(theirs, backbone, weights, frames, recipe), daemon=True
        )

    def run(self, steps: int) -> None:
        """Time `steps` steps."""
        self._orders.send(steps)
        backbone_ms, head_ms = self._orders.recv()
        self.backbone_ms += backbone_ms
        self.head_ms += head_ms

    def forget(self) -> None:
        """Drop the times so far."""
        self.backbone_ms.clear()
        self.head_ms.clear()

    def __enter__(self) -> ReferenceProcess:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve_reference(
    orders: Connection, backbone_name: str, weights: str, frames: NDArray[np.uint8], recipe: PaperRecipe
) -> None:
    backbone = build_backbone(backbone_name, find_weights(backbone_name, weights).arrays)
    reference = Reference.build(backbone, frames, sum(BACKBONES[backbone_name].channels), recipe)
    while True:
        known = len(reference.head_ms)
        reference.run(orders.recv())
        orders.send((reference.backbone_ms[known:], reference.head_ms[known:]))


@dataclass
class Reference:
    """SimpleNet's training step from the paper (sections 3.2-3.5), in float32, with nothing reused between steps."""

    backbone: nn.Module
    frames: NDArray[np.uint8]
    recipe: PaperRecipe
    head: SimpleNet
    optimisers: tuple[torch.optim.Optimizer, ...]
    backbone_ms: list[float] = field(default_factory=list)
    head_ms: list[float] = field(default_factory=list)

    @classmethod
    def build(cls, backbone: nn.Module, frames: NDArray[np.uint8], channels: int, recipe: PaperRecipe) -> Reference:
        """A fresh head for `channels` patch channels with the paper's two optimisers."""
        head = SimpleNet(channels, recipe.hidden, torch.Generator().manual_seed(0)).train()
        rates = (
            (list(head.adaptor.parameters()), recipe.adaptor_rate),
            (head.discriminator_parameters(), recipe.discriminator_rate),
        )
        optimisers = tuple(torch.optim.Adam(p, lr, weight_decay=recipe.weight_decay) for p, lr in rates)
        return cls(backbone, frames, recipe, head, optimisers)

    def run(self, steps: int) -> None:
        """Time `steps` steps, each on other photographs."""
        rng = np.random.default_rng(len(self.head_ms))
        for _ in range(steps):
            chosen = rng.choice(len(self.frames), self.recipe.batch_images, replace=False)
            began = time.perf_counter()
            patches = patch_features(self.backbone, self.frames[chosen], CPU).flatten(0, 1)
            between = time.perf_counter()
            self.step(patches.clone())  # inference tensors cannot take part in a backward pass
            ended = time.perf_counter()
            self.backbone_ms.append(1e3 * (between - began))
            self.head_ms.append(1e3 * (ended - between))

    def step(self, patches: Tensor) -> float:
        """One step on patches `(B, C)`; the loss before it."""
        loss = plain_loss(self.head, patches, torch.randn_like(patches) * self.recipe.noise_sigma, self.recipe.margin)
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        return float(loss.detach())


def plain_loss(head: SimpleNet, patches: Tensor, noise: Tensor, margin: float) -> Tensor:
    """The truncated L1 loss of all patches (eqs. 7 and 8), true and noisy ones in one batch."""
    adapted = head.adaptor(patches)
    hidden = head.norm(head.hidden(torch.cat([adapted, adapted + noise])))
    true, fake = head.out(functional.leaky_relu(hidden, LEAKY_SLOPE)).squeeze(1).chunk(2)
    return (margin - true).clamp_min(0).mean() + (margin + fake).clamp_min(0).mean()


@dataclass
class Stopwatch:
    """Cuts our training into rounds and lets the reference run between them, which counts for itself."""

    reference: ReferenceProcess
    reference_steps: int
    epochs_a_round: int
    steps_an_epoch: int
    rounds_s: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    active_shares: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def __call__(self, report: EpochReport) -> None:
        """Called by `train_head` after each epoch."""
        self.active_shares.append(report.active_share)
        if report.epoch % self.epochs_a_round and report.epoch != report.epochs:
            return
        self.rounds_s.append(time.perf_counter() - self.began)
        self.epochs.append(report.epoch)
        print(f"epoch {report.epoch}/{report.epochs}, {sum(self.rounds_s):.0f} s of ours", file=sys.stderr, flush=True)
        self.reference.run(self.reference_steps)
        self.began = time.perf_counter()

    @property
    def step_ms(self) -> list[float]:
        """Mean time of our step in each round, in milliseconds."""
        counts = np.diff([0, *self.epochs]) * self.steps_an_epoch
        return [1e3 * seconds / int(count) for seconds, count in zip(self.rounds_s, counts, strict=True)]


@dataclass(frozen=True)
class Result:
    """Times for the full size; which of them were extrapolated says `extrapolated`. Lists have an entry a round."""

    backbone: str
    images: int
    epochs: int
    steps: int
    threads: int
    head_dtype: str
    cache_s: float
    head_step_ms: list[float]
    active_share: list[float]
    ours_s: float
    reference_backbone_ms: float
    reference_head_ms: float
    reference_steps: int
    reference_step_ms: list[float]
    reference_s: float
    extrapolated: list[str]
    disturbed: str
    machine: dict[str, object]

    @property
    def ratio(self) -> float:
        """How many times longer the reference takes for the whole training, our feature cache counted."""
        return self.reference_s / self.ours_s

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "ratio": self.ratio}, indent=1) + "\n"

    def report(self) -> str:
        """The figures as text, for people."""
        table = [
            ["features, once", f"{self.cache_s:.1f} s", "-"],
            ["features, each step", "-", f"{self.reference_backbone_ms:.0f} ms"],
            ["head, each step", _spread(self.head_step_ms), f"{self.reference_head_ms:.0f} ms"],
            ["whole step", _spread(self.head_step_ms), _spread(self.reference_step_ms)],
            ["whole training", f"{self.ours_s / 60:.1f} min", f"{self.reference_s / 60:.1f} min"],
        ]
        first, last = self.active_share[0], self.active_share[-1]
        return "\n".join(
            [
                f"{self.images} images x {self.epochs} epochs = {self.steps} steps of {self.backbone}, "
                f"{self.threads} threads",
                format_table(["", f"ours, {self.head_dtype}", "recomputing, float32"], table),
                f"ratio {self.ratio:.1f}",
                f"patches within the margin: {first:.0%} in the first epoch, {last:.0%} in the last measured",
                f"extrapolated: {' and '.join(self.extrapolated)} (from {self.reference_steps} steps of the reference)",
                *([self.disturbed] if self.disturbed else []),
            ]
        )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ms ({min(values):.0f}-{max(values):.0f} by round)"


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        result = measure(options.backbone, options.weights, options.quick)
    except InspectError as error:
        print(f"bench_training: {error}", file=sys.stderr)
        return error.exit_code
    print(result.report())
    if options.json:
        options.json.write_text(result.to_json(), encoding="utf-8")
    return 0


def measure(backbone_name: str, weights: str, quick: bool) -> Result:
    """Run both in turns, the reference between rounds of ours."""
    images, epochs, rounds, reference_steps = QUICK if quick else FULL
    recipe = PAPER.with_epochs(epochs)
    backbone = build_backbone(backbone_name, find_weights(backbone_name, weights).arrays)
    frames, features, cache_s = _prepare(backbone, images)
    with ReferenceProcess(backbone_name, weights, frames, recipe) as reference, Disturbance() as disturbance:
        reference.run(1)  # the first step pays for memory and for oneDNN's plans
        reference.forget()
        watch = Stopwatch(reference, reference_steps, -(-epochs // rounds), -(-images // recipe.batch_images))
        train_head(features, recipe, on_epoch=watch)
    return _result(backbone_name, quick, watch, cache_s * FULL[0] / images, disturbance.remark)


def _prepare(backbone: nn.Module, images: int) -> tuple[NDArray[np.uint8], Features, float]:
    """Frames, features and the seconds that the features took, reading the files included."""
    preprocessing = Preprocessing()
    with tempfile.TemporaryDirectory(prefix="bench-training-") as folder:
        write_dataset(Path(folder) / "parts", PART, train=images, good=0, defective=0)
        paths = list_images(Path(folder) / "parts" / "train" / "good")
        extract(backbone, paths[:1], preprocessing, CPU)
        began = time.perf_counter()
        features = extract(backbone, paths, preprocessing, CPU)
        cache_s = time.perf_counter() - began
        return np.stack([preprocessing(read_image(path)) for path in paths]), features, cache_s


def _result(backbone: str, quick: bool, watch: Stopwatch, cache_s: float, disturbed: str) -> Result:
    images, epochs, *_ = FULL
    steps = epochs * -(-images // PAPER.batch_images)
    reference, count = watch.reference, watch.reference_steps
    totals = [sum(pair) for pair in zip(reference.backbone_ms, reference.head_ms, strict=True)]
    head_s = statistics.median(watch.step_ms) * steps / 1e3 if quick else sum(watch.rounds_s)
    return Result(
        backbone=backbone,
        images=images,
        epochs=epochs,
        steps=steps,
        threads=torch.get_num_threads(),
        head_dtype=str(training_dtype(CPU)).removeprefix("torch."),
        cache_s=cache_s,
        head_step_ms=watch.step_ms,
        active_share=watch.active_shares,
        ours_s=cache_s + head_s,
        reference_backbone_ms=statistics.median(reference.backbone_ms),
        reference_head_ms=statistics.median(reference.head_ms),
        reference_steps=len(totals),
        reference_step_ms=[statistics.median(totals[at : at + count]) for at in range(0, len(totals), count)],
        reference_s=statistics.median(totals) * steps / 1e3,
        extrapolated=["ours", "reference"] if quick else ["reference"],
        disturbed=disturbed,
        machine=describe_machine(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--backbone", choices=BACKBONES, default="wide_resnet50_2")
    parser.add_argument("--weights", default=RANDOM, help="a file; time hardly depends on it (default: random)")
    parser.add_argument("--quick", action="store_true", help="measure a small run and extrapolate both sides")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
