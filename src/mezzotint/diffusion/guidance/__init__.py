"""Guidance: denoisers that wrap denoisers.

Each is frozen. `begin` starts a trajectory: it passes the word to what is inside, and what remembers something from
call to call keeps it only in the object that `begin` returns. The null label is -1: a network maps it to its
"no label" embedding.
"""

from mezzotint.lazy import exported

from .base import Guidance, chain, no_guidance
from .cfg import APG, CFG, CFGPlusPlus, CFGZero, PairwiseGuidance, RescaledCFG
from .classifier import ClassifierGuidance
from .clipping import Clip, ClipIfEpsilon, DynamicThreshold
from .measurement import DPS, MomentMatching, PiGDM
from .self_conditioning import SelfConditioned

__all__ = exported(globals())
