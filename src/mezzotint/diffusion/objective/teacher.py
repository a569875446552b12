"""A trained denoiser whose steps another one learns: neither trained nor saved with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..conditions import null_like
from ..levels import NoiseLevel, broadcast_like
from ..prediction import Prediction
from ..schedules.continuous import Schedule


class Teacher(Protocol):
    """A denoiser with a time for each example, such as a Denoiser or an exact one."""

    @property
    def schedule(self) -> Schedule: ...

    def predict(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction: ...


@dataclass(frozen=True, eq=False)
class GuidedTeacher:
    """A teacher with classifier-free guidance by label, at levels of any schedule. Not a module of the objective.

    Args:
        denoiser: the teacher.
        scale: w of guidance; 1 is none.
    """

    denoiser: Teacher
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"guidance_scale={self.scale}: give a finite number.")

    def predict(self, x: Tensor, level: NoiseLevel, cond: Mapping[str, Any]) -> Prediction:
        """Return the prediction for x at levels of tensors (B,), which the teacher's schedule may scale differently."""
        follow(self.denoiser, x.device)
        schedule = self.denoiser.schedule
        t = torch.as_tensor(schedule.time(level))
        x = broadcast_like(schedule.level(t).norm / level.norm, x) * x
        prediction = self.denoiser.predict(x, t, **cond)
        if self.scale == 1.0 or cond.get("label") is None:
            return prediction
        null = self.denoiser.predict(x, t, **{**cond, "label": null_like(cond["label"])})
        return prediction.with_x0(torch.lerp(null.x0, prediction.x0, self.scale))

    def step(self, x: Tensor, now: NoiseLevel, next: NoiseLevel, cond: Mapping[str, Any]) -> Tensor:
        """Return x at the levels `next` after a DDIM step from the levels `now`, both of tensors (B,)."""
        return self.predict(x, now, cond).mix(next.alpha, next.sigma).to(x.dtype)


def follow(teacher: object, device: torch.device) -> None:
    """Move a teacher that is a module to the device of the data; no objective that has one is its parent."""
    if isinstance(teacher, nn.Module):
        teacher.to(device)
