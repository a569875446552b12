"""Conditions of networks by name: what each kind is, and how a network takes it.

A `Condition` describes the values that data give and a network takes; `ConditionEmbedder` holds the embedders of one
network. The null of a value is that of `mezzotint.diffusion.null_like`.
"""

from mezzotint.lazy import exported

from .base import Condition, check_names
from .embedder import ConditionEmbedder, Embedded, TokenContext
from .image import ImageCondition, LowResolution
from .interval import IntervalCondition
from .labels import ClassCondition, MultiHotCondition
from .sentence import SentenceCondition
from .tokens import EmbeddingCondition, TextCondition
from .vector import VectorCondition

__all__ = exported(globals())
