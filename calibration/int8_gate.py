"""The gate that int8 has to pass: on photographs that it was not made from, it may cost no accuracy.

An int8 network has a threshold of its own, so it is held to what matters then: does it rank defects above good parts as
float32 does (image AUROC), and do good parts keep their verdict?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import msgspec
import numpy as np
from numpy.typing import NDArray

from calibration.int8 import Int8Bundle, Setting, import_nncf, settings, without_int8
from calibration.pasted import PastedDefects
from calibration.scoring import Parts, Progress, score_parts
from calibration.threshold import conformal_threshold
from engines.bundle import Bundle, Quantisation, update_bundle
from engines.errors import CalibrationError
from engines.extras import import_extra
from engines.registry import open_engine

MAX_AUROC_LOSS = 0.002


@dataclass(frozen=True)
class Evidence:
    """What a network is judged by: good parts it was not made from, and defects, real or `pasted`."""

    good: Parts
    defects: Parts
    pasted: bool

    @classmethod
    def gather(cls, good: Parts, defects: Parts | None) -> Evidence:
        """Take the defects there are; without any, paste some into the good parts."""
        return cls(good, defects or PastedDefects(good), not defects)


@dataclass(frozen=True)
class Scores:
    """Scores of one engine, float32 `(N,)`, and the verdicts on the good parts at its own threshold."""

    good: NDArray[np.float32]
    defects: NDArray[np.float32]
    rejected: NDArray[np.bool_]
    certified_rate: float

    @property
    def image_auroc(self) -> float:
        """How well the scores rank defects above good parts, 0 to 1."""
        labels = np.repeat([0, 1], [len(self.good), len(self.defects)])
        metrics = import_extra("sklearn.metrics", "int8")
        return float(metrics.roc_auc_score(labels, np.concatenate([self.good, self.defects])))


@dataclass(frozen=True)
class Finding:
    """One setting beside float32: image AUROC of both, and how many of the good parts' verdicts differ."""

    setting: Setting
    auroc_f32: float
    auroc_int8: float
    flips: int
    allowed_flips: int

    @property
    def passed(self) -> bool:
        return self.auroc_f32 - self.auroc_int8 <= MAX_AUROC_LOSS and self.flips <= self.allowed_flips

    def __str__(self) -> str:
        change = 100 * (self.auroc_int8 - self.auroc_f32)
        return (
            f"{self.setting}: image AUROC {100 * self.auroc_int8:.2f} instead of {100 * self.auroc_f32:.2f} "
            f"({change:+.3f}), {self.flips} good parts with another verdict (at most {self.allowed_flips})"
        )


def quantise(
    bundle: Bundle,
    backend: str,
    ranges: Parts,
    evidence: Evidence,
    false_reject_rate: float,
    tell: Callable[[Finding], None],
    progress: Progress | None = None,
) -> Bundle:
    """Put an int8 network into the bundle, the fastest setting that passes the gate on `backend`.

    `ranges` are good parts that were trained on, `tell` is called with every setting that was tried. An earlier int8
    network and its thresholds are replaced; the new one still has to be calibrated. Needs the `int8` extra. Raises
    CalibrationError that names the parts to blame where no setting passes, and leaves the bundle as it was.
    """
    import_nncf()  # a missing library should not be found out after minutes of scoring
    float32 = measure(bundle, backend, "f32", evidence, false_reject_rate, progress)
    findings = []
    for setting in settings(bundle, backend, ranges, progress):
        candidate = Int8Bundle.around(bundle, setting.network)
        int8 = measure(candidate, backend, "int8", evidence, false_reject_rate, progress)
        findings.append(compare(setting, float32, int8))
        tell(findings[-1])
        if findings[-1].passed:
            return _store(bundle, backend, findings[-1], evidence, len(ranges))
    raise CalibrationError(_refusal(bundle, findings))


def measure(
    bundle: Bundle,
    backend: str,
    precision: str,
    evidence: Evidence,
    false_reject_rate: float,
    progress: Progress | None = None,
) -> Scores:
    """Score the evidence, and judge the good parts at the threshold that this engine would have."""
    with open_engine(bundle, backend, precision) as engine:
        good = score_parts(engine, evidence.good, progress).scores
        defects = score_parts(engine, evidence.defects, progress).scores
    threshold = conformal_threshold(good, false_reject_rate)
    return Scores(good, defects, good > threshold.value, threshold.certified_rate)


def compare(setting: Setting, float32: Scores, int8: Scores) -> Finding:
    """Put int8 beside float32. As many verdicts may flip as the certified rate lets good parts be rejected."""
    flips = int(np.sum(float32.rejected != int8.rejected))
    allowed = int(float32.certified_rate * len(float32.good))
    return Finding(setting, float32.image_auroc, int8.image_auroc, flips, allowed)


def _store(bundle: Bundle, backend: str, finding: Finding, evidence: Evidence, ranges: int) -> Bundle:
    packages = {"nncf": str(import_nncf().__version__), "onnx": str(import_extra("onnx", "int8").__version__)}
    quantisation = Quantisation(
        backend=backend,
        parts=ranges,
        float_parts=finding.setting.float_parts,
        image_auroc_f32=finding.auroc_f32,
        image_auroc_int8=finding.auroc_int8,
        good=len(evidence.good),
        defects=len(evidence.defects),
        pasted=evidence.pasted,
        verdict_flips=finding.flips,
        versions=packages,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    info = msgspec.structs.replace(without_int8(bundle.info), quantisation=quantisation)
    return update_bundle(bundle, info, networks={"int8": finding.setting.network})


def _refusal(bundle: Bundle, findings: list[Finding]) -> str:
    best = min(findings, key=lambda finding: finding.auroc_f32 - finding.auroc_int8)
    blame = ", ".join(findings[-1].setting.float_parts)
    return (
        f"int8 is refused for {bundle.path}: of {len(findings)} settings the best one changed the image AUROC by "
        f"{100 * (best.auroc_int8 - best.auroc_f32):+.3f} points, where {-100 * MAX_AUROC_LOSS:g} is allowed, and "
        f"{best.flips} verdicts on good parts, where {best.allowed_flips} are; most to blame, in this order: {blame}. "
        "The bundle is as it was; run it in another precision"
    )
