"""The default recipe: repeatable, resumable, measured on good parts, and better than nothing at what it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engines.export import PATCH_STRIDE
from engines.preprocess import Preprocessing
from trainer.backbone import build_backbone
from trainer.features import Features, extract_defects
from trainer.measured import MeasuredLesson
from trainer.recipe import DEFAULT, PAPER, RECIPES
from trainer.run import Checkpoint
from trainer.simplenet import SimpleNet
from trainer.training import EpochReport, train_head
from trainer.weights import find_weights

CPU = torch.device("cpu")
SHORT = replace(DEFAULT, epochs=3, epoch_steps=8)


@pytest.fixture(scope="module")
def drawn(features: Features, photos: Path) -> Features:
    """The photographs' features, with those of 20 pictures of drawn defects."""
    backbone = build_backbone("resnet18", find_weights("resnet18", "random").arrays)
    defects = extract_defects(backbone, sorted(photos.iterdir()), Preprocessing(), CPU, 20, seed=0)
    return replace(features, defects=defects)


@pytest.fixture(scope="module")
def trained(drawn: Features) -> SimpleNet:
    return train_head(drawn, SHORT, seed=4)


def weights(network: SimpleNet) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


def test_it_is_what_train_does_by_default() -> None:
    assert list(RECIPES) == ["default", "paper"]


def test_same_seed_same_bits(drawn: Features, trained: SimpleNet) -> None:
    assert torch.equal(weights(train_head(drawn, SHORT, seed=4)), weights(trained))
    assert not torch.equal(weights(train_head(drawn, SHORT, seed=5)), weights(trained))


def test_a_stopped_training_resumes_to_the_same_bits(
    drawn: Features, trained: SimpleNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.CHECKPOINT_EVERY_S", -1.0)
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "key")

    class StopError(Exception):
        """Stands for the user's Ctrl-C."""

    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        train_head(drawn, SHORT, 4, on_epoch=stop, checkpoint=checkpoint)
    assert torch.equal(weights(train_head(drawn, SHORT, 4, checkpoint=checkpoint)), weights(trained))


def test_drawn_defects_end_up_less_normal_than_good_patches(drawn: Features) -> None:
    network = train_head(drawn, replace(SHORT, epochs=10))
    good = network.patch_scores(torch.from_numpy(drawn.patches))
    assert drawn.defects is not None
    bad = network.patch_scores(torch.from_numpy(drawn.defects.patches[None]))
    assert (bad.median() > good.flatten()[:: len(good)]).float().mean() > 0.9


def test_the_head_takes_features_as_they_come(drawn: Features, trained: SimpleNet) -> None:
    """The folded head, which the engines run, equals the network that was trained on standardised features."""
    lesson = MeasuredLesson(drawn, np.arange(len(drawn.patches)), SHORT, 4, CPU)
    run = lesson.begin()
    for epoch in range(SHORT.epochs):
        lesson.epoch(run, np.random.default_rng([4, epoch]))
    patches = torch.from_numpy(drawn.patches[0]).float()
    with torch.no_grad():
        inside = -run.network.eval().normality(run.network.hidden(lesson.standardised(patches)))
    folded = trained.to_head().fold(128)
    hidden = patches.double().numpy() @ np.hstack([folded.level2, folded.level3]).T + folded.bias
    scores = np.where(hidden > 0, hidden, 0.2 * hidden) @ folded.out_weight + folded.out_bias
    np.testing.assert_allclose(scores, inside.numpy(), atol=1e-4 * float(inside.abs().max()))
    np.testing.assert_allclose(trained.patch_scores(patches[None])[0].numpy(), scores, atol=1e-4)


def test_its_head_costs_the_engine_what_the_papers_does(drawn: Features, trained: SimpleNet) -> None:
    """The same tensors of the same shapes, and so the same graph."""
    papers = train_head(drawn, PAPER.with_epochs(1), images=np.arange(2)).to_head()
    shapes = [[(name, array.shape) for name, array in vars(head).items()] for head in (trained.to_head(), papers)]
    assert shapes[0] == shapes[1]


def test_the_noise_is_as_long_as_good_parts_lie_apart() -> None:
    """Parts with one patch each, 3 apart in a regular simplex whatever the features' unit is."""
    for unit in (1.0, 100.0):
        patches = (unit * 3 / 2**0.5 * np.eye(12)[:, None, :]).astype(np.float16)
        lesson = MeasuredLesson(Features(patches, 1, _anything(12)), np.arange(12), SHORT, 0, CPU)
        assert lesson.good_distance * lesson.unit == pytest.approx(3 * unit, rel=1e-2)


def test_a_head_without_some_photographs_sees_none_of_their_defects(drawn: Features) -> None:
    assert drawn.defects is not None
    chosen = np.array([0, 1, 2])
    inside = np.isin(drawn.defects.images, chosen)
    reduced = replace(
        drawn,
        defects=type(drawn.defects)(
            drawn.defects.patches[inside], drawn.defects.images[inside], drawn.defects.positions[inside]
        ),
    )
    with_all, without = (train_head(features, SHORT, images=chosen) for features in (drawn, reduced))
    assert torch.equal(weights(with_all), weights(without))


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_photographs_are_enough_to_run(drawn: Features, count: int) -> None:
    network = train_head(drawn, replace(SHORT, epochs=1), images=np.arange(count))
    assert torch.isfinite(weights(network)).all()


def test_features_without_drawn_defects_are_refused(features: Features) -> None:
    with pytest.raises(ValueError, match="needs drawn defects"):
        train_head(features, SHORT)


def test_defects_are_dealt_evenly_and_change_what_they_cover(drawn: Features) -> None:
    defects = drawn.defects
    assert defects is not None
    assert set(defects.images) == set(range(10))
    assert defects.positions.max() < drawn.grid**2 == (Preprocessing().input_size // PATCH_STRIDE) ** 2
    before = drawn.patches[defects.images, defects.positions].astype(np.float32)
    assert (np.abs(defects.patches - before).max(1) > 0).mean() > 0.99


def _anything(channels: int) -> object:
    from trainer.features import DefectPatches

    return DefectPatches(np.ones((5, channels), np.float16), np.zeros(5, np.intp), np.zeros(5, np.intp))
