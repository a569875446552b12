"""Gradients laid out in memory as their parameters are, as DistributedDataParallel's buckets expect them."""

from collections.abc import Callable

from torch import Tensor, nn


def keep_strides(module: nn.Module) -> None:
    """Give every gradient the strides of its parameter from now on; no number moves.

    The stride of a dimension of size 1 means nothing, and kernels set it as they like: the gradient of a 1 x 1
    convolution comes back as channels last. Autograd passes such a gradient on as it is, and
    DistributedDataParallel, which compares strides to the letter, then takes the slower way and warns.
    """
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.ndim > 1 and 1 in parameter.shape:
            parameter.register_hook(restriding(parameter.stride()))


def restriding(strides: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
    """Gradient -> the same memory with these strides, where they differ in dimensions of size 1 alone."""

    def restride(gradient: Tensor) -> Tensor:
        sizes, found = gradient.shape, gradient.stride()
        if found == strides or any(a != b for n, a, b in zip(sizes, found, strides, strict=True) if n > 1):
            return gradient  # autograd itself copies what lies otherwise
        return gradient.as_strided(sizes, strides)

    return restride
