"""Which memory format and which precision are the fast ones, by device."""

import torch


def preferred_memory_format(device: torch.device | str, dtype: torch.dtype) -> torch.memory_format:
    """The layout in which convolutional networks train fastest, by device and by the precision of the convolutions.

    CUDA: channels last, which the tensor cores want. CPU: channels last in float32 with AVX-512 (1.1 times as fast;
    with AVX2 0.96 to 0.99 times), but not in bfloat16, where PyTorch's GroupNorm is 13 times slower in that layout and
    the whole step 0.84 times as fast. Anything else stays as it is.

    Args:
        device: where the network runs.
        dtype: of its convolutions: torch.bfloat16 under a bfloat16 autocast.
    """
    kind = torch.device(device).type
    wide = "AVX512" in torch.backends.cpu.get_cpu_capability()
    fast = kind == "cuda" or (kind == "cpu" and dtype == torch.float32 and wide)
    return torch.channels_last if fast else torch.contiguous_format


def bfloat16_is_fast(device: torch.device | str) -> bool:
    """Whether the device has bfloat16 arithmetic. A CPU without emulates it, and is up to 100 times slower."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
