"""Noise schedules: alpha and sigma as functions of time, continuous or tabulated."""

from mezzotint.lazy import exported

from .beta_tables import (
    CosineSchedule,
    LinearSchedule,
    ScaledLinearSchedule,
    SigmoidBetaSchedule,
    SigmoidSchedule,
    TabulatedSchedule,
    ZeroTerminalSNRSchedule,
)
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
from .discrete import DiscreteSchedule
from .learned import LearnedSchedule

__all__ = exported(globals())
