"""Groups of parameters by rule: weight decay for matrices and kernels, learning rates by kind or name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from mezzotint.finite import Finite

SCALE = "lr_scale"  # key of a group whose rate is another one than the optimizer's: the factor of it
Kind = Literal["matrix", "bias", "norm", "embedding"]
TABLES = re.compile(r"embed|position|token|register")  # of parameters that a module other than nn.Embedding holds


@dataclass(frozen=True)
class ParameterRule(metaclass=Finite):
    """Settings of the parameters that match both kind and name; the first rule that matches a parameter counts.

    Args:
        kind: "matrix" (also kernels), "bias", "norm" or "embedding"; None matches all.
        name: a regular expression, searched in the parameter's name, such as "network.first"; None matches all.
        lr: factor of the optimizer's learning rate; 0 freezes the parameters.
        weight_decay: None is that of the optimizer, which is 0 for biases, norms and embeddings.
    """

    kind: Kind | None = None
    name: str | None = None
    lr: float = 1.0
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        if self.lr < 0 or (self.weight_decay or 0.0) < 0:
            raise ValueError(f"lr={self.lr}, weight_decay={self.weight_decay}: both must be 0 or more")
        try:
            re.compile(self.name or "")
        except re.error as error:
            raise ValueError(f"name={self.name!r} is not a regular expression ({error})") from error

    def matches(self, name: str, kind: Kind) -> bool:
        return self.kind in (None, kind) and (self.name is None or re.search(self.name, name) is not None)


@dataclass(frozen=True)
class Parameter:
    """A parameter that trains, with its name in the module and its kind."""

    name: str
    kind: Kind
    value: Tensor


def parameters(module: nn.Module) -> Iterator[Parameter]:
    """Yield the parameters that train, each once, in the order of the module."""
    seen: set[int] = set()
    for prefix, owner in module.named_modules():
        for name, value in owner.named_parameters(recurse=False):
            if value.requires_grad and id(value) not in seen:
                seen.add(id(value))
                yield Parameter(f"{prefix}.{name}" if prefix else name, kind_of(owner, name, value), value)


def kind_of(owner: nn.Module, name: str, value: Tensor) -> Kind:
    if isinstance(owner, (nn.Embedding, nn.EmbeddingBag)) or (value.ndim > 1 and TABLES.search(name)):
        return "embedding"
    if value.ndim > 1:
        return "matrix"
    return "bias" if name.endswith("bias") and "Norm" not in type(owner).__name__ else "norm"


def grouped(
    found: Sequence[Parameter],
    rules: Sequence[ParameterRule],
    weight_decay: float,
    decayed: Sequence[Kind] = ("matrix",),
) -> list[dict[str, Any]]:
    """Return torch's parameter groups with their `weight_decay` and `SCALE`, those that decay most first.

    Args:
        decayed: kinds that have the optimizer's weight decay where no rule says otherwise.
    """
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for one in found:
        rule = next((rule for rule in rules if rule.matches(one.name, one.kind)), ParameterRule())
        usual = weight_decay if one.kind in decayed else 0.0
        decay = usual if rule.weight_decay is None else rule.weight_decay
        groups.setdefault((decay, rule.lr), []).append(one.value)
    order = sorted(groups, key=lambda key: -key[0])
    return [
        {"params": groups[decay, lr], "weight_decay": decay} | ({} if lr == 1 else {SCALE: lr}) for decay, lr in order
    ]
