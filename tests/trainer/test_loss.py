"""The active-patch loss has the value, gradient and running statistics of the plain network in training mode."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from trainer.loss import truncated_l1
from trainer.simplenet import SimpleNet


def plain_loss(network: SimpleNet, patches: Tensor, noise: Tensor, margin: float) -> Tensor:
    adapted = network.adaptor(patches)
    hidden = network.norm(network.hidden(torch.cat([adapted, adapted + noise])))
    normality = network.out(nn.functional.leaky_relu(hidden, 0.2)).squeeze(1)
    true, fake = normality.split(len(patches))
    return (margin - true).clamp_min(0).mean() + (margin + fake).clamp_min(0).mean()


def batch(sharpness: float, dtype: torch.dtype, hidden: int = 40) -> tuple[SimpleNet, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    network = SimpleNet(24, hidden, generator).to(dtype).train()
    with torch.no_grad():
        network.out.weight.mul_(sharpness)
        network.norm.weight.uniform_(0.5, 2, generator=generator)
        network.norm.bias.normal_(generator=generator)
        network.hidden.bias.normal_(generator=generator)
    patches = torch.randn(300, 24, generator=generator, dtype=dtype) + 2
    return network, patches, 0.3 * torch.randn(300, 24, generator=generator, dtype=dtype)


@pytest.mark.parametrize("hidden", [16, 24, 40])
@pytest.mark.parametrize("sharpness", [0.0, 0.3, 8.0])
def test_equals_the_plain_network_in_float64(sharpness: float, hidden: int) -> None:
    network, patches, noise = batch(sharpness, torch.float64, hidden)
    reference = copy.deepcopy(network)
    expected = plain_loss(reference, patches, noise, 0.5)
    expected.backward()
    loss = truncated_l1(network, patches, noise, 0.5)
    loss.surrogate.backward()

    assert loss.value.item() == pytest.approx(expected.item(), rel=1e-6)
    for (name, found), plain in zip(network.named_parameters(), reference.parameters(), strict=True):
        gradient = torch.zeros_like(found) if found.grad is None else found.grad
        torch.testing.assert_close(gradient, plain.grad, rtol=1e-6, atol=1e-7, msg=lambda text, n=name: f"{n}: {text}")
    torch.testing.assert_close(network.norm.running_mean, reference.norm.running_mean, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(network.norm.running_var, reference.norm.running_var, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("hidden", [16, 40])
def test_counts_only_the_patches_within_the_margin(hidden: int) -> None:
    network, patches, noise = batch(8.0, torch.float64, hidden)
    assert 0.2 < truncated_l1(network, patches, noise, 0.5).active_share < 0.8
    assert truncated_l1(network, patches, noise, 1e6).active_share == 1.0


@pytest.mark.parametrize("hidden", [16, 40])
def test_no_active_patch_gives_no_gradient(hidden: int) -> None:
    network, patches, noise = batch(1.0, torch.float64, hidden)
    loss = truncated_l1(network, patches, noise, -1e6)
    loss.surrogate.backward()
    assert loss.value.item() == 0.0
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())


def test_bfloat16_autocast_stays_close_to_float32() -> None:
    network, patches, noise = batch(1.0, torch.float32)
    expected = truncated_l1(copy.deepcopy(network), patches, noise, 0.5).value
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = truncated_l1(network, patches, noise, 0.5).value
    assert found.item() == pytest.approx(expected.item(), rel=0.02)
