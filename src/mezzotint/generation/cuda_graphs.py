"""A network whose calls are replayed as CUDA graphs: the same kernels, but one launch a call, not one a kernel."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mezzotint.diffusion import Denoiser

CALLS = 10  # of one form of the inputs, before a graph of it is worth its capture
FORMS = 4  # graphs at most: each keeps the memory of a forward pass
WARM_UP = 3  # calls on a stream of their own before a capture, as torch asks for

Replay = Callable[[Sequence[Tensor]], Tensor]
Capture = Callable[[nn.Module, Sequence[Tensor], Sequence[str]], Replay]


def graphed(denoise: Denoiser) -> Denoiser:
    """Return a denoiser on a GPU that replays its network's calls; the network itself is unchanged."""
    return denoise.using(GraphedNetwork(denoise.network))


def captured(network: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> Replay:
    """Capture a call of a network; return the function that replays it with other inputs of the same form.

    Args:
        inputs: x, time and the conditions.
        names: those of the conditions.

    Raises:
        RuntimeError: the call cannot be captured, for example because it waits for the device.
    """
    held = [tensor.clone() for tensor in inputs]
    here, aside, graph = torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.CUDAGraph()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            call(network, held, names)
    here.wait_stream(aside)
    with torch.cuda.graph(graph):
        out = call(network, held, names)

    def replay(given: Sequence[Tensor]) -> Tensor:
        for mine, new in zip(held, given, strict=True):
            mine.copy_(new)
        graph.replay()
        return out.clone()  # the next call writes into `out`

    return replay


def call(network: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> Tensor:
    x, time, *conditions = inputs
    return network(x, time, **dict(zip(names, conditions, strict=True)))


class GraphedNetwork(nn.Module):
    """A network in evaluation mode: forms of inputs that come often are captured, and others called as they are.

    Calls with gradients, and those with anything but tensors of the device, are never captured. The network is not a
    submodule: its weights are those of the denoiser it comes from, and must stay where they are in memory.

    Args:
        capture: makes the replay of a call.
        device: the type of device whose calls are captured.
    """

    def __init__(self, network: nn.Module, capture: Capture = captured, device: str = "cuda") -> None:
        super().__init__()
        self._network = (network,)
        self.capture, self.device, self.possible = capture, device, True
        self.replays: dict[tuple, Replay] = {}
        self.calls: Counter[tuple] = Counter()

    def forward(self, x: Tensor, time: Tensor, **condition: Tensor) -> Tensor:
        inputs, names = (x, time, *condition.values()), tuple(condition)
        replay = self.replay_of(inputs, names) if self.possible and not torch.is_grad_enabled() else None
        return self._network[0](x, time, **condition) if replay is None else replay(inputs)

    def replay_of(self, inputs: Sequence[Tensor], names: tuple[str, ...]) -> Replay | None:
        """Return the replay for inputs of this form, captured now if it is due; None for an ordinary call."""
        if not all(isinstance(tensor, Tensor) and tensor.device.type == self.device for tensor in inputs):
            return None
        form = (names, *((tuple(tensor.shape), tensor.stride(), tensor.dtype) for tensor in inputs))
        if form in self.replays:
            return self.replays[form]
        self.calls[form] += 1
        if self.calls[form] <= CALLS or len(self.replays) == FORMS:
            return None
        try:
            self.replays[form] = self.capture(self._network[0], inputs, names)
        except RuntimeError as error:
            self.possible = False
            why = " ".join(str(error).split())[:200]
            print(f"no CUDA graphs: a call of this network cannot be captured ({why})", file=sys.stderr)
            return None
        return self.replays[form]
