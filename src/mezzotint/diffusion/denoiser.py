"""The Denoiser: a network with the conventions that give its output a meaning."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .levels import NoiseLevel, broadcast_like, cast_like
from .preconditioning import InputScale, NoiseConditioning, NoScale, ScaledTime, StepIndex
from .prediction import Prediction
from .schedules.continuous import Schedule
from .targets import Epsilon, Target

_REMEMBERED = 4096  # placements kept; a trajectory needs one for each level it visits


class Denoise(Protocol):
    """Anything that answers for x at a level: a Denoiser, an exact denoiser, guidance around either."""

    @property
    def schedule(self) -> Schedule: ...

    def begin(self) -> Denoise:
        """Fresh memory for one trajectory."""
        ...

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction: ...


class _Placement:
    """What depends on the level alone, worked out once: how to ask the network there and how to read its answer."""

    __slots__ = ("a", "b", "c_in", "det", "k", "level", "time")

    def __init__(
        self, level: NoiseLevel, k: float, c_in: float, time: Tensor, coefficients: tuple[float, float], det: float
    ):
        self.level, self.k, self.c_in, self.time, self.det = level, k, c_in, time, det
        self.a, self.b = coefficients


class Running:
    """A Denoiser during one trajectory: sparing a Module call, and counting."""

    __slots__ = ("calls", "network", "owner", "placed")

    def __init__(self, owner: Denoiser):
        self.owner, self.network, self.calls = owner, owner.network, 0
        # a schedule that learns may have changed since the last trajectory
        self.placed: dict[NoiseLevel, _Placement] = {} if isinstance(owner.schedule, nn.Module) else owner._placed

    @property
    def schedule(self) -> Schedule:
        return self.owner.schedule

    def begin(self) -> Running:
        return Running(self.owner)

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        p = self.placed.get(level)
        if p is None or p.time.shape[0] != x.shape[0] or p.time.device != x.device or p.time.dtype != _time_dtype(x):
            if len(self.placed) >= _REMEMBERED:
                self.placed.clear()
            p = self.placed[level] = self.owner._place(level, x)
        self.calls += 1
        if p.k != 1.0:
            x = x * p.k
        out = self.network(x if p.c_in == 1.0 else x * p.c_in, p.time, **cond)
        fraction = None
        if out.shape[1] != x.shape[1]:
            out, fraction = _split(out, x)
        if out.dtype != x.dtype:
            out = out.to(x.dtype)
        return Prediction(x, p.level, out, p.a, p.b, fraction, p.det)


class Denoiser(nn.Module):
    """network(c_in x, clock(t), **cond), read as a target on a schedule.

    It is asked at levels, in any frame: it finds its own time by the ratio of noise to signal and rescales x. Its input
    and its answer keep x's dtype; the time is float32 (float64 beside a float64 x), since bfloat16 makes 999 into 1000.

    Args:
        network: (x (B, C, H, W), time (B,), **cond) -> (B, C, H, W), or (B, 2C, H, W) with a learned variance.
        schedule: the one it was trained on.
        target: what it predicts.
        c_noise: the time it is told; by default t - 1 on tables and 1000 t / t_max on continuous schedules.
        c_in: the factor on its input.

    Raises:
        ValueError: noise does not grow along the schedule, or the target cannot be decoded somewhere on it, or the
            clock has no time there.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        target: Target | None = None,
        c_noise: NoiseConditioning | None = None,
        c_in: InputScale | None = None,
    ):
        super().__init__()
        self.network, self.schedule = network, schedule
        levels = noisy_levels(schedule)
        self.target = Epsilon() if target is None else target
        self.c_noise = c_noise or (StepIndex() if schedule.steps else ScaledTime(1000.0 / schedule.t_max))
        self.c_in = NoScale() if c_in is None else c_in
        self._placed: dict[NoiseLevel, _Placement] = {}
        check_target(self.target, schedule, levels)
        check_c_noise(self.c_noise, schedule)

    def begin(self) -> Running:
        return Running(self)

    def forward(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        """The prediction at one float level of any frame, for the whole batch."""
        return Running(self)(x, level, **cond)

    def predict(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        """Training: the prediction at a time (B,) of its own schedule for each example."""
        return self.predict_at(x, t, self.schedule.level(t), **cond)

    def predict_at(self, x: Tensor, t: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        """`predict` for a caller that knows the level of t already."""
        c_in = broadcast_like(self.c_in(level), x)
        time = cast_like(torch.as_tensor(self.c_noise(t, level)), x, _time_dtype(x))
        out = self.network(x if isinstance(c_in, float) and c_in == 1.0 else c_in * x, time, **cond)
        fraction = None
        if out.shape[1] != x.shape[1]:
            out, fraction = _split(out, x)
        a, b = self.target.coefficients(level)
        return Prediction(x, level, out.to(x.dtype), a, b, fraction)

    def using(self, network: nn.Module) -> Denoiser:
        """The same conventions around other weights."""
        return Denoiser(network, self.schedule, self.target, self.c_noise, self.c_in)

    def check(self, grid: tuple[NoiseLevel, ...]) -> None:
        """Raise ValueError if a level of this grid, but for the last, cannot be asked or decoded.

        From a clean one on the way (RePaint) a grid goes up by noise alone, and nothing is asked there.
        """
        x = torch.empty(1, 1)
        for i, level in enumerate(grid[:-1]):
            if i == 0 or not level.clean:
                self._place(level, x)

    def extra_repr(self) -> str:
        schedule = "" if isinstance(self.schedule, nn.Module) else f"schedule={self.schedule}, "
        return f"{schedule}target={self.target}, c_noise={self.c_noise}, c_in={self.c_in}"

    def _place(self, level: NoiseLevel, x: Tensor) -> _Placement:
        t = float(self.schedule.time(level))
        on_path = _floats(self.schedule.level(t))
        k = float(on_path.norm) / float(level.norm)  # beyond an end of the schedule: to the norm that x has there
        if abs(k - 1.0) < 1e-12:
            own, k = level, 1.0
        else:
            own = NoiseLevel(level.alpha * k, level.sigma * k)
        told = float(self.c_noise(t, own))
        if not math.isfinite(told):
            told = float(self.c_noise(t, on_path))
        coefficients, det = _decoding(self.target, own)
        if not math.isfinite(told):
            raise ValueError(
                f"c_noise={self.c_noise} has no finite time at {level}. Begin and end the steps that ask the network "
                f"inside the schedule, or use a clock that is finite there."
            )
        with torch.inference_mode(False):  # it is remembered, and may meet a backward pass
            time = torch.full((len(x),), told, dtype=_time_dtype(x), device=x.device)
        return _Placement(own, k, float(self.c_in(own)), time, coefficients, det)


def noisy_levels(schedule: Schedule) -> list[tuple[float, NoiseLevel]]:
    """The noisy times of a table, or 64 of a continuous schedule, each with its level.

    Raises:
        ValueError: sigma / alpha does not grow from each to the next.
    """
    times = range(1, schedule.steps + 1) if schedule.steps else [schedule.t_max * i / 64 for i in range(1, 65)]
    levels, before = [], 0.0
    for t in map(float, times):
        level = _floats(schedule.level(t))
        if not before < float(level.ratio):
            raise ValueError(
                f"The schedule {schedule} has {level} at t={t:g}, no more noise than before: sigma / alpha must grow "
                "with time. Change the numbers it is built with."
            )
        levels.append((t, level))
        before = float(level.ratio)
    return levels


def check_target(target: Target, schedule: Schedule, levels: list[tuple[float, NoiseLevel]]) -> None:
    """Raise ValueError unless the target tells x0 from eps at every one of the schedule's noisy levels."""
    for t, level in levels:
        try:
            _decoding(target, level)
        except ValueError as error:
            name = type(target).__name__.lower()
            reason = (
                f"the schedule {schedule} has alpha=0: x is pure noise there and {_SHORT.get(name, name)} says nothing "
                "about x0. Use target=velocity or target=clean."
                if level.alpha == 0
                else f"the schedule {schedule} has {level}: {error}"
            )
            raise ValueError(f"target={name} cannot be decoded at t={t:g}, where {reason}") from None


_SHORT = {"epsilon": "eps"}


def check_c_noise(c_noise: NoiseConditioning, schedule: Schedule) -> None:
    """Raise ValueError if a table ends in pure noise, where training asks too and the c_noise is infinite."""
    if schedule.steps and not math.isfinite(float(c_noise(schedule.t_max, _floats(schedule.level(schedule.t_max))))):
        raise ValueError(
            f"c_noise={c_noise} is infinite at t={schedule.t_max:g}, where the schedule {schedule} has alpha=0. Use "
            "c_noise=step_index, or a schedule that keeps a trace of signal."
        )


def _decoding(target: Target, level: NoiseLevel) -> tuple[tuple[float, float], float]:
    """Coefficients and determinant at a float level, where there are any."""
    try:
        a, b = target.coefficients(level)
        det = level.alpha * b - level.sigma * a
    except ZeroDivisionError:
        det = a = b = math.nan
    if not det or not math.isfinite(det):
        raise ValueError(
            f"target={type(target).__name__.lower()} cannot be decoded at {level}: beside x it does not tell x0 "
            "from eps there. Use another target, or a grid that does not ask at this level."
        )
    return (float(a), float(b)), float(det)


def _floats(level: NoiseLevel) -> NoiseLevel:
    """A float level, also from a schedule that learns and answers in tensors."""
    if isinstance(level.alpha, Tensor) or isinstance(level.sigma, Tensor):
        return NoiseLevel(float(level.alpha), float(level.sigma))
    return level


def _time_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _split(out: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Two outputs a channel: the prediction, and the variance's fraction (v + 1) / 2."""
    channels = x.shape[1]
    if out.shape[1] != 2 * channels:
        raise ValueError(
            f"The network answers {out.shape[1]} channels for an input of {channels}. It must give {channels}, or "
            f"{2 * channels} with a learned variance."
        )
    value, fraction = out.chunk(2, 1)
    return value, (fraction.to(x.dtype) + 1.0) / 2.0
