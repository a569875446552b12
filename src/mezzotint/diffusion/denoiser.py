"""The denoiser: a network with the conventions that define what its output means."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .levels import NoiseLevel, broadcast_like, cast_like
from .preconditioning import InputScale, NoiseConditioning, NoScale, ScaledTime, StepIndex
from .prediction import Prediction
from .scalar_ops import equals
from .schedules.continuous import Schedule
from .targets import Epsilon, Target

_CACHE_SIZE = 4096  # cached levels; a trajectory needs one for each level it visits


class Predict(Protocol):
    """A function from x (B, C, H, W) and its noise level to a prediction; all that a sampler's step needs."""

    def __call__(self, x: Tensor, level: NoiseLevel, /, **cond: Any) -> Prediction: ...


class Denoise(Protocol):
    """Anything that predicts x0 and eps at a level: a Denoiser, an exact denoiser, guidance around either."""

    @property
    def schedule(self) -> Schedule: ...

    def begin(self) -> Denoise:
        """Return this denoiser with fresh memory for one trajectory."""
        ...

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction: ...


class _CachedLevel:
    """Everything that depends on the level alone, computed once: the network's inputs there, and its decoding."""

    __slots__ = ("a", "b", "c_in", "det", "k", "level", "time")

    def __init__(
        self, level: NoiseLevel, k: float, c_in: float, time: Tensor, coefficients: tuple[float, float], det: float
    ):
        self.level, self.k, self.c_in, self.time, self.det = level, k, c_in, time, det
        self.a, self.b = coefficients


class _Trajectory:
    """A Denoiser during one trajectory: it bypasses Module.__call__ and counts network calls."""

    __slots__ = ("cache", "calls", "network", "owner")

    def __init__(self, owner: Denoiser):
        self.owner, self.network, self.calls = owner, owner.network, 0
        # a learned schedule may have changed since the last trajectory
        self.cache: dict[NoiseLevel, _CachedLevel] = {} if owner.schedule.learned else owner._cache

    @property
    def schedule(self) -> Schedule:
        return self.owner.schedule

    def begin(self) -> _Trajectory:
        return _Trajectory(self.owner)

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        p = self.cache.get(level)
        if p is None or p.time.shape[0] != x.shape[0] or p.time.device != x.device or p.time.dtype != _time_dtype(x):
            if len(self.cache) >= _CACHE_SIZE:
                self.cache.clear()
            p = self.cache[level] = self.owner._cached_level(level, x)
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
    """network(c_in x, c_noise(t), **cond), decoded as a prediction target on a schedule.

    It is called with levels in any frame: the time follows from the ratio of noise to signal, and x is rescaled. Input
    and output keep x's dtype; the time is float32 (float64 for a float64 x), because bfloat16 rounds 999 to 1000.

    Args:
        network: (x (B, C, H, W), time (B,), **cond) -> (B, C, H, W), or (B, 2C, H, W) with a learned variance.
        schedule: the schedule that the network was trained on.
        target: the quantity that the network predicts.
        c_noise: the network's time input; by default t - 1 on tables and 1000 t / t_max on continuous schedules.
        c_in: the factor on the network's input.

    Raises:
        ValueError: sigma / alpha does not increase along the schedule, the target cannot be decoded somewhere on it, or
            c_noise is infinite at the end of a table.
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
        self._cache: dict[NoiseLevel, _CachedLevel] = {}
        check_target(self.target, schedule, levels)
        check_c_noise(self.c_noise, schedule)

    def begin(self) -> _Trajectory:
        return _Trajectory(self)

    def forward(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        """Return the prediction at one float level, in any frame, shared by the batch."""
        return _Trajectory(self)(x, level, **cond)

    def predict(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        """Return the prediction at times t (B,) of the schedule, one per example, as training needs it."""
        return self.predict_at(x, t, self.schedule.level(t), **cond)

    def predict_at(self, x: Tensor, t: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        """Return `predict` at times t (B,) whose level the caller has computed already."""
        c_in = broadcast_like(self.c_in(level), x)
        time = cast_like(torch.as_tensor(self.c_noise(t, level)), x, _time_dtype(x))
        out = self.network(x if equals(c_in, 1.0) else c_in * x, time, **cond)
        fraction = None
        if out.shape[1] != x.shape[1]:
            out, fraction = _split(out, x)
        a, b = self.target.coefficients(level)
        return Prediction(x, level, out.to(x.dtype), a, b, fraction)

    def using(self, network: nn.Module) -> Denoiser:
        """Return a denoiser with the same conventions around another network."""
        return Denoiser(network, self.schedule, self.target, self.c_noise, self.c_in)

    def check(self, grid: tuple[NoiseLevel, ...]) -> None:
        """Raise ValueError if the network cannot be called, or its output decoded, at a level other than the last.

        Clean levels inside the grid (RePaint) are skipped: the step up from there adds noise without a network call.
        """
        x = torch.empty(1, 1)
        for i, level in enumerate(grid[:-1]):
            if i == 0 or not level.clean:
                self._cached_level(level, x)

    def extra_repr(self) -> str:
        schedule = "" if self.schedule.learned else f"schedule={self.schedule}, "
        return f"{schedule}target={self.target}, c_noise={self.c_noise}, c_in={self.c_in}"

    def _cached_level(self, level: NoiseLevel, x: Tensor) -> _CachedLevel:
        t = float(self.schedule.time(level))
        on_path = _floats(self.schedule.level(t))
        k = float(on_path.norm) / float(level.norm)  # beyond an end of the schedule: rescaled to the norm of x there
        if abs(k - 1.0) < 1e-12:
            own, k = level, 1.0
        else:
            own = NoiseLevel(level.alpha * k, level.sigma * k)
        c_noise = float(self.c_noise(t, own))
        if not math.isfinite(c_noise):
            c_noise = float(self.c_noise(t, on_path))
        coefficients, det = _decoding(self.target, own)
        if not math.isfinite(c_noise):
            raise ValueError(
                f"c_noise={self.c_noise} is not finite at {level}. Start and end the grid inside the schedule, or use "
                "a c_noise that is finite there."
            )
        with torch.inference_mode(False):  # cached, and may be used in a backward pass
            time = torch.full((len(x),), c_noise, dtype=_time_dtype(x), device=x.device)
        return _CachedLevel(own, k, float(self.c_in(own)), time, coefficients, det)


def noisy_levels(schedule: Schedule) -> list[tuple[float, NoiseLevel]]:
    """Return all noisy times of a table, or 64 of a continuous schedule, each with its level.

    Raises:
        ValueError: sigma / alpha does not increase from each to the next.
    """
    times = range(1, schedule.steps + 1) if schedule.steps else [schedule.t_max * i / 64 for i in range(1, 65)]
    levels, before = [], 0.0
    for t in map(float, times):
        level = _floats(schedule.level(t))
        if not before < float(level.ratio):
            raise ValueError(
                f"The schedule {schedule} has {level} at t={t:g}, where sigma / alpha does not exceed its previous "
                "value: sigma / alpha must grow with time. Change the schedule's parameters."
            )
        levels.append((t, level))
        before = float(level.ratio)
    return levels


def check_target(target: Target, schedule: Schedule, levels: list[tuple[float, NoiseLevel]]) -> None:
    """Raise ValueError unless x0 and eps can be decoded from the target at every noisy level of the schedule."""
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
    """Raise ValueError if c_noise is infinite at the last entry of a table, which training visits as well."""
    if schedule.steps and not math.isfinite(float(c_noise(schedule.t_max, _floats(schedule.level(schedule.t_max))))):
        raise ValueError(
            f"c_noise={c_noise} is infinite at t={schedule.t_max:g}, where the schedule {schedule} has alpha=0. Use "
            "c_noise=step_index, or a schedule with alpha > 0 at its end."
        )


def _decoding(target: Target, level: NoiseLevel) -> tuple[tuple[float, float], float]:
    """Return the target's coefficients and determinant at a float level; raise ValueError where it is singular."""
    try:
        a, b = target.coefficients(level)
        det = level.alpha * b - level.sigma * a
    except ZeroDivisionError:
        det = a = b = math.nan
    if not det or not math.isfinite(det):
        raise ValueError(
            f"target={type(target).__name__.lower()} cannot be decoded at {level}: together with x it does "
            "not determine x0 and eps there. Use another target, or a grid without this level."
        )
    return (float(a), float(b)), float(det)


def _floats(level: NoiseLevel) -> NoiseLevel:
    """Return a level of floats; a learned schedule returns tensors."""
    if level.batched:
        return NoiseLevel(float(level.alpha), float(level.sigma))
    return level


def _time_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _split(out: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Split two outputs per channel into the prediction and the variance fraction (v + 1) / 2."""
    channels = x.shape[1]
    if out.shape[1] != 2 * channels:
        raise ValueError(
            f"The network returns {out.shape[1]} channels for an input of {channels}. It must return {channels}, or "
            f"{2 * channels} with a learned variance."
        )
    value, fraction = out.chunk(2, 1)
    return value, (fraction.to(x.dtype) + 1.0) / 2.0
