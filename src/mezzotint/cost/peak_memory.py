"""Peak memory of a training step, computed on fake tensors."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from mezzotint.networks import Condition


def working_memory(
    network: nn.Module,
    shape: Sequence[int],
    batch: int,
    classes: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    conditions: Mapping[str, Condition] | None = None,
) -> int:
    """Return the peak bytes of gradients, activations and temporaries in one training step, weights excluded.

    One forward and backward pass runs on fake tensors, which have a shape and a device but no memory, and every storage
    is counted from allocation to release: activations saved for the backward pass, recomputed ones, and temporaries.
    Not counted are the workspaces of kernels (cuDNN, oneDNN's reordered weights) and the allocator's cache. Gradients
    of the previous step count during the forward pass, since they are released only before the backward pass.

    Args:
        network: (x, time, label, ...) -> like x; on any device; not modified.
        shape: (C, H, W) of one image.
        batch: images per forward pass.
        classes: number of classes; 0 calls the network without labels.
        dtype: dtype of the computation; bfloat16 or float16 mean autocast with float32 weights.
        device: the device to assume; "cuda" requires one.
        conditions: kinds of the other conditions that the network is called with, by name.

    Raises:
        RuntimeError: the network does something that fake tensors do not support, such as reading a value.
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
        more |= {name: kind.null(batch, device) for name, kind in (conditions or {}).items()}
        context = torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32)
        with LiveMemory() as memory:
            forward = torch.func.functional_call(step, fake, (memory, context, x, time), more)
    return max(memory.peak, forward + kept)


class Step(nn.Module):
    """Forward and backward pass in one call, so that recomputed activations use the same parameters."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, memory: "LiveMemory", context: Any, x: Tensor, time: Tensor, **more: Any) -> int:
        """Run both passes; return the bytes alive between them."""
        with context:
            loss = self.network(x, time, **more).float().square().mean()
        alive = memory.now
        loss.backward()
        return alive


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of tensors allocated within the mode: those alive `now`, and their maximum `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._allocated, result)
        return result

    def _allocated(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._released, key, size)

    def _released(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size
