"""Time distributions: at which noise levels the network is trained, each with its density.

`t, log_density = times(u, schedule)` sends uniform numbers to times by the inverse of the distribution function. On a
table t is int64 in 1..steps and the density is a probability; on a continuous schedule it is a density in t.
"""

from .by_ratio import ByRatio, CosineInterpolated, LaplaceTimes, LogLogistic, LogNormal, SplitLogNormal
from .second_moment import SecondMoment
from .times import Drawn, Times
from .uniform import LowDiscrepancy, Stratified, Uniform

__all__ = [
    "ByRatio",
    "CosineInterpolated",
    "Drawn",
    "LaplaceTimes",
    "LogLogistic",
    "LogNormal",
    "LowDiscrepancy",
    "SecondMoment",
    "SplitLogNormal",
    "Stratified",
    "Times",
    "Uniform",
]
