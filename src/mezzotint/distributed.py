"""Processes that work together by torch.distributed."""

import torch.distributed as dist


def rank_and_world() -> tuple[int, int]:
    """The rank of this process among those that work together, and how many they are; (0, 1) for one that is alone."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)
