"""A network cut into shards, one a rank (FSDP2). Checkpoints stay whole files that every strategy reads and writes."""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.errors import ConfigError
from mezzotint.networks.autoencoder import Autoencoder


def shard(module: nn.Module, network: nn.Module, mesh: Any) -> None:
    """Cut the blocks of a network, then the rest of it; the other modules must have nothing to train.

    Args:
        module: everything that is trained.
        network: the part that is cut.
        mesh: the ranks.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    inside = {id(p) for p in network.parameters()}
    if outside := [name for name, p in module.named_parameters() if p.requires_grad and id(p) not in inside]:
        raise ConfigError(
            f"strategy=fsdp shards only the network, and {outside[0]} outside of it is trained too. Use strategy=ddp."
        )
    for part in reversed(list(network.modules())):
        if isinstance(part, nn.ModuleList):
            for block in part:
                fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    if isinstance(network, Autoencoder):  # whose halves are called by themselves
        for half in ("encode", "decode"):
            register_fsdp_forward_method(network, half)


def is_shard(tensor: Tensor) -> bool:
    """Return whether this rank may hold only a part of a tensor."""
    sharding = sys.modules.get("torch.distributed.tensor")  # a fifth of a second to import, and without it no shards
    return sharding is not None and isinstance(tensor, sharding.DTensor)


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the full tensor of which this rank may hold a shard; every rank must call this."""
    return tensor.full_tensor() if is_shard(tensor) else tensor


def shard_like(tensor: Tensor, live: Tensor) -> Tensor:
    """This rank's shard of a whole tensor in float32, cut, placed and laid out in memory as another one is."""
    from torch.distributed.tensor import distribute_tensor

    if is_shard(live):
        return distribute_tensor(tensor.to(live.device, torch.float32), live.device_mesh, live.placements)
    return torch.empty_like(live, dtype=torch.float32).copy_(tensor)
