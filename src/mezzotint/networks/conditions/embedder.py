"""The conditions of one network: vectors added to its embedding, channels beside x, and tokens to attend to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .base import Condition, check_names
from .tokens import Pooled


class TokenContext(NamedTuple):
    """Tokens that a network attends to.

    Args:
        tokens: (B, L, D).
        counts: (B, L) bool, false for padding; each example has a token that counts.
    """

    tokens: Tensor
    counts: Tensor


class Embedded(NamedTuple):
    """The conditions of a batch as a network uses them; None where there is none of a kind.

    Args:
        vector: the sum of all vectors, (B, outputs).
        channels: all images, (B, channels, *size).
        context: the tokens of all sequences, one behind the other.
    """

    vector: Tensor | None = None
    channels: Tensor | None = None
    context: TokenContext | None = None

    def added(self, embedding: Tensor) -> Tensor:
        """Return an embedding (B, outputs) with the vector added."""
        return embedding if self.vector is None else embedding + self.vector.to(embedding.dtype)

    def beside(self, x: Tensor) -> Tensor:
        """Return x (B, C, *size) with the images behind its channels, (B, C + channels, *size)."""
        return x if self.channels is None else torch.cat([x, self.channels.to(x.dtype)], dim=1)


class ConditionEmbedder(nn.Module):
    """The embedders of the conditions of one network, by name. Without conditions it has no parameters.

    A network takes its conditions as further named inputs of `forward`:

        self.conditions = ConditionEmbedder(conditions, width, shape[1:])       # in __init__
        self.first = nn.Conv2d(shape[0] + self.conditions.channels, ...)

        given = self.conditions(x, conditions)                                  # in forward(x, time, **conditions)
        embedding = given.added(self.embedding(time))
        x = self.first(given.beside(x))
        x = x + self.attention(x, given.context)                                # if it attends to tokens

    A condition that is not given has its null.

    Args:
        conditions: the kind of each condition, by its name.
        outputs: width of the embedding and of the tokens.
        size: (*size) of x.

    Raises:
        ValueError: a name cannot be that of a condition, or an image has another number of dimensions than x.
    """

    def __init__(self, conditions: Mapping[str, Condition] | None, outputs: int, size: Sequence[int]) -> None:
        super().__init__()
        self.kinds = dict(conditions or {})
        check_names(self.kinds)
        images = {name: kind.as_channels(size) for name, kind in self.kinds.items()}
        self.channels = sum(image.channels for image in images.values() if image is not None)
        self.vectors = built({name: kind.as_vector(outputs) for name, kind in self.kinds.items()})
        self.images = built(images)
        self.sequences = built({name: kind.as_tokens(outputs) for name, kind in self.kinds.items()})
        self.pooled = built({name: Pooled(outputs) for name in self.sequences})

    def forward(self, x: Tensor, given: Mapping[str, Tensor | None]) -> Embedded:
        """Embed the conditions of a batch.

        Args:
            x: (B, C, *size), of which batch size and device are taken.
            given: (B, ...) by name.

        Raises:
            ValueError: a condition that this network does not take.
        """
        unknown = [name for name, value in given.items() if name not in self.kinds and value is not None]
        if unknown:
            raise ValueError(
                f"A network built with conditions {', '.join(self.kinds) or 'none'} takes no {unknown[0]!r}: leave it "
                "out, or build the network with it."
            )
        values = {name: absent_or(given.get(name), kind, x) for name, kind in self.kinds.items()}
        vectors = [embed(values[name]) for name, embed in self.vectors.items()]
        channels = [embed(values[name]) for name, embed in self.images.items()]
        tokens = [embed(values[name]) for name, embed in self.sequences.items()]
        vectors += [pool(*both) for pool, both in zip(self.pooled.values(), tokens, strict=True)]
        return Embedded(
            torch.stack(vectors).sum(0) if vectors else None,
            torch.cat(channels, dim=1) if channels else None,
            TokenContext(*(torch.cat(both, dim=1) for both in zip(*tokens, strict=True))) if tokens else None,
        )


def built(modules: Mapping[str, nn.Module | None]) -> nn.ModuleDict:
    return nn.ModuleDict({name: module for name, module in modules.items() if module is not None})


def absent_or(value: Tensor | None, kind: Condition, x: Tensor) -> Tensor:
    return kind.null(x.shape[0], x.device) if value is None else value
