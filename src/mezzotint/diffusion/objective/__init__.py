"""The training objective: time distributions, loss weights, losses, training noise, augmentation."""

from mezzotint.lazy import exported

from .augment import GeometricAugmentation
from .autoencoder import AutoencoderObjective
from .base import Annealed
from .consistency import ConsistencyDistillation, ConsistencyGap, ConsistencyTraining
from .continuous_consistency import ContinuousConsistency
from .distillation import ProgressiveDistillation, ReflowObjective
from .losses import (
    AdaptiveLoss,
    HuberLoss,
    HybridLoss,
    Loss,
    MultiScaleLoss,
    PseudoHuberLoss,
    SquaredErrorLoss,
    VariationalLoss,
)
from .mean_flow import MeanFlowObjective
from .objective import Objective
from .times import *
from .training_noise import GaussianNoise, OffsetNoise, OTPairedNoise, TrainingNoise
from .weights import (
    ConstantWeight,
    EDMWeight,
    ELBOWeight,
    FlowWeight,
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

__all__ = exported(globals())
