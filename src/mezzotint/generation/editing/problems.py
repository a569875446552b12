"""Tasks that restore an example from a measurement: inpainting, super-resolution, deblurring, colouring."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.data.codecs.base import Codec
from mezzotint.diffusion import (
    DPS,
    AveragePooling,
    GaussianBlur,
    Grayscale,
    KeyedRandom,
    Mask,
    Measurement,
    MomentMatching,
    Operator,
    RestorationMethod,
    restore,
)
from mezzotint.generation.editing.base import Edits, EditTask, Given, Shape, decoded, share
from mezzotint.generation.editing.masks import masks_of


@dataclass(frozen=True, eq=False)
class DecodedOperator(Operator):
    """An operator on what a codec decodes: A of the image of latents, which is not linear in them."""

    operator: Operator
    codec: Codec

    linear: ClassVar[bool] = False

    def __call__(self, x: Tensor) -> Tensor:
        return self.operator(self.codec.numbers_of(x))


@dataclass(frozen=True, kw_only=True)
class InverseProblem(EditTask):
    """x0 is restored from y = A x0 + std z; A acts on the numbers of the codec, pixels from -1 to 1.

    Args:
        std: standard deviation of the noise that is added to the measurement.
        measured: the given examples are measurements already, so that the truth is unknown.
    """

    methods: ClassVar[bool] = True
    natural = ("std",)

    std: float = 0.0
    measured: bool = False

    @abc.abstractmethod
    def operator_of(self, given: Given) -> Operator:
        """Return A."""

    def edit(self, given: Given) -> Edits:
        operator, numbers = self.operator_of(given), given.codec.numbers(given.stored)
        already = self.measured or tuple(given.stored.shape[1:]) != given.example
        y = numbers if already else self.measurement(given, operator, numbers)
        problem = Measurement(operator, y, self.std)
        x = self.solve(given, problem)
        misfit = (operator(given.codec.numbers_of(x)) - y).flatten(1).square().mean(1).sqrt()
        results = decoded(given.codec, x[:, None])
        seen = operator.picture(y, y.new_empty(len(y), *given.example))
        return Edits(
            self.kept(given, operator, results),
            None if seen is None else self.stored(given, operator, seen),
            None if already else given.stored.cpu(),
            misfit.cpu(),
        )

    def measurement(self, given: Given, operator: Operator, numbers: Tensor) -> Tensor:
        """Return y with its noise, keyed by the example."""
        y = operator(numbers)
        if not self.std:
            return y
        return y + self.std * given.draws.normal("measurement", y.shape[1:]).to(y)

    def solve(self, given: Given, problem: Measurement) -> Tensor:
        """Return x given the measurement."""
        codec = given.codec
        if codec.latent:
            problem = Measurement(DecodedOperator(problem.operator, codec), problem.y, problem.std)
        return self.restored(given, problem, given.method or (DPS() if codec.latent else MomentMatching()))

    def restored(self, given: Given, problem: Measurement, method: RestorationMethod) -> Tensor:
        """Return x sampled by a method."""
        return restore(
            given.denoise,
            given.sampler,
            given.grid,
            given.noise(),
            problem,
            method,
            given.steps,
            **given.condition,
        )

    def kept(self, given: Given, operator: Operator, results: Tensor) -> Tensor:
        """Return stored results (B, 1, C, *size) with what is known of them put back."""
        return results

    def stored(self, given: Given, operator: Operator, numbers: Tensor) -> Tensor:
        """Return a measurement as examples are stored, to be looked at."""
        codec = given.codec
        if not codec.latent:
            return codec.decode(numbers).cpu()
        return ((numbers.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()


@dataclass(frozen=True, kw_only=True)
class Inpainting(InverseProblem):
    """The hidden part of each example is filled in; without noise the rest is unchanged in every bit.

    Args:
        mask: box, half or random; or an image, white where it is to be filled in, an array, or a folder of masks.
        share: what is hidden: of the sides for box, of the last axis for half, of all places for random.
    """

    mask: str = "box"
    share: float = 0.5

    def __post_init__(self) -> None:
        share(self.share, "share")

    def check(self, stored: Shape, names: tuple[str, ...]) -> None:
        masks_of(self.mask, self.share).hidden(stored, KeyedRandom(0, torch.arange(len(names))), names)

    def operator_of(self, given: Given) -> Mask:
        """Return the mask, true where the stored examples are known, bool (B, 1 or C, *size)."""
        shape = tuple(given.stored.shape[1:])
        hidden = masks_of(self.mask, self.share).hidden(shape, given.draws, given.names)
        return Mask(~hidden.to(given.stored.device))

    def solve(self, given: Given, problem: Measurement) -> Tensor:
        known = problem.operator.revealed()
        if not given.codec.latent or known is None or given.method is None or not given.method.replaces:
            return super().solve(given, problem)
        # latents are replaced whose pixels are all known
        grey = torch.where(known, given.stored, torch.full_like(given.stored, 128))
        x = given.codec.encode(grey)
        free = functional.adaptive_max_pool2d((~known).float().amax(1, keepdim=True), x.shape[2:]) == 0
        return self.restored(given, Measurement(Mask(free), x * free), given.method)

    def kept(self, given: Given, operator: Operator, results: Tensor) -> Tensor:
        known = operator.revealed()
        if known is None or self.std:
            return results
        return torch.where(known[:, None].cpu(), given.stored[:, None].cpu(), results)

    def stored(self, given: Given, operator: Operator, numbers: Tensor) -> Tensor:
        known, measured = operator.revealed(), super().stored(given, operator, numbers)
        if known is None:
            return measured
        return torch.where(known.cpu(), measured, super().stored(given, operator, torch.zeros_like(numbers)))


@dataclass(frozen=True, kw_only=True)
class SuperResolution(InverseProblem):
    """Examples are restored from the means of blocks; given ones that are smaller by the factor are measurements.

    Args:
        factor: sides of the blocks.
    """

    positive = ("factor",)

    factor: int = 2

    def shapes(self, stored: Shape) -> tuple[Shape, ...]:
        if bad := [side for side in stored[1:] if side % self.factor]:
            raise ValueError(f"factor={self.factor} does not divide {bad[0]}, a side of the examples of this run")
        return (stored, (stored[0], *(side // self.factor for side in stored[1:])))

    def operator_of(self, given: Given) -> Operator:
        return AveragePooling(self.factor)


@dataclass(frozen=True, kw_only=True)
class Deblurring(InverseProblem):
    """Examples are restored from what a Gaussian has blurred.

    Args:
        width: standard deviation of the Gaussian in pixels.
    """

    positive = ("width",)

    width: float = 1.0

    def operator_of(self, given: Given) -> Operator:
        return GaussianBlur(self.width)


@dataclass(frozen=True, kw_only=True)
class Colorization(InverseProblem):
    """Colours are added to grey values, the luma of the result; given images of one channel are measurements."""

    def shapes(self, stored: Shape) -> tuple[Shape, ...]:
        if stored[0] != 3 or len(stored) != 3:
            raise ValueError(f"task=colorize makes images of 3 channels, and examples of this run are {list(stored)}")
        return (stored, (1, *stored[1:]))

    def operator_of(self, given: Given) -> Operator:
        return Grayscale()


@dataclass(frozen=True, kw_only=True)
class Restoration(InverseProblem):
    """Examples are restored from what any operator makes of them.

    Args:
        operator: A; with `linear = False` for `DPS` alone.
    """

    operator: Operator

    def operator_of(self, given: Given) -> Operator:
        return self.operator
