"""Every network on two ranks: `torchrun`-like, `RANK=0 WORLD_SIZE=2 python ranked.py` prints differences by network.

Each rank takes half of a batch. What is compared with one process is the loss and the gradient of every parameter, of
two steps: copies with DistributedDataParallel and a static graph, and shards with FSDP2.
"""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from computed import BATCH, batch
from members import denoisers, networks
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from mezzotint.training import AdamW, DiffusionModule
from mezzotint.training.hardware.sharding import full_tensor, shard

STEPS = 2
Found = tuple[Tensor, dict[str, Tensor]]
Step = Callable[[dict[str, Tensor]], Tensor]


class Loss(nn.Module):
    """The training step as a forward pass, which DistributedDataParallel wraps."""

    def __init__(self, module: DiffusionModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        return self.module.training_step(given, 0)


def steps(
    module: DiffusionModule, loss_of: Step, given: dict[str, Tensor]
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """The loss and the gradients of each step of plain gradient descent."""
    for _ in range(STEPS):
        loss = loss_of(given)
        loss.backward()
        grads = {name: full_tensor(p.grad).clone() for name, p in module.named_parameters() if p.grad is not None}
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.grad is not None:
                    parameter -= 0.01 * parameter.grad
                    parameter.grad = None
        yield loss.detach(), grads


def apart(found: Any, expected: list[Found]) -> float:
    """The largest difference of losses and of gradients, as a share of the largest gradient."""
    most = 0.0
    for (loss, grads), (loss_there, grads_there) in zip(found, expected, strict=True):
        dist.all_reduce(loss)
        largest = max(float(grad.abs().max()) for grad in grads_there.values())
        assert grads.keys() == grads_there.keys()
        errors = [float((grads[name] - grad).abs().max()) / largest for name, grad in grads_there.items()]
        most = max(most, *errors, abs(float(loss) / 2 - float(loss_there)))
    return most


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, found = dist.get_rank(), {}
    mesh, makers = init_device_mesh("cpu", (2,)), dict(denoisers())
    for name in networks():
        denoiser, objective = makers[f"network={name}"]()
        for part in denoiser.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0  # which is seeded by the first example of each rank
        for parameter in denoiser.network.parameters():
            nn.init.normal_(parameter, std=0.1)
        whole = DiffusionModule(denoiser, objective, AdamW(), budget=10**6, batch_size=BATCH).train()
        given = batch(denoiser.network)
        mine = {key: value.chunk(2)[rank] for key, value in given.items()}
        copied, cut = copy.deepcopy(whole), copy.deepcopy(whole)
        expected = list(steps(whole, Loss(whole), given))
        ddp = DistributedDataParallel(Loss(copied), gradient_as_bucket_view=True, static_graph=True)
        shard(cut, cut.denoiser.network, mesh)
        found[name] = [
            apart(steps(copied, ddp, mine), expected),
            apart(steps(cut, Loss(cut), mine), expected),
        ]
    if rank == 0:
        print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
