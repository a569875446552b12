"""The memory that a training step works in, counted without having it."""

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


def working_memory(
    network: nn.Module,
    shape: Sequence[int],
    batch: int,
    classes: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> int:
    """Bytes of gradients and of everything else that lives between the weights and the next weights, at its peak.

    One forward and backward pass is done on fake tensors, which have a shape and a device and no memory, and every
    storage is counted from its birth to its death: what is kept for the backward pass, what is recomputed, and what an
    operation holds besides. Not counted is what kernels take for themselves while they run (cuDNN's workspace, oneDNN's
    reordered weights) and what an allocator keeps in reserve. Gradients of the step before are counted through the
    forward pass, since they are let go only before the backward pass.

    Args:
        network: (x, time, label) -> like x; on any device, and left as it is.
        shape: (C, H, W) of one image.
        batch: images held at once.
        classes: 0 calls the network without labels.
        dtype: in which it computes: bfloat16 or float16 stand for autocast over float32 weights.
        device: whose kernels would run; "cuda" needs one that is there.

    Raises:
        RuntimeError: the network does what fake tensors cannot, such as looking at a number.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    step = Step(network)
    state = {**dict(step.named_parameters()), **dict(step.named_buffers())}
    trained = [name for name, tensor in step.named_parameters() if tensor.requires_grad]
    kept = sum(state[name].numel() * state[name].element_size() for name in trained)
    with FakeTensorMode(), torch.device(device):
        fake = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype).requires_grad_(name in trained)
            for name, tensor in state.items()
        }
        x, time = torch.empty(batch, *shape), torch.empty(batch)
        more = {"label": torch.empty(batch, dtype=torch.int64)} if classes else {}
        context = torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32)
        with Living() as living:
            forward = torch.func.functional_call(step, fake, (living, context, x, time), more)
    return max(living.peak, forward + kept)


class Step(nn.Module):
    """Forward and backward pass in one call, so that what is recomputed finds the same parameters."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, living: "Living", context: Any, x: Tensor, time: Tensor, **more: Any) -> int:
        """Bytes alive between the two passes."""
        with context:
            loss = self.network(x, time, **more).float().square().mean()
        alive = living.now
        loss.backward()
        return alive


class Living(TorchDispatchMode):
    """Counts the bytes of the tensors that are made while it lasts: those alive `now`, and at most (`peak`)."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self.meet, result)
        return result

    def meet(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.part, key, size)

    def part(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size
