"""The demonstration from the first photograph to the report, each step with the command a user would call."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.demo.child import DemoError, ended_by_sigterm, run_command
from edge.demo.line import run_line
from edge.demo.parts import Part, defects_of, encode_image, render_many, write_dataset
from edge.demo.report import Judged, Story, render_report
from edge.verdict import Verdict
from engines.bundle import Bundle
from engines.engine import Engine
from engines.errors import UsageError
from engines.page.heat import Scale, quiet_level
from engines.registry import open_engine

# Tells the demo's own folder from a user's: only such a folder is emptied.
_MARK = ".edge-inspect-demo"
_WEIGHTS = "EDGE_INSPECT_WEIGHTS"
_NO_WEIGHTS = "no weights for resnet18"
# The parts of the line come from a seed that nothing else has seen, training settings included.
_SEED_PHOTOGRAPHS, _SEED_CALIBRATION, _SEED_LINE = 1, 2, 3


@dataclass(frozen=True)
class Size:
    """How much the demo does. `calibration` 0 leaves the threshold that training set with its held-back parts."""

    train: int
    test_good: int
    test_defective: int
    calibration: int
    line_good: int
    line_defective: int
    epochs: int
    takt_s: float
    patience_s: float


# 99 good parts are the fewest that can certify the usual false-reject rate of 1 %. The epochs are the recipe's own.
FULL = Size(80, 12, 14, 100, 20, 21, 20, 0.2, 900.0)
QUICK = Size(24, 4, 7, 0, 5, 7, 3, 0.1, 240.0)


def show(out: Path, kind: str, size: Size) -> None:
    """Run the whole demonstration in `out`. Raises DemoError where a step fails, UsageError for a folder in use."""
    defects_of(kind)
    _make_room(out)
    clock = _Clock(6 if size.calibration else 5)
    photographs, bundle = out / "photographs", out / "bundle"
    with ended_by_sigterm():
        with clock.step("draw", f"drawing {size.train} good {kind} parts to learn from, and others to test with"):
            counts = {"train": size.train, "good": size.test_good, "defective": size.test_defective}
            write_dataset(photographs, kind, **counts, seed=_SEED_PHOTOGRAPHS)
        with clock.step("train", f"training for {size.epochs} epochs, and export"):
            _train(photographs, bundle, size)
        if size.calibration:
            with clock.step("calibrate", f"calibrating with {size.calibration} more good parts"):
                good = out / "calibration"
                write_dataset(good, kind, train=size.calibration, good=0, defective=0, seed=_SEED_CALIBRATION)
                _require(["calibrate", "--bundle", str(bundle), "--good", str(good / "train" / "good")], size)
        with clock.step("evaluate", "measuring on the test photographs"):
            metrics = _evaluate(bundle, photographs, out / "evaluate.json", size)
        fresh = _fresh_parts(kind, size)
        with clock.step("line", f"running the line: daemon, subscriber, {len(fresh)} fresh parts"):
            verdicts = run_line(
                bundle, out, {name: encode_image(part.image) for name, part in fresh.items()}, size.takt_s
            )
        with clock.step("report", "drawing the heat maps"):
            story = _story(kind, Bundle.open(bundle), fresh, verdicts, metrics, clock.seconds)
            page = out / "report.html"
            page.write_text(render_report(story), encoding="utf-8")
    print(f"\n{verdict_table(story)}\n\nreport: {page} (everything took {sum(clock.seconds.values()):.0f} s)")


def verdict_table(story: Story) -> str:
    """The verdicts against the truth as text, with a summary."""
    rows = [f"{'part':<14}{'truth':<14}{'verdict':<14}{'score':>9}{'limit':>9}{'ms':>8}"]
    for part in story.parts:
        verdict = part.verdict
        score = "-" if verdict.score is None else f"{verdict.score:.3f}"
        rows.append(
            f"{part.name:<14}{part.truth or 'good':<14}{verdict.evaluation.value:<14}{score:>9}"
            f"{verdict.threshold:>9.3f}{verdict.stage_ms.total:>8.1f}  {part.mistake.upper()}".rstrip()
        )
    good = sum(part.truth is None for part in story.parts)
    backbone = ", random backbone" if story.random_backbone else ""
    rows.append(
        f"{len(story.parts)} parts{backbone}: {story.count('escape')} of {len(story.parts) - good} defective ones "
        f"escaped, {story.count('false reject')} of {good} good ones were rejected"
    )
    return "\n".join(rows)


class _Clock:
    """Announces the steps and measures them."""

    def __init__(self, steps: int) -> None:
        self.seconds: dict[str, float] = {}
        self._steps = steps

    @contextmanager
    def step(self, name: str, announcement: str) -> Iterator[None]:
        """Run one step; its time goes to `seconds[name]`."""
        print(f"[{len(self.seconds) + 1}/{self._steps}] {announcement}", flush=True)
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began


def _make_room(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        if not (out / _MARK).is_file():
            raise UsageError(f"{out} holds files that are not the demo's, and they would be lost; name another --out")
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _MARK).touch()
    except OSError as error:
        raise UsageError(f"{out}: the demo cannot write there ({error.strerror}); name another --out") from None


def _train(photographs: Path, bundle: Path, size: Size) -> None:
    command = ["train", "--data", str(photographs), "--out", str(bundle), "--epochs", str(size.epochs)]
    # With a calibration of its own, all photographs are trained on; folds would take as long again several times.
    command += ["--hold-back", "0" if size.calibration else "0.2"]
    outcome = run_command(command, size.patience_s)
    # A file that was named and is wrong is the user's to mend; only when nothing was named may the demo go on.
    if outcome.code == 2 and _NO_WEIGHTS in outcome.errors and not os.environ.get(_WEIGHTS):
        print("weights: none could be had, so THE BACKBONE IS RANDOM and detection will be weak", flush=True)
        outcome = run_command([*command, "--weights", "random"], size.patience_s)
    _check("train", outcome.code)
    source = Bundle.open(bundle).info.backbone
    print(f"weights: {source.weights_source} (sha256 {source.weights_sha256[:12]})", flush=True)


def _evaluate(bundle: Path, photographs: Path, target: Path, size: Size) -> dict[str, float | int | str | None]:
    _require(["evaluate", "--bundle", str(bundle), "--data", str(photographs), "--json", str(target)], size)
    metrics: dict[str, float | int | str | None] = json.loads(target.read_text(encoding="utf-8"))
    return metrics


def _require(command: Sequence[str], size: Size) -> None:
    _check(command[0], run_command(command, size.patience_s).code)


def _check(name: str, code: int) -> None:
    if code:
        # 2 says that the input was wrong, and so it is the user's here as well.
        raise (UsageError if code == 2 else DemoError)(f"edge-inspect {name} ended with exit code {code}; see above")


def _fresh_parts(kind: str, size: Size) -> dict[str, Part]:
    """Parts nobody has seen, good and defective mixed, under names that say nothing."""
    names = defects_of(kind)
    defects = [None] * size.line_good + [names[index % len(names)] for index in range(size.line_defective)]
    order = np.random.default_rng(_SEED_LINE).permutation(len(defects))
    parts = render_many(kind, _SEED_LINE, [defects[index] for index in order])
    return {f"part-{number:03d}.png": part for number, part in enumerate(parts, start=1)}


def _story(
    kind: str,
    bundle: Bundle,
    fresh: dict[str, Part],
    verdicts: dict[str, Verdict],
    metrics: dict[str, float | int | str | None],
    seconds: dict[str, float],
) -> Story:
    """Run the calibrated engine once more over the same frames, for the maps that verdicts do not carry."""
    calibration = bundle.latest_calibration
    with open_engine(bundle, calibration.backend, calibration.precision) as engine:
        quiet = quiet_level(engine.infer(bundle.golden_frames(calibration)).maps)
        judged = [_judged(name, part, verdicts[name], bundle, engine) for name, part in fresh.items()]
        description = engine.description
    return Story(
        kind=kind,
        parts=tuple(judged),
        info=bundle.info,
        calibration=calibration,
        engine=description,
        bundle_digest=bundle.digest,
        scale=Scale(quiet, calibration.map_threshold),
        metrics=metrics,
        seconds=seconds,
    )


def _judged(name: str, part: Part, verdict: Verdict, bundle: Bundle, engine: Engine) -> Judged:
    frame = bundle.info.preprocessing(part.image)
    anomaly_map = engine.infer(frame[np.newaxis]).maps[0]
    return Judged(name, part.defect, verdict, part.image, part.mask, anomaly_map)
