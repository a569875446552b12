"""The fastest memory format and precision by device, and reuse of freed memory."""

import ctypes
import sys

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def preferred_memory_format(device: torch.device | str, dtype: torch.dtype) -> torch.memory_format:
    """Return the layout in which convolutional networks train fastest, by device and precision of the convolutions.

    CUDA: channels last, as tensor cores require. CPU: channels last in float32 with AVX-512 (1.1 times as fast;
    with AVX2 0.96 to 0.99 times), but not in bfloat16, where PyTorch's GroupNorm is 13 times slower in that layout and
    the whole step 0.84 times as fast. All other devices: contiguous.

    Args:
        device: the network's device.
        dtype: dtype of its convolutions; torch.bfloat16 under a bfloat16 autocast.
    """
    kind = torch.device(device).type
    wide = "AVX512" in torch.backends.cpu.get_cpu_capability()
    fast = kind == "cuda" or (kind == "cpu" and dtype == torch.float32 and wide)
    return torch.channels_last if fast else torch.contiguous_format


def bfloat16_is_fast(device: torch.device | str) -> bool:
    """Return whether the device has bfloat16 arithmetic. CPUs without it emulate it, up to 100 times slower."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def keep_freed_memory() -> bool:
    """Let malloc keep freed memory for reuse; return whether that succeeded.

    By default every large tensor of a training step on a CPU is newly mapped, and the kernel zeroes each page. A small
    U-Net on 64 images of 32 x 32 spends a tenth of its time there. Linux with glibc only.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))
