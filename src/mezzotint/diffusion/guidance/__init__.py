"""Guidance: denoisers that wrap denoisers.

Each is frozen. `begin` starts a trajectory: it passes the word to what is inside, and what remembers something from
call to call keeps it only in the object that `begin` returns. The null label is -1: a network maps it to its
"no label" embedding.
"""

from .bounds import Clip, ClipQuotient, DynamicThreshold
from .classifier import ClassifierGuidance
from .contrast import APG, CFG, CFGPlusPlus, CFGZero, Contrast, RescaledCFG, check_cfg_pp
from .guidance import Guidance, chain, place, unguided
from .self_conditioned import SelfConditioned

__all__ = [
    "APG",
    "CFG",
    "CFGPlusPlus",
    "CFGZero",
    "ClassifierGuidance",
    "Clip",
    "ClipQuotient",
    "Contrast",
    "DynamicThreshold",
    "Guidance",
    "RescaledCFG",
    "SelfConditioned",
    "chain",
    "check_cfg_pp",
    "place",
    "unguided",
]
