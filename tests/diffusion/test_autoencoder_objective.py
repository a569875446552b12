"""The loss of an autoencoder against a second writing, and its further terms."""

import pytest
import torch
from torch import nn

from mezzotint.diffusion import AutoencoderObjective, Clean, Denoiser, KeyedRandom, RectifiedFlowSchedule
from mezzotint.networks import Autoencoder


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(Autoencoder((2, 4, 4), widths=(4, 4), groups=2), RectifiedFlowSchedule(), Clean())


class Weighted(nn.Module):
    """A term with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, found: torch.Tensor, x0: torch.Tensor) -> torch.Tensor:
        return self.factor * (found - x0).abs().flatten(1).mean(1)


def test_the_loss_is_reconstruction_and_divergence(denoiser):
    x0, draws = torch.randn(3, 2, 4, 4), KeyedRandom(5, torch.tensor([7, 8, 9]))
    found = AutoencoderObjective(kl_weight=0.3)(denoiser, x0, draws)
    network = denoiser.network
    posterior = network.encode(x0)
    std = (0.5 * posterior.logvar).exp()
    z = posterior.mean + std * draws.normal("latent", (4, 2, 2))
    square = (network.decode(z).sample - x0).square().mean((1, 2, 3))
    divergence = 0.5 * (posterior.mean**2 + std**2 - 1 - 2 * std.log()).sum((1, 2, 3))
    torch.testing.assert_close(found, square + 0.3 * divergence / 32)


def test_further_terms_are_added_and_trained(denoiser):
    x0, draws = torch.randn(3, 2, 4, 4), KeyedRandom(5, torch.arange(3))
    plain, more = AutoencoderObjective(), AutoencoderObjective(terms={"distance": Weighted()})
    assert (more(denoiser, x0, draws) > plain(denoiser, x0, draws)).all()
    more(denoiser, x0, draws).mean().backward()
    (factor,) = more.parameters()
    assert factor.grad is not None
    assert all(p.grad is not None for p in denoiser.network.parameters())


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="kl_weight"):
        AutoencoderObjective(kl_weight=-1.0)
