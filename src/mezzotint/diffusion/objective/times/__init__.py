"""Time distributions: the noise levels at which the network is trained, with their densities.

`t, log_density = times(u, schedule)` maps uniform numbers to times by the inverse of the distribution function. On a
table t is int64 in 1..steps and the density is a probability; on a continuous schedule it is a density in t.
"""

from mezzotint.lazy import exported

from .base import SampledTimes, TimeDistribution
from .log_ratio import (
    CosineInterpolatedTimes,
    LaplaceTimes,
    LogLogisticTimes,
    LogNormalTimes,
    LogRatioTimes,
    SplitLogNormalTimes,
)
from .loss_aware import LossAwareTimes
from .uniform import LowDiscrepancyTimes, StratifiedTimes, UniformTimes

__all__ = exported(globals())
