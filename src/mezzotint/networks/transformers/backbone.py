"""The forward pass that diffusion transformers share: patches, positions, blocks with adaLN-zero, final layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.embeddings import Conditioning, cosines_first, data_shape
from mezzotint.networks.layers import zero
from mezzotint.networks.transformers.blocks import BlockFactory, FinalLayer, linear_layers
from mezzotint.networks.transformers.patches import PatchEmbedding, patch_grid, unpatchify
from mezzotint.networks.transformers.positions import rotary_table, sinusoidal_positions

TIME_WIDTH = 256  # of the sinusoidal embedding of the time, in every paper
STD = 0.02  # of embeddings, initially


class Backbone(Recorded, nn.Module, metaclass=Finite):
    """Base class of transformers (x, time, label) -> like x with adaLN-zero blocks and fixed positions.

    The untrained network returns 0, and every block starts as the identity; Peebles and Xie 2023 (their code),
    https://arxiv.org/abs/2212.09748.

    Args:
        shape: (C, *size) of one example, in one to three dimensions, each divisible by `patch`.
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        patch: side of a patch.
        make: settings of the blocks.
        dropouts: dropout probability of each block; their number is the number of blocks.
        rotary: positions turn queries and keys, besides the embedding that is added.
        bottleneck: width of the bottleneck of the patch embedding; None for none.
        context: learned tokens that are put in front of the patches; 0 for none.
        start: the block, counted from 0, before which they are put there.
        learned_variance: 2 C output channels; the second C are the fraction of LearnedRangeVariance.
    """

    positions: Tensor
    rotation: Tensor | None

    def __init__(
        self,
        shape: Sequence[int],
        classes: int,
        patch: int,
        make: BlockFactory,
        dropouts: Sequence[float],
        rotary: bool,
        bottleneck: int | None = None,
        context: int = 0,
        start: int = 0,
        learned_variance: bool = False,
    ) -> None:
        super().__init__()
        channels, *size = self.shape = data_shape(shape)
        self.patch, self.grid = patch, patch_grid(size, patch)
        self.start = start
        self.embedding = Conditioning(classes, TIME_WIDTH, make.width, waves=cosines_first)
        self.patches = PatchEmbedding(channels, len(size), patch, make.width, bottleneck)
        self.context = nn.Parameter(torch.randn(1, context, make.width) * STD) if context else None
        blocks = [make.block(dropout) for dropout in dropouts]
        self.blocks = nn.ModuleList(blocks)
        outputs = channels * (2 if learned_variance else 1)
        self.final = FinalLayer(make.width, outputs * patch ** len(size), make.norm())
        self.register_buffer("positions", sinusoidal_positions(self.grid, make.width), persistent=False)
        rotation = rotary_table(self.grid, make.width // make.heads, context) if rotary else None
        self.register_buffer("rotation", rotation, persistent=False)
        for layer in linear_layers(self):
            nn.init.xavier_uniform_(layer.weight)
        for name, weight in self.embedding.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(weight, std=STD)
        for layer in (*(block.modulation for block in blocks), self.final.modulation, self.final.linear):
            zero(layer)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """Map x (B, C, *size), time (B,) and label (B,) int64, -1 for none, to (B, C or 2 C, *size)."""
        condition = functional.silu(self.embedding(time, label))[:, None]
        tokens = self.patches(x)
        tokens = tokens + self.positions.to(tokens.dtype)
        count = tokens.shape[1]
        for i, block in enumerate(self.blocks):
            if self.context is not None and i == self.start:
                tokens = torch.cat([self.context_tokens(self.context, label, len(tokens)), tokens], dim=1)
            tokens = block(tokens, condition, self.rotation_of(tokens))
        return unpatchify(self.final(tokens[:, -count:], condition), self.grid, self.patch)

    def context_tokens(self, learned: Tensor, label: Tensor | None, batch: int) -> Tensor:
        """Return the tokens that are put in front of the patches: (B, context, width), from learned (1, ...)."""
        return learned.expand(batch, -1, -1)

    def rotation_of(self, tokens: Tensor) -> Tensor | None:
        """Return the rotations of as many tokens, of which the leading ones beyond the patches have no position."""
        return None if self.rotation is None else self.rotation[:, -tokens.shape[1] :]
