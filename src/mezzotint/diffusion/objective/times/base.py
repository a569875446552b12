"""What a time distribution is, and what it gives for a batch."""

import abc
from collections.abc import Callable

from torch import Tensor

from mezzotint.instantiate.finite import Finite
from mezzotint.randomness import KeyedRandom

from ...schedules.continuous import Schedule


class SampledTimes:
    """The times of a batch, and how likely they were.

    Args:
        t: (B,), int64 on a table.
        log_density: (B,) float64, of t; or what works it out when a weight asks for it.
        schedule: whose times.
    """

    def __init__(self, t: Tensor, log_density: Tensor | Callable[[], Tensor], schedule: Schedule):
        self.t, self.schedule, self._log_density = t, schedule, log_density

    @property
    def log_density(self) -> Tensor:
        if not isinstance(self._log_density, Tensor):
            self._log_density = self._log_density()
        return self._log_density

    def log_snr_density(self) -> Tensor:
        """p(log-SNR) = p(t) / |d log_snr / dt|."""
        return self.log_density.exp() / self.schedule.rate(self.t).abs()

    def importance(self) -> Tensor:
        """What a uniform distribution of t would have, over p(t)."""
        return (-self.log_density).exp() / self.schedule.t_max


class TimeDistribution(metaclass=Finite):
    """A distribution over the noisy times of a schedule."""

    @abc.abstractmethod
    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """u (B,) float64 uniform in (0, 1) -> t (B,), log density at t (B,) float64; t rises with u."""

    def uniforms(self, draws: KeyedRandom) -> Tensor:
        """The uniform numbers behind a batch, (B,) float64."""
        return draws.uniform("time")

    def drawn(self, draws: KeyedRandom, schedule: Schedule) -> SampledTimes:
        """The times of a named batch."""
        u = self.uniforms(draws)
        return SampledTimes(self.at(u, schedule), lambda: self(u, schedule)[1], schedule)

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        """t alone, where the density costs more."""
        return self(u, schedule)[0]

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:
        """Told the loss of each training example, its bound with it and unweighted; most distributions do not care."""
