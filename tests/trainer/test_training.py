"""Training is repeatable to the bit, resumable, and learns to tell noise from features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engines.errors import UsageError
from engines.preprocess import Preprocessing
from trainer.features import Features
from trainer.recipe import PAPER
from trainer.run import Checkpoint
from trainer.simplenet import SimpleNet
from trainer.training import EpochReport, settings_key, train_head

SHORT = PAPER.with_epochs(3)


def weights(network: SimpleNet) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


@pytest.fixture(scope="module")
def trained(features: Features) -> SimpleNet:
    return train_head(features, SHORT, seed=4)


def test_same_seed_same_bits(features: Features, trained: SimpleNet) -> None:
    assert torch.equal(weights(train_head(features, SHORT, seed=4)), weights(trained))
    assert not torch.equal(weights(train_head(features, SHORT, seed=5)), weights(trained))


def test_the_loss_falls(features: Features) -> None:
    reports: list[EpochReport] = []
    train_head(features, PAPER.with_epochs(8), on_epoch=reports.append)
    assert [report.epoch for report in reports] == list(range(1, 9))
    assert reports[-1].loss < 0.95 * reports[0].loss


class StopError(Exception):
    """Stands for the user's Ctrl-C."""


def stop_after(epoch: int) -> object:
    def hook(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise StopError

    return hook


def test_a_stopped_training_resumes_to_the_same_bits(
    features: Features, trained: SimpleNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.CHECKPOINT_EVERY_S", -1.0)
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt", "key")
    with pytest.raises(StopError):
        train_head(features, SHORT, 4, on_epoch=stop_after(2), checkpoint=checkpoint)  # type: ignore[arg-type]
    seen: list[EpochReport] = []
    resumed = train_head(features, SHORT, 4, on_epoch=seen.append, checkpoint=checkpoint)
    assert [(report.epoch, len(report.losses)) for report in seen] == [(3, 3)]
    assert torch.equal(weights(resumed), weights(trained))
    train_head(features, SHORT, 4, on_epoch=seen.append, checkpoint=checkpoint)
    assert seen == [seen[0]] * 2, "a finished training still tells its losses"


def test_a_checkpoint_of_other_settings_is_refused(
    features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.training.CHECKPOINT_EVERY_S", -1.0)
    one = settings_key(SHORT, 0, "photos", "weights", Preprocessing())
    other = settings_key(SHORT, 1, "photos", "weights", Preprocessing())
    train_head(features, SHORT, checkpoint=Checkpoint(tmp_path / "c.pt", one))
    with pytest.raises(UsageError, match="other photographs or settings"):
        train_head(features, SHORT, checkpoint=Checkpoint(tmp_path / "c.pt", other))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 half a file"])
def test_a_damaged_checkpoint_is_refused(features: Features, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(UsageError, match="without --resume"):
        train_head(features, SHORT, checkpoint=Checkpoint(tmp_path / "c.pt", "key"))


def test_scores_are_minus_the_normality_of_the_trained_network(features: Features, trained: SimpleNet) -> None:
    patches = torch.from_numpy(features.patches[:2])
    scores = trained.patch_scores(patches)
    assert scores.shape == (2, 784)
    with torch.no_grad():
        torch.testing.assert_close(scores[1], -trained(patches[1].float()))


def test_epochs_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        PAPER.with_epochs(0)
