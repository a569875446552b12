"""The objective of an autoencoder: reconstruction, and the divergence of its latents from a normal distribution."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

from ..denoiser import Denoiser
from .losses import Loss, SquaredErrorLoss
from .times import TimeDistribution, UniformTimes
from .weights import LossWeight


class LatentDistribution(Protocol):
    """N(mean, exp(logvar)) of latents (B, C, h, w)."""

    mean: Tensor
    logvar: Tensor

    def kl(self) -> Tensor:
        """The divergence (B,) from N(0, 1), in nats."""
        ...


class AutoencoderObjective(nn.Module, metaclass=Finite):
    """loss(decode(z), x0) + kl_weight KL(q(z) || N(0, 1)) / D for z ~ q(z) = encode(x0), with D values in x0.

    The network encodes and decodes (`mezzotint.networks.Autoencoder`); noise levels play no part. z is drawn by the
    purpose "latent". With a squared error per value, kl_weight relates the sums over an image as in the source.

    Source: Kingma and Welling 2014, https://arxiv.org/abs/1312.6114; the small weight of Rombach et al. 2022, appendix
    G, https://arxiv.org/abs/2112.10752

    Args:
        times, weight, label_dropout: as every objective has them; unused.
        loss: of the reconstruction.
        kl_weight: of the divergence.
        terms: further losses (B,) of (reconstruction, x0) by name, such as a perceptual distance; those with parameters
            train them.
    """

    natural = ("kl_weight",)

    def __init__(
        self,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        kl_weight: float = 1e-6,
        terms: Mapping[str, nn.Module] | None = None,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.times = UniformTimes() if times is None else times
        self.weight, self.label_dropout = weight, label_dropout
        self.loss = SquaredErrorLoss() if loss is None else loss
        self.kl_weight, self.terms = kl_weight, nn.ModuleDict(terms or {})

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of images x0 (B, C, H, W)."""
        network: Any = denoiser.network
        posterior: LatentDistribution = network.encode(x0)
        eps = draws.to(x0.device).normal("latent", posterior.mean.shape[1:]).to(posterior.mean)
        found = network.decode(posterior.mean + torch.exp(0.5 * posterior.logvar) * eps).sample.float()
        losses = self.loss(found, x0) + self.kl_weight * posterior.kl() / x0[0].numel()
        for term in self.terms.values():
            losses = losses + term(found, x0)
        return losses
