"""Guidance: denoisers that wrap denoisers.

All are frozen. `begin` starts a trajectory: it also calls `begin` of the wrapped denoiser, and state that persists
between calls lives only in the object that it returns. The null of a condition, -1 in integers such as labels and NaN
in floats, stands for "unknown": a network maps it to parameters of its own.
"""

from mezzotint.lazy import exported

from .base import Guidance, chain, no_guidance
from .cfg import APG, CFG, CFGPlusPlus, CFGZero, PairwiseGuidance, RescaledCFG
from .classifier import ClassifierGuidance
from .clipping import Clip, ClipIfEpsilon, DynamicThreshold
from .compositional import CompositionalCFG
from .measurement import DPS, InpaintGuidance, MomentMatching, PiGDM
from .null_space import DDNM
from .self_conditioning import SelfConditioned

__all__ = exported(globals())
