"""The interface of time distributions, and the times of a batch."""

import abc
from collections.abc import Callable

from torch import Tensor

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

from ...schedules.continuous import Schedule


class SampledTimes:
    """The sampled times of a batch, with their densities.

    Args:
        t: (B,), int64 on a table.
        log_density: log density of t, (B,) float64, or a function that computes it on demand.
        schedule: the schedule of t.
    """

    def __init__(self, t: Tensor, log_density: Tensor | Callable[[], Tensor], schedule: Schedule):
        self.t, self.schedule, self._log_density = t, schedule, log_density

    @property
    def log_density(self) -> Tensor:
        if callable(self._log_density):
            self._log_density = self._log_density()
        return self._log_density

    def log_snr_density(self) -> Tensor:
        """Return p(log-SNR) = p(t) / |d log_snr / dt|, (B,)."""
        return self.log_density.exp() / self.schedule.rate(self.t).abs()

    def importance(self) -> Tensor:
        """Return p_uniform(t) / p(t), (B,)."""
        return (-self.log_density).exp() / self.schedule.t_max


class TimeDistribution(metaclass=Finite):
    """A distribution over the noisy times of a schedule."""

    @abc.abstractmethod
    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """Map u, (B,) float64 uniform in (0, 1), to t (B,), increasing in u, and its log density (B,) float64."""

    def uniforms(self, draws: KeyedRandom) -> Tensor:
        """Return the uniform numbers of a batch, (B,) float64."""
        return draws.uniform("time")

    def sample(self, draws: KeyedRandom, schedule: Schedule) -> SampledTimes:
        """Return the times of the batch that `draws` indexes."""
        u = self.uniforms(draws)
        return SampledTimes(self.at(u, schedule), lambda: self(u, schedule)[1], schedule)

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return t without the density, which may be expensive."""
        return self(u, schedule)[0]

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:
        """Record the unweighted losses of training examples, bound included; most distributions ignore them."""
