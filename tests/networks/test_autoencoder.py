"""The autoencoder: the numbers of diffusers with the same weights, the divergence in closed form, what is refused."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from mezzotint.networks import Autoencoder
from mezzotint.networks.autoencoder import Posterior

SMALL = {"widths": (8, 16, 16), "groups": 4, "latent_channels": 3}


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_that_of_diffusers(x, attention, layers):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    ours = Autoencoder((3, 8, 12), layers=layers, attention=attention, **SMALL).eval()
    theirs = diffusers.AutoencoderKL.from_config(ours.description() | {"sample_size": 8}).eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        found, expected = ours.encode(x), theirs.encode(x).latent_dist
        torch.testing.assert_close(found.mean, expected.mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.logvar, expected.logvar, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            ours.decode(found.mean).sample, theirs.decode(expected.mean).sample, rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(found.kl(), expected.kl(), rtol=1e-5, atol=1e-5)


def test_the_divergence_is_that_of_normal_distributions():
    mean, logvar = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(Posterior(mean, logvar).kl(), expected)


def test_it_answers_with_the_reconstruction_of_its_condition(x):
    network = Autoencoder((3, 8, 12), **SMALL).eval()
    time = torch.zeros(2)
    with torch.no_grad():
        expected = network.decode(network.encode(x).mean).sample
        assert torch.equal(network(x, time), expected)
        assert torch.equal(network(torch.randn_like(x), time, original=x), expected)


def test_its_description_builds_it():
    network = Autoencoder((3, 8, 12), **SMALL)
    other = Autoencoder.of_description(network.description())
    assert other.description() == network.description()
    other.load_state_dict(network.state_dict())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": 2}, "takes no label"),
        ({"widths": (6,)}, "multiples of groups=4"),
        ({"shape": (3, 6, 8)}, "multiples of 4"),
        ({"shape": (3, 8)}, "multiples of 4"),
        ({"layers": 0}, "layers"),
    ],
)
def test_what_cannot_be_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Autoencoder(**{"shape": (3, 8, 8), **SMALL, **changes})
