"""A multilayer perceptron for points and tiny images."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.conditions import Condition, ConditionEmbedder
from mezzotint.networks.embeddings import Conditioning, data_shape


class MLP(Recorded, nn.Module, metaclass=Finite):
    """Residual layers over the flattened data: h + W silu(h + embedding). Points in the plane are images (2, 1, 1).

    Args:
        shape: (C, *size) of one example, with one to three sizes.
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: width of the hidden layers; even.
        layers: number of hidden layers.
        conditions: the kind of each further condition, by its name; those of the data in a config.
    """

    natural = ("layers",)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 128,
        layers: int = 2,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        super().__init__()
        self.shape = data_shape(shape)
        self.embedding = Conditioning(classes, width, width)
        self.conditions = ConditionEmbedder(conditions, width, self.shape[1:])
        self.first = nn.Linear((self.shape[0] + self.conditions.channels) * math.prod(self.shape[1:]), width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.last = nn.Linear(width, math.prod(self.shape))

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, **conditions: Tensor | None) -> Tensor:
        """Map x (B, C, *size), time (B,) and label (B,) int64, -1 for none, to (B, C, *size).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        embedding = given.added(self.embedding(time, label))
        h = self.first(given.beside(x).flatten(1).to(self.first.weight.dtype))
        for layer in self.hidden:
            h = h + layer(functional.silu(h + embedding))
        return self.last(functional.silu(h)).view_as(x)
