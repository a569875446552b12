"""The mathematics: noise levels, schedules, targets, denoisers, samplers, objectives. Torch and the standard library.

Every formula here needs only pairs (alpha, sigma) with x = alpha x0 + sigma eps. Time exists in schedules, in training
and inside the Denoiser; samplers and guidance speak in levels. Start with levels.py, prediction.py and sample.py.

Each public name is exported once, by the package that holds its kind; all of them are names of this package too.
"""

from mezzotint.lazy import exported
from mezzotint.randomness import KeyedRandom, permutation

from .coordinates import AngleCoordinate, Coordinate, DataCoordinate, FlowCoordinate, NoiseCoordinate
from .denoiser import Denoise, Denoiser
from .editing import InpaintGuidance, InpaintReplacement, edit, invert, slerp
from .exact import ExactMixture, exact_gaussian, exact_points
from .gaussian import posterior, transition
from .grids import *
from .grids.search import adaptive_grid, optimal_grid
from .guidance import *
from .levels import NoiseLevel, broadcast_like
from .likelihood import VariationalBound, bits_per_dim, dequantise, ode_log_likelihood, variational_bound
from .noise_sources import BrownianNoise, WhiteNoise
from .objective import *
from .preconditioning import (
    InputScale,
    LogSigma,
    LogSNR,
    NoiseConditioning,
    NoScale,
    RawTime,
    ScaledTime,
    StepIndex,
    UnitVarianceScale,
)
from .prediction import Prediction
from .sample import NoiseSource, StepRecord, integrate, sample
from .samplers import *
from .schedules import *
from .targets import Clean, Epsilon, Flow, Preconditioned, Score, Target, Velocity
from .variances import LearnedRangeVariance, PosteriorVariance, TransitionVariance, Variance

__all__ = exported(globals())
