"""The processes of torch.distributed."""

import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """Return (rank, world_size), or (0, 1) when torch.distributed is not initialised."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
