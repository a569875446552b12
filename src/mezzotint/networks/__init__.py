"""Networks: (x, time, label) -> prediction target, shaped like x. Plain torch modules without a schedule."""

from mezzotint.lazy import exported
from mezzotint.networks.autoencoder import Autoencoder
from mezzotint.networks.conditions import (
    ClassCondition,
    Condition,
    ConditionEmbedder,
    EmbeddingCondition,
    ImageCondition,
    IntervalCondition,
    LowResolution,
    MultiHotCondition,
    SentenceCondition,
    TextCondition,
    VectorCondition,
)
from mezzotint.networks.cpu.memory import bfloat16_is_fast, keep_freed_memory, preferred_memory_format
from mezzotint.networks.edm2 import EDM2UNet
from mezzotint.networks.linear_attention_unet import LinearAttentionUNet
from mezzotint.networks.mlp import MLP
from mezzotint.networks.song_unet import SongUNet
from mezzotint.networks.transformers.ddt import DDT
from mezzotint.networks.transformers.dit import DiT
from mezzotint.networks.transformers.jit import JiT
from mezzotint.networks.transformers.uvit import UViT
from mezzotint.networks.unet import UNet

__all__ = exported(globals())
