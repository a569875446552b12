"""Networks: (x, time, label) -> what the target asks for, of the shape of x. Plain torch; they know no schedule."""

from mezzotint.lazy import exported
from mezzotint.networks.cpu.memory import bfloat16_is_fast, keep_freed_memory, preferred_memory_format
from mezzotint.networks.mlp import MLP
from mezzotint.networks.unet import UNet

__all__ = exported(globals())
