"""The mathematics: noise levels, schedules, targets, denoisers, samplers, objectives. Torch and the standard library.

Every formula here needs only pairs (alpha, sigma) with x = alpha x0 + sigma eps. Time exists in schedules, in training
and inside the Denoiser; samplers and guidance speak in levels. Start with levels.py, prediction.py and sample.py.
"""

from mezzotint.lazy import exported
from mezzotint.randomness import KeyedRandom, permutation

from .coordinates import AngleCoordinate, Coordinate, DataCoordinate, FlowCoordinate, NoiseCoordinate
from .denoiser import Denoise, Denoiser
from .editing import InpaintGuidance, InpaintReplacement, edit, invert, slerp
from .exact import ExactMixture, exact_gaussian, exact_points
from .gaussian import posterior, transition
from .grids.resampling import RePaint, Restart
from .grids.search import adaptive_grid, optimal_grid
from .grids.spacings import (
    AutoSpacing,
    BetaQuantiles,
    ExplicitTimes,
    Grid,
    Karras,
    Leading,
    Linspace,
    LinspaceOpen,
    Quadratic,
    SnapToTable,
    Spacing,
    Trailing,
    UniformAngle,
    UniformLogSNR,
)
from .guidance import (
    APG,
    CFG,
    CFGPlusPlus,
    CFGZero,
    ClassifierGuidance,
    Clip,
    ClipIfEpsilon,
    DynamicThreshold,
    RescaledCFG,
    SelfConditioned,
    chain,
    no_guidance,
)
from .guidance.measurement import DPS, MomentMatching, PiGDM
from .levels import NoiseLevel, broadcast_like
from .likelihood import VariationalBound, bits_per_dim, dequantise, ode_log_likelihood, variational_bound
from .noise_sources import BrownianNoise, WhiteNoise
from .objective.augment import GeometricAugmentation
from .objective.losses import (
    HuberLoss,
    HybridLoss,
    Loss,
    MultiScaleLoss,
    PseudoHuberLoss,
    SquaredErrorLoss,
    VariationalLoss,
)
from .objective.objective import Objective
from .objective.times import (
    CosineInterpolatedTimes,
    LaplaceTimes,
    LogLogisticTimes,
    LogNormalTimes,
    LossAwareTimes,
    LowDiscrepancyTimes,
    SampledTimes,
    SplitLogNormalTimes,
    StratifiedTimes,
    TimeDistribution,
    UniformTimes,
)
from .objective.training_noise import GaussianNoise, OffsetNoise, OTPairedNoise, TrainingNoise
from .objective.weights import (
    ConstantWeight,
    EDMWeight,
    ELBOWeight,
    ImportanceWeight,
    LossWeight,
    MinSNRWeight,
    P2Weight,
    SigmoidWeight,
    SNRWeight,
    SoftMinSNRWeight,
    TruncatedSNRWeight,
    UncertaintyWeight,
)
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
from .samplers import (
    BH1,
    BH2,
    DDIM,
    DDPM,
    DEIS,
    ERSDE,
    IPNDM,
    LMS,
    RK4,
    Ancestral,
    DPMSolver,
    DPMSolverPP,
    DPMSolverSinglestep,
    DPMSolverSinglestepSDE,
    EDMStochastic,
    Euler,
    ExponentialAdamsBashforth,
    GradientEstimation,
    Heun,
    LangevinCorrected,
    Midpoint,
    Renoised,
    Sampler,
    SASolver,
    UniPC,
    WarmStarted,
)
from .schedules.continuous import (
    ContinuousCosineSchedule,
    EDMSchedule,
    LaplaceSchedule,
    RectifiedFlowSchedule,
    Schedule,
    ShiftedSchedule,
    SubVPSchedule,
    TrigFlowSchedule,
    VPSchedule,
)
from .schedules.discrete import (
    CosineSchedule,
    DiscreteSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    SigmoidBetaSchedule,
    SigmoidSchedule,
    TabulatedSchedule,
    ZeroTerminalSNRSchedule,
)
from .schedules.learned import LearnedSchedule
from .targets import Clean, Epsilon, Flow, Preconditioned, Score, Target, Velocity
from .variances import LearnedRangeVariance, PosteriorVariance, TransitionVariance, Variance

__all__ = exported(globals())
