"""Consistency training and distillation: x0 of a prediction becomes the end of the ODE's path through x."""

import abc
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

from ..conditions import conditions_of
from ..denoiser import Denoiser
from ..levels import NoiseLevel, cast_like
from ..scalar_ops import sigmoid
from ..schedules.continuous import Schedule
from ..targets import Clean
from .base import Annealed, BaseObjective
from .losses import Loss
from .teacher import GuidedTeacher, Teacher
from .times import TimeDistribution
from .training_noise import TrainingNoise
from .weights import LossWeight


@dataclass(frozen=True)
class ConsistencyGap(metaclass=Finite):
    """The cleaner time r = t max(0, 1 - n / q^a) of a pair in stage a = 1, 2, ..., n = 1 + k sigmoid(-b sigma / alpha).

    The stages share the training equally; each divides the gap by q. At first r = 0 at low noise, which is denoising.

    Source: Geng et al. 2024 (easy consistency tuning), sec. 3.3 and app. A, https://arxiv.org/abs/2406.14548

    Args:
        stages: number of stages; the paper uses 8 for CIFAR-10.
        q: division of the gap from stage to stage; the paper uses 2.
        k, b: widen the gap at low noise.
    """

    positive = ("stages", "q")
    natural = ("k", "b")

    stages: int = 8
    q: float = 2.0
    k: float = 8.0
    b: float = 1.0

    def __call__(self, t: Tensor, schedule: Schedule, progress: float) -> Tensor:
        """Return r, (B,), for times t (B,) in (0, t_max]; on a table an entry before t, or 0.

        Args:
            progress: share of the training that is done.
        """
        stage = 1 + min(int(progress * self.stages), self.stages - 1)
        n = torch.as_tensor(1.0 + self.k * sigmoid(-self.b * schedule.level(t).ratio))
        r = t * (1.0 - n * self.q**-stage).clamp(min=0.0)
        return r if schedule.steps is None else torch.minimum(r.floor().to(t.dtype), t - 1)


class ConsistencyObjective(Annealed, BaseObjective):
    """loss(f(x_t, t), f(x_r, r)) / (t - r), f the prediction's x0 and f(x_r, r) without gradient; t in units of t_max.

    f(x, 0) = x for every target but x0 itself, so that f becomes the end of the probability-flow ODE's path through x.
    Sample with sampler=lcm: each step takes f and adds fresh noise. `loss` is on x0, and so is `weight`, which is 1 by
    default. Both calls of the network have the same dropout.

    Args:
        times: the distribution of t.
        weight: the loss weight of each level.
        loss: the loss of one example; the paper's is PseudoHuberLoss.
        noise: the noise that is added to the data.
        gap: the distance of r from t in the course of training.
        label_dropout: fraction of examples whose label becomes -1, the null label.
        condition_dropout: the same for other conditions, by name.
    """

    def __init__(
        self,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        noise: TrainingNoise | None = None,
        gap: ConsistencyGap | None = None,
        label_dropout: float = 0.0,
        condition_dropout: Mapping[str, float] | None = None,
    ):
        super().__init__(times, weight, loss, noise, label_dropout, condition_dropout)
        self.gap = ConsistencyGap() if gap is None else gap

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of clean x0 (B, C, H, W); conditions by name, such as label (B,) int64."""
        self.check(denoiser)
        schedule = denoiser.schedule
        times = self.times.sample(draws, schedule)
        level, eps = schedule.level(times.t), self.noise(x0, draws)
        x = level.perturb(x0, eps)
        cond |= self._dropped(conditions_of(cond), draws, x0.device)
        r = self.gap(times.t, schedule, self.progress)
        cleaner = schedule.level(r)
        with torch.no_grad(), same_dropout(x):
            earlier = self.step(x, x0, eps, level, cleaner, cond)
            end = path_end(denoiser, earlier, times.t, r, cleaner, cond)
        error = self.loss(denoiser.predict_at(x, times.t, level, **cond).x0, end)
        losses = self.weight.weighted(error, level, Clean(), times) * cast_like(schedule.t_max / (times.t - r), error)
        if denoiser.training:
            self.times.observe(times.t, error, schedule)
        return losses

    @abc.abstractmethod
    def step(
        self, x: Tensor, x0: Tensor, eps: Tensor, now: NoiseLevel, next: NoiseLevel, cond: Mapping[str, Any]
    ) -> Tensor:
        """Return x at the levels `next` on the path through x at the levels `now`, both of tensors (B,)."""

    def check(self, denoiser: Denoiser) -> None:
        check_boundary(denoiser)


class ConsistencyTraining(ConsistencyObjective):
    """Consistency training: x_t and x_r have the same x0 and eps. No teacher, from scratch or from init=.

    Source: Song et al. 2023, algorithm 3, https://arxiv.org/abs/2303.01469; without an average of the weights in
    f(x_r, r), and with the loss, of Song and Dhariwal 2023, https://arxiv.org/abs/2310.14189; from the weights of a
    diffusion model Geng et al. 2024, https://arxiv.org/abs/2406.14548

    Args: see `ConsistencyObjective`.
    """

    def step(
        self, x: Tensor, x0: Tensor, eps: Tensor, now: NoiseLevel, next: NoiseLevel, cond: Mapping[str, Any]
    ) -> Tensor:
        return next.perturb(x0, eps)


class ConsistencyDistillation(ConsistencyObjective):
    """Consistency distillation: x_r is one DDIM step of a teacher from x_t. Its schedule may be another one.

    Source: Song et al. 2023, algorithm 2, https://arxiv.org/abs/2303.01469; guidance of the teacher as in Luo et al.
    2023, sec. 4.2, https://arxiv.org/abs/2310.04378, at one scale

    Args:
        teacher: a trained denoiser, such as mezzotint.load(run); not trained, and not part of checkpoints.
        guidance_scale: w of the teacher's classifier-free guidance by label; 1 is none.
        times, weight, loss, noise, gap, label_dropout, condition_dropout: see `ConsistencyObjective`.
    """

    def __init__(
        self,
        teacher: Teacher,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        noise: TrainingNoise | None = None,
        gap: ConsistencyGap | None = None,
        guidance_scale: float = 1.0,
        label_dropout: float = 0.0,
        condition_dropout: Mapping[str, float] | None = None,
    ):
        super().__init__(times, weight, loss, noise, gap, label_dropout, condition_dropout)
        self.teacher = GuidedTeacher(teacher, guidance_scale)

    @property
    def teachers(self) -> tuple[object, ...]:
        return (self.teacher.denoiser,)

    def step(
        self, x: Tensor, x0: Tensor, eps: Tensor, now: NoiseLevel, next: NoiseLevel, cond: Mapping[str, Any]
    ) -> Tensor:
        return self.teacher.step(x, now, next, cond)


def check_boundary(denoiser: Denoiser) -> None:
    """Raise ValueError unless x0 at clean data is x, on a path that does not change."""
    if isinstance(denoiser.target, Clean):
        raise ValueError(
            "A consistency function returns x itself at clean data, and the output of target=clean is not tied to "
            "x there. Use target=edm, flow, velocity or epsilon."
        )
    if denoiser.schedule.learned:
        raise ValueError(
            f"A consistency function belongs to one path of noise levels, and the schedule {denoiser.schedule} "
            "changes in training. Use schedule=edm, rectified or another fixed one."
        )


def path_end(denoiser: Denoiser, x: Tensor, t: Tensor, r: Tensor, level: NoiseLevel, cond: Mapping[str, Any]) -> Tensor:
    """Return f(x, r), and x itself where r is clean, at which networks are not called: they take t there instead."""
    clean = torch.as_tensor(level.clean)
    at = torch.where(clean, t, r)
    end = denoiser.predict(x, at, **cond).x0
    return torch.where(clean.to(x.device, non_blocking=True).reshape(-1, *(1,) * (x.ndim - 1)), x, end)


def same_dropout(x: Tensor) -> AbstractContextManager[Any]:
    """Restore torch's global random numbers afterwards, so that the next call of the network has the same dropout."""
    return forked_mps() if x.device.type == "mps" else torch.random.fork_rng([x.device] if x.is_cuda else [])


@contextmanager
def forked_mps() -> Iterator[None]:
    """torch.random.fork_rng of Apple's GPU, whose only generator takes no device."""
    state = torch.mps.get_rng_state()
    with torch.random.fork_rng([]):
        yield
    torch.mps.set_rng_state(state)
