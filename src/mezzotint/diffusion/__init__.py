"""The mathematics of diffusion: noise levels, schedules, targets, denoisers, samplers and training objectives.

Every formula is written in pairs (alpha, sigma) with x = alpha x0 + sigma eps. Time appears only in schedules, in
training and inside the Denoiser; samplers and guidance work with levels. Depends on torch and the standard library
alone. Start with levels.py, prediction.py and sample.py.

Each public name is exported once, by the package that holds its kind; all of them are names of this package too.
"""

from mezzotint.lazy import exported
from mezzotint.randomness import KeyedRandom, permutation

from .conditions import is_null, null_like
from .coordinates import AngleCoordinate, Coordinate, DataCoordinate, FlowCoordinate, NoiseCoordinate
from .denoiser import Denoise, Denoiser, Predict
from .editing import edit, interpolate_images, invert, slerp, vary
from .exact import ExactMixture, exact_gaussian, exact_points
from .gaussian import posterior, transition
from .grid_search import adaptive_grid, optimal_grid
from .grids import *
from .guidance import *
from .levels import NoiseLevel, broadcast_like
from .likelihood import VariationalBound, bits_per_dim, dequantise, ode_log_likelihood, variational_bound
from .measurement import Measurement, RestorationMethod
from .noise_sources import BrownianNoise, NoiseSource, StatefulNoise, WhiteNoise
from .objective import *
from .operators import AveragePooling, GaussianBlur, Grayscale, Mask, Operator
from .preconditioning import (
    InputScale,
    LogSigma,
    LogSNR,
    NoiseConditioning,
    NoScale,
    RawTime,
    ScaledStepIndex,
    ScaledTime,
    StepIndex,
    UnitVarianceScale,
)
from .prediction import Prediction
from .restoration import (
    RePaintReplacement,
    Replacement,
    colorize,
    deblur,
    inpaint,
    restore,
    super_resolve,
)
from .sample import StepRecord, integrate, sample
from .samplers import *
from .samplers.combinators import InpaintReplacement
from .schedules import *
from .targets import Clean, Epsilon, Flow, Preconditioned, Score, Target, Velocity
from .variances import LearnedRangeVariance, PosteriorVariance, TransitionVariance, Variance

__all__ = exported(globals())
