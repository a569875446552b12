"""Negative log-likelihood of held-out images under the denoiser, in bits per dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from mezzotint.data.conditions import ConditionValues
from mezzotint.data.image_set import ImageSource
from mezzotint.data.scaling import PixelScaling
from mezzotint.diffusion import (
    Denoise,
    Karras,
    KeyedRandom,
    LearnedRangeVariance,
    Prediction,
    Trailing,
    TransitionVariance,
    Variance,
    bits_per_dim,
    dequantise,
    ode_log_likelihood,
    permutation,
    variational_bound,
)
from mezzotint.diffusion.scalar_ops import Number
from mezzotint.distributed import rank_and_world
from mezzotint.errors import ConfigError
from mezzotint.metrics.metric import Context, Error, Measured, Metric, require_model, short_count

REPEAT = 1 << 40  # between the keys of two repeats of an image
NONE = ConditionValues()
STEPS = {"vlb": 1000, "ode": 32}


@dataclass(frozen=True)
class OwnVariance(Variance):
    """The network's learned variance if it has one, else the transition's: the tighter bound for broad data."""

    def between(self, small: Number, large: Number, pred: Prediction) -> Number:
        return (TransitionVariance() if pred.fraction is None else LearnedRangeVariance()).between(small, large, pred)


@dataclass(frozen=True)
class NegativeLogLikelihood(Metric):
    """Bits per dimension of the first images of a fixed shuffle of a split, each with a standard error over images.

    "vlb" is the variational bound of the ancestral chain and its terms: prior (L_T), diffusion (the sum of L_t) and
    decoder (L_0). "ode" is the density of the probability-flow ODE, by Runge-Kutta steps of four calls on a Karras grid
    that ends slightly noisy, with Hutchinson's trace and uniform dequantisation. The network is evaluated without
    guidance, with the label and conditions of each image. Random numbers are keyed by seed and image: the value
    does not depend on the batch, and a larger number of images extends a smaller one.

    Source: Ho et al. 2020, eq. 5, https://arxiv.org/abs/2006.11239; Song et al. 2021, app. D.2,
    https://arxiv.org/abs/2011.13456

    Args:
        method: "vlb", "ode", or "auto": the bound on tables, the ODE on continuous schedules.
        images: upper bound on their number.
        repeats: noise draws averaged for each image.
        steps: of the chain (by default the table's own, 1000 on continuous schedules) or of the ODE (32).
        probes: signs averaged for the trace of the ODE.
        variance: of the chain; by default learned where the network has one, else the transition's.
        split: the split that is measured.
        batch: images at a time.
    """

    needs_labels: ClassVar[bool] = True

    method: Literal["auto", "vlb", "ode"] = "auto"
    images: int = 256
    repeats: int = 1
    steps: int | None = None
    probes: int = 1
    variance: Variance | None = None
    split: Literal["train", "test", "all"] = "test"
    batch: int = 64

    def __post_init__(self) -> None:
        if self.method not in ("auto", "vlb", "ode"):
            raise ValueError(f"method={self.method!r} is not known. Choose 'auto', 'vlb' or 'ode'.")
        for name, least in (("images", 2), ("repeats", 1), ("probes", 1), ("batch", 1), ("steps", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value}: give {least} or more.")

    @property
    def required_splits(self) -> tuple[str, ...]:
        return (self.split,)

    def count(self, images: ImageSource, limit: int | None = None) -> int:
        """The number of images of a split that are measured."""
        return min(len(images), self.images, limit or self.images)

    def validate(self, context: Context) -> None:
        model = require_model(self, context, "the network that generated the images")
        if (model.codec.levels, model.codec.bounds) != (256, (-1.0, 1.0)):
            raise ConfigError(
                "bits are counted of 256 values in [-1, 1], as codec=pixels has them, and these data are "
                f"{model.codec.format}: leave metrics=nll out."
            )
        self._check_count(self.count(model.split(self.split), model.limit))

    def measure(self, context: Context) -> Measured:
        model = require_model(self, context, "the network that generated the images")
        images, conditions = model.split(self.split), model.conditions(self.split)
        count = self.count(images, model.limit)
        with context.progress("likelihood", count) as advance:
            values, errors = self.estimate(
                model.denoise, images, count, model.seed, context.device, advance, conditions
            )
        found = {"method": self.method_for(model.denoise), "count": count, "sha256": images.digest()}
        return Measured(
            values, {name: Error(size, "standard error", size) for name, size in errors.items()}, protocol=found
        )

    def estimate(
        self,
        denoise: Denoise,
        images: ImageSource,
        limit: int | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        progress: Callable[[int], None] | None = None,
        conditions: ConditionValues = NONE,
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Return values and standard errors by name: `nll_vlb_256` and its terms `nll_vlb_256_prior`, ..., or
        `nll_ode_256`.

        In several processes every process calls it, measures its share of the batches, and returns the values of all.

        Args:
            denoise: a denoiser without guidance, in evaluation mode and on the device.
            images: held-out images.
            limit: upper bound on the number of images.
            progress: called with the number of images in each batch of this process.
            conditions: those of the images, beside their labels.

        Raises:
            ConfigError: fewer than two images.
        """
        count = self.count(images, limit)
        self._check_count(count)
        method = self.method_for(denoise)
        measured = {"vlb": self._vlb, "ode": self._ode}[method]
        parts: list[dict[str, Tensor]] = []
        batches = permutation(0, "held out", len(images))[:count].split(self.batch)
        rank, world = rank_and_world()
        for index in batches[rank::world]:
            pixels, labels = images.batch(index)
            condition = {} if labels is None else {"label": labels.to(device)}
            condition |= {name: value.to(device) for name, value in conditions.batch(index, pixels).items()}
            draws = [KeyedRandom(seed, index + r * REPEAT) for r in range(self.repeats)]
            found = [measured(denoise, pixels.to(device), each, condition) for each in draws]
            parts.append({name: torch.stack([one[name] for one in found]).mean(0).cpu() for name in found[0]})
            if progress:
                progress(len(index))
        if world > 1:
            shares: list[Any] = [None] * world
            dist.all_gather_object(shares, parts)
            parts = [shares[i % world][i // world] for i in range(len(batches))]
        whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        label = f"nll_{method}_{short_count(count)}"
        values = {f"{label}{name}": bits.mean().item() for name, bits in whole.items()}
        return values, {f"{label}{name}": bits.std().item() / count**0.5 for name, bits in whole.items()}

    def method_for(self, denoise: Denoise) -> str:
        """Return the method for this denoiser's schedule: "vlb" or "ode"."""
        return self.method if self.method != "auto" else "vlb" if denoise.schedule.steps else "ode"

    def _check_count(self, count: int) -> None:
        if count < 2:
            raise ConfigError(
                f"NegativeLogLikelihood needs at least 2 images of split={self.split} for a standard error, and has "
                f"{count}. Give more, another split, or leave this metric out."
            )

    def settings(self) -> dict[str, Any]:
        variance = None if self.variance is None else repr(self.variance)
        return {"metric": type(self).__name__, **asdict(self), "variance": variance}

    def _vlb(
        self, denoise: Denoise, pixels: Tensor, draws: KeyedRandom, condition: dict[str, Any]
    ) -> dict[str, Tensor]:
        schedule = denoise.schedule
        grid = Trailing(self.steps or schedule.steps or STEPS["vlb"])(schedule)
        x0 = PixelScaling().to_float(pixels)
        bound = variational_bound(denoise, x0, grid, draws, self.variance or OwnVariance(), **condition)
        terms = {"_prior": bound.prior, "_diffusion": bound.diffusion.sum(1), "_decoder": bound.decoder}
        return {"": bound.total, **terms}

    def _ode(
        self, denoise: Denoise, pixels: Tensor, draws: KeyedRandom, condition: dict[str, Any]
    ) -> dict[str, Tensor]:
        grid = Karras((self.steps or STEPS["ode"]) + 1)(denoise.schedule)[:-1]
        x = dequantise(pixels, draws).float()
        nats = ode_log_likelihood(denoise, x, grid, draws, self.probes, **condition)
        return {"": bits_per_dim(nats, x[0].numel())}
