"""The mathematics: noise levels, schedules, targets, denoisers, samplers, objectives. Torch and the standard library.

Every formula here needs only pairs (alpha, sigma) with x = alpha x0 + sigma eps. Time exists in schedules, in training
and inside the Denoiser; samplers and guidance speak in levels. Start with levels.py, prediction.py and sample.py.
"""

from .denoiser import (
    Clock,
    Denoise,
    Denoiser,
    Index,
    LogSigma,
    LogSnr,
    Native,
    Rescaled,
    Scale,
    Unit,
    UnitVariance,
)
from .draws import Draws, White, permutation
from .gaussian import posterior, transition
from .grids import Grid, Spacing, Trailing
from .levels import NoiseLevel, expand
from .losses import Loss, Objective, SquaredError
from .prediction import Prediction
from .sample import Frame, Noise, integrate, sample
from .schedules import (
    EDM,
    VP,
    ContinuousCosine,
    Cosine,
    Discrete,
    Linear,
    Rectified,
    ScaledLinear,
    Schedule,
    Sigmoid,
    SigmoidBeta,
)
from .targets import Clean, Epsilon, Flow, Preconditioned, Score, Target, Velocity
from .times import Stratified, Times, Uniform
from .variances import LearnedRange, Posterior, Transition, Variance
from .weights import Plain, Weight

__all__ = [
    "EDM",
    "VP",
    "Clean",
    "Clock",
    "ContinuousCosine",
    "Cosine",
    "Denoise",
    "Denoiser",
    "Discrete",
    "Draws",
    "Epsilon",
    "Flow",
    "Frame",
    "Grid",
    "Index",
    "LearnedRange",
    "Linear",
    "LogSigma",
    "LogSnr",
    "Loss",
    "Native",
    "Noise",
    "NoiseLevel",
    "Objective",
    "Plain",
    "Posterior",
    "Preconditioned",
    "Prediction",
    "Rectified",
    "Rescaled",
    "Scale",
    "ScaledLinear",
    "Schedule",
    "Score",
    "Sigmoid",
    "SigmoidBeta",
    "Spacing",
    "SquaredError",
    "Stratified",
    "Target",
    "Times",
    "Trailing",
    "Transition",
    "Uniform",
    "Unit",
    "UnitVariance",
    "Variance",
    "Velocity",
    "Weight",
    "White",
    "expand",
    "integrate",
    "permutation",
    "posterior",
    "sample",
    "transition",
]
