"""Noise schedules: alpha and sigma as functions of time, continuous or tabulated."""

from mezzotint.lazy import exported

from .continuous import (
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
from .discrete import (
    CosineSchedule,
    DiscreteSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    SigmoidBetaSchedule,
    SigmoidSchedule,
    TabulatedSchedule,
    ZeroTerminalSNRSchedule,
)
from .learned import LearnedSchedule

__all__ = exported(globals())
