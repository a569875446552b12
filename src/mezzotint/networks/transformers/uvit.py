"""U-ViT: time, label and patches are all tokens, and long skip connections join the first blocks with the last ones."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.conditions import Condition, ConditionEmbedder
from mezzotint.networks.embeddings import LabelEmbedding, cosines_first, data_shape, null_labels, refuse_label
from mezzotint.networks.layers import three_taps
from mezzotint.networks.transformers.blocks import MLP, TokenAttention, linear_layers, recomputed
from mezzotint.networks.transformers.patches import PatchEmbedding, patch_grid, unpatchify

STD = 0.02  # of all weights and positions, initially, cut off at 2 in absolute value


class LongSkipBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); with `skip`, x is first a linear function of x and the skip."""

    def __init__(self, width: int, head_width: int, dropout: float, skip: bool) -> None:
        super().__init__()
        self.skip = nn.Linear(2 * width, width) if skip else None
        self.norm1 = nn.LayerNorm(width)
        self.attention = TokenAttention(width, head_width, bias=False, dropout=dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, dropout, exact=True)
        self.checkpointing = False

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        return recomputed(self.checkpointing, self.compute, x, skip)

    def compute(self, x: Tensor, skip: Tensor | None) -> Tensor:
        if self.skip is not None and skip is not None:
            x = self.skip(torch.cat([x, skip], dim=-1))
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class UViT(Recorded, nn.Module, metaclass=Finite):
    """The transformer U-ViT, with a learned position for each token.

    Source: Bao et al. 2023, sections 3 and 4, https://arxiv.org/abs/2209.12152. `UViT((3, 32, 32))` is U-ViT-S/2 for
    CIFAR-10.

    Args:
        shape: (C, *size) of one example, in one to three dimensions, each divisible by `patch`.
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels of a token.
        depth: number of blocks; odd: as many after the middle block as before it.
        head_width: channels per attention head, at most width.
        patch: side of a patch.
        dropout: dropout probability after attention and inside of the MLP.
        conditions: the kind of each further condition, by its name; those of the data in a config. A vector is added to
            the token of the time; sequences are not taken.
        final_convolution: a convolution with three weights along each dimension joins the patches.

    Raises:
        ValueError: an even depth, the patch does not divide the size, or heads do not divide the width.
    """

    positive = ("depth",)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 512,
        depth: int = 13,
        head_width: int = 64,
        patch: int = 2,
        dropout: float = 0.0,
        final_convolution: bool = True,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        super().__init__()
        if depth % 2 == 0:
            raise ValueError(f"depth={depth}: there are as many blocks after the middle one as before it. Choose odd.")
        channels, *size = self.shape = data_shape(shape)
        self.patch, self.grid = patch, patch_grid(size, patch)
        self.width = width
        self.label = LabelEmbedding(classes, width) if classes else None
        self.conditions = ConditionEmbedder(conditions, width, size)
        if self.conditions.sequences:
            raise ValueError(f"U-ViT takes no sequences such as {next(iter(self.conditions.sequences))}: use DiT.")
        self.patches = PatchEmbedding(channels + self.conditions.channels, len(size), patch, width)
        tokens = torch.Size(self.grid).numel() + (2 if classes else 1)
        self.positions = nn.Parameter(torch.empty(1, tokens, width))
        self.middle = depth // 2
        self.blocks = nn.ModuleList(LongSkipBlock(width, head_width, dropout, i > self.middle) for i in range(depth))
        self.norm = nn.LayerNorm(width)
        self.final = nn.Linear(width, channels * patch ** len(size))
        self.join = three_taps(len(size), channels, channels) if final_convolution else nn.Identity()
        for weight in (self.positions, *(layer.weight for layer in linear_layers(self))):
            nn.init.trunc_normal_(weight, std=STD)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, **conditions: Tensor | None) -> Tensor:
        """Map x (B, C, *size), time (B,) and label (B,) int64, -1 for none, to (B, C, *size).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        patches = self.patches(given.beside(x))
        token = given.added(cosines_first(time, self.width).to(patches.dtype))[:, None]
        tokens = torch.cat([*self.label_token(time, label), token, patches], dim=1) + self.positions
        skips: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            tokens = block(tokens, skips.pop() if i > self.middle else None)
            if i < self.middle:
                skips.append(tokens)
        tokens = self.final(self.norm(tokens[:, -patches.shape[1] :]))
        return self.join(unpatchify(tokens, self.grid, self.patch))

    def label_token(self, time: Tensor, label: Tensor | None) -> list[Tensor]:
        """Return the token of the label, (B, 1, width), or none without classes."""
        if self.label is None:
            refuse_label(label)
            return []
        return [self.label(null_labels(time.shape[0], time.device) if label is None else label)[:, None]]
