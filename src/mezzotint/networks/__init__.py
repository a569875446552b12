"""Networks: (x, time, label) -> what the target asks for, of the shape of x. Plain torch; they know no schedule."""

from mezzotint.networks.unet import UNet

__all__ = ["UNet"]
