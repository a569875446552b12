"""A network traced on the meta device: operations of a forward pass, and shapes of its outputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from mezzotint.cost.flops import describe
from mezzotint.errors import ConfigError


@contextmanager
def on_meta() -> Iterator[None]:
    """Pass over what tensors without memory cannot do; other errors of a network are errors of the config.

    Raises:
        ConfigError: a RuntimeError that has nothing to do with the meta device, such as shapes that do not fit.
    """
    try:
        yield
    except NotImplementedError:
        return
    except TypeError as error:
        if "meta" not in str(error).lower():
            raise
    except RuntimeError as error:
        if "meta" in str(error).lower():
            return
        raise ConfigError(" ".join(str(error).split())) from error


@lru_cache(maxsize=1)
def forward_flops(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Operations of one image's forward pass; 0 if they cannot be counted on the meta device."""
    if next(network.parameters(), None) is None:
        return 0
    with on_meta():
        return describe(network, shape).flops
    return 0


class ShapeProbe(nn.Module):
    """Zeros of the shape of a network's outputs, so that all steps of a sampler can be walked at no cost.

    The network is called once for each form of its inputs. It is not a submodule, because samples are on the device of
    a denoiser's parameters, and the network may be on the meta device.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = (network,)
        self._shapes: dict[tuple, tuple[int, ...]] = {}

    def forward(self, x: Tensor, time: Tensor, **condition: Any) -> Tensor:
        form = tuple((name, _form(value)) for name, value in [("x", x), ("time", time), *condition.items()])
        if form not in self._shapes:
            self._shapes[form] = self._output_shape(x, time, condition)
        zeros = x.new_zeros(self._shapes[form])
        return zeros + 0 * x.mean() if x.requires_grad else zeros  # guidance takes gradients through the network

    def _output_shape(self, x: Tensor, time: Tensor, condition: dict[str, Any]) -> tuple[int, ...]:
        (network,) = self._network
        tensors = chain(network.parameters(), network.buffers())
        device = next((tensor.device for tensor in tensors), x.device)
        moved = tree_map_only(Tensor, lambda value: value.to(device), condition)
        with on_meta():
            return tuple(network(x.to(device), time.to(device), **moved).shape)
        return tuple(x.shape)


def _form(value: Any) -> Any:
    return (tuple(value.shape), value.dtype) if isinstance(value, Tensor) else type(value)
