"""Limits of the types of devices."""

import torch
from torch import Tensor

WITHOUT_FLOAT64 = {"mps"}  # types of devices; GPUs of Apple have no double precision


def has_float64(device: torch.device) -> bool:
    """Return whether a device computes in double precision."""
    return device.type not in WITHOUT_FLOAT64


def finest_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices without it."""
    return torch.float64 if has_float64(device) else torch.float32


def finest(tensor: Tensor) -> Tensor:
    """Return a tensor in the `finest_dtype` of its device."""
    return tensor.to(finest_dtype(tensor.device))
