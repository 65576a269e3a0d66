"""The coreset against textbook greedy k-centre, the search against all distances in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer import memory_bank
from trainer.memory_bank import MemoryBank, build_memory_bank, greedy_coreset


def textbook_greedy(points: Tensor, count: int, start: int) -> list[int]:
    """Gonzalez 1985: one pass over all points for every choice, in float64."""
    chosen = [start]
    distances = torch.full((len(points),), torch.inf, dtype=torch.float64)
    while len(chosen) < count:
        distances = torch.minimum(distances, (points.double() - points[chosen[-1]].double()).square().sum(1))
        chosen.append(int(distances.argmax()))
    return chosen


def covering_radius(points: Tensor, chosen: Tensor | list[int]) -> float:
    return float(torch.cdist(points.double(), points[chosen].double()).amin(1).max())


def clusters(seed: int, count: int, channels: int) -> Tensor:
    """Points of uneven density around a dozen centres, as the patches of a part are."""
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(12, channels, generator=generator)
    spread = 0.3 + torch.rand(count, 1, generator=generator) ** 3
    members = torch.randint(12, (count,), generator=generator)
    return centres[members] + spread * torch.randn(count, channels, generator=generator)


@pytest.mark.parametrize("candidates", [1, 7, 100, 5000])
def test_coreset_is_the_textbooks(candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small integers are exact in bfloat16, so that rounding cannot change the order.
    generator = torch.Generator().manual_seed(candidates)
    points = torch.randint(-100, 101, (1500, 24), generator=generator).float()
    monkeypatch.setattr(memory_bank, "_CANDIDATES", candidates)
    monkeypatch.setattr(memory_bank, "_ROWS", 400)
    monkeypatch.setattr(memory_bank, "_COLUMNS", 32)
    assert greedy_coreset(points, 150, start=3).tolist() == textbook_greedy(points, 150, start=3)


@pytest.mark.parametrize("seed", range(3))
def test_covering_radius_is_within_one_percent_of_the_textbooks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points = clusters(seed, 3000, 64)
    monkeypatch.setattr(memory_bank, "_CANDIDATES", 256)
    chosen = greedy_coreset(points, 300, start=0)
    assert len(set(chosen.tolist())) == 300
    assert covering_radius(points, chosen) <= 1.01 * covering_radius(points, textbook_greedy(points, 300, 0))


def test_coreset_stops_when_only_duplicates_are_left() -> None:
    points = torch.eye(5).repeat(40, 1) * 8
    chosen = greedy_coreset(points, 50)
    assert len(chosen) == 5
    assert covering_radius(points, chosen) == 0


@pytest.mark.parametrize("size", [1, 15, 16, 17, 400, 2049, 5000])
def test_distances_are_those_of_the_nearest_vector(size: int) -> None:
    vectors, queries = clusters(size, size, 48), clusters(9, 700, 48).view(2, 350, 48)
    expected = torch.cdist(queries.double(), vectors.double()).amin(2)
    found = MemoryBank(vectors).patch_scores(queries)
    assert found.dtype == torch.float32
    assert found.shape == (2, 350)
    excess = found.double() / expected - 1
    # Never nearer than the nearest; rarely the runner-up where bfloat16 cannot tell the two apart.
    assert excess.min() > -1e-6
    assert excess.max() < 2e-3
    assert (excess < 1e-6).double().mean() > 0.99


def test_near_twins_cost_no_more_than_bfloat16_can_tell() -> None:
    # A bank as dense as no coreset is: all but one of the vectors are twins, told apart by less than rounding.
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(40, 64, generator=generator).repeat(50, 1)
    vectors += 1e-3 * torch.randn(vectors.shape, generator=generator)
    found = MemoryBank(vectors).patch_scores(vectors[None])
    assert found.max() < 0.02  # the twins are 0.01 apart, their kinds 11


def test_a_patch_of_the_bank_scores_zero_even_far_from_the_origin() -> None:
    vectors = 500 + clusters(1, 300, 32)
    assert MemoryBank(vectors).patch_scores(vectors[None]).max() == 0


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 32 channels"):
        MemoryBank(torch.zeros(4, 32)).patch_scores(torch.zeros(1, 5, 33))


@pytest.fixture
def patches() -> np.ndarray:
    return clusters(2, 600, 40).view(6, 100, 40).numpy().astype(np.float16)


def test_bank_holds_the_share_and_is_seeded(patches: np.ndarray) -> None:
    reports: list[tuple[int, int]] = []
    bank = build_memory_bank(patches, share=0.1, seed=4, progress=lambda done, total: reports.append((done, total)))
    assert bank.size == 60
    assert reports[0] == (1, 60)
    assert reports[-1] == (60, 60)
    rows = torch.from_numpy(patches.astype(np.float32))
    scores = bank.patch_scores(rows)
    assert int((scores == 0).sum()) == 60  # the bank's vectors are patches of the good parts
    assert torch.equal(build_memory_bank(patches, share=0.1, seed=4).patch_scores(rows), scores)
    assert not torch.equal(build_memory_bank(patches, share=0.1, seed=5).patch_scores(rows), scores)


def test_bank_from_a_memory_mapped_file(patches: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "patches.npy", patches)
    mapped = build_memory_bank(np.load(tmp_path / "patches.npy", mmap_mode="r"))
    rows = torch.from_numpy(patches.astype(np.float32))
    assert torch.equal(mapped.patch_scores(rows), build_memory_bank(patches).patch_scores(rows))


def test_the_products_precision_is_restored(patches: np.ndarray) -> None:
    before = torch.get_float32_matmul_precision()
    build_memory_bank(patches)
    assert torch.get_float32_matmul_precision() == before
