"""Guidance: denoisers that wrap denoisers.

All are frozen. `begin` starts a trajectory: it also calls `begin` of the wrapped denoiser, and state that persists
between calls lives only in the object that it returns. The null label is -1: a network maps it to its "no label"
embedding.
"""

from mezzotint.lazy import exported

from .base import Guidance, chain, no_guidance
from .cfg import APG, CFG, CFGPlusPlus, CFGZero, PairwiseGuidance, RescaledCFG
from .classifier import ClassifierGuidance
from .clipping import Clip, ClipIfEpsilon, DynamicThreshold
from .measurement import DPS, InpaintGuidance, MomentMatching, PiGDM
from .self_conditioning import SelfConditioned

__all__ = exported(globals())
