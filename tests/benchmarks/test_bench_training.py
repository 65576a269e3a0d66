"""The training benchmark compares the same training, and its arithmetic adds up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import bench_training
from benchmarks.bench_training import Reference, main, plain_loss
from trainer.backbone import build_backbone
from trainer.loss import truncated_l1
from trainer.recipe import PAPER
from trainer.simplenet import SimpleNet


def test_both_sides_minimise_the_same_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(500, 32, generator=generator)
    noise = 0.1 * torch.randn(500, 32, generator=generator)
    reference, ours = (SimpleNet(32, 64, torch.Generator().manual_seed(1)).train() for _ in range(2))
    plain, fast = plain_loss(reference, patches, noise, 0.5), truncated_l1(ours, patches, noise, 0.5)
    assert float(fast.value) == pytest.approx(float(plain.detach()), rel=1e-4)
    plain.backward()
    fast.surrogate.backward()
    gradients = [p.grad for p in reference.parameters()], [p.grad for p in ours.parameters()]
    for expected, found in zip(*gradients, strict=True):
        if expected is not None and found is not None:
            assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()) + 1e-6)


def test_reference_learns_and_times_each_step() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    reference = Reference.build(build_backbone("resnet18"), frames, 384, PAPER)
    reference.run(2)
    assert len(reference.backbone_ms) == len(reference.head_ms) == 2
    assert min(reference.backbone_ms + reference.head_ms) > 0
    patches = torch.randn(128, 384, generator=torch.Generator().manual_seed(0))
    losses = [reference.step(patches) for _ in range(12)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_quick_run_extrapolates_both_sides_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_training, "QUICK", (4, 2, 2, 2))
    path = tmp_path / "training.json"
    assert main(["--quick", "--backbone", "resnet18", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["steps"] == 160 * 50
    assert len(found["head_step_ms"]) == len(found["reference_step_ms"]) == 2
    assert found["reference_steps"] == 4
    assert found["ours_s"] == pytest.approx(found["cache_s"] + np.median(found["head_step_ms"]) * 8000 / 1e3)
    assert found["ratio"] == pytest.approx(found["reference_s"] / found["ours_s"])
    assert found["machine"]["versions"]["torch"]
    assert "extrapolated: ours and reference (from 4 steps" in capsys.readouterr().out


def test_wrong_weights_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--weights", str(tmp_path / "none.pth")]) == 2
    assert "none.pth" in capsys.readouterr().err
