"""Tiny runs of the objectives for few steps: `python few_steps.py DIRECTORY` trains each, on its rank of several."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from tiny import train

from mezzotint.diffusion import (
    DDIM,
    AdaptiveLoss,
    ConsistencyDistillation,
    ConsistencyGap,
    ConsistencyTraining,
    ContinuousConsistency,
    Denoiser,
    Flow,
    Heun,
    MeanFlow,
    MeanFlowObjective,
    ProgressiveDistillation,
    RectifiedFlowSchedule,
    ReflowObjective,
    Trailing,
)
from mezzotint.generation import SamplingRecipe
from mezzotint.networks import MLP, IntervalCondition

STEPS = 30


def denoiser(seed: int = 3, two_times: bool = False) -> Denoiser:
    torch.manual_seed(seed)
    conditions = {"interval": IntervalCondition()} if two_times else {}
    return Denoiser(MLP((1, 4, 4), classes=2, width=16, conditions=conditions), RectifiedFlowSchedule(), Flow())


def parts(name: str) -> dict[str, Any]:
    """The parts of a run that an objective changes."""
    gap, lcm = ConsistencyGap(stages=3), SamplingRecipe(DDIM(1e9), Trailing(2))
    if name == "mean_flow":
        return {
            "denoiser": denoiser(two_times=True),
            "objective": MeanFlowObjective(equal=0.5, label_dropout=0.2, loss=AdaptiveLoss()),
            "sampling": SamplingRecipe(MeanFlow(), Trailing(2)),
        }
    if name == "training":
        return {"denoiser": denoiser(), "objective": ConsistencyTraining(gap=gap, label_dropout=0.2), "sampling": lcm}
    if name == "continuous":
        objective = ContinuousConsistency(teacher=denoiser(4), warmup=0.5, label_dropout=0.2)
        return {"denoiser": denoiser(), "objective": objective, "sampling": lcm}
    if name == "reflow":
        return {
            "denoiser": denoiser(),
            "objective": ReflowObjective(denoiser(4), Heun(), Trailing(2), label_dropout=0.2),
        }
    if name == "progressive":
        return {"denoiser": denoiser(), "objective": ProgressiveDistillation(denoiser(4), 2, label_dropout=0.2)}
    objective = ConsistencyDistillation(denoiser(4), gap=gap, guidance_scale=1.5, label_dropout=0.2)
    return {"denoiser": denoiser(), "objective": objective, "sampling": lcm}


NAMES = ("mean_flow", "training", "distillation", "continuous", "reflow", "progressive")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in NAMES:
        train(Path(sys.argv[1]) / name, steps=STEPS, devices=int(os.environ["WORLD_SIZE"]), **parts(name))
