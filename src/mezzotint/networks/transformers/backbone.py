"""The forward pass that diffusion transformers share: patches, positions, blocks with adaLN-zero, final layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.conditions import Condition, ConditionEmbedder, TokenContext
from mezzotint.networks.embeddings import Conditioning, cosines_first, data_shape
from mezzotint.networks.layers import zero
from mezzotint.networks.transformers.blocks import BlockFactory, FinalLayer, linear_layers
from mezzotint.networks.transformers.patches import PatchEmbedding, patch_grid, unpatchify
from mezzotint.networks.transformers.positions import rotary_table, sinusoidal_positions, with_unturned

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
        conditions: the kind of each further condition, by its name. The tokens of sequences are put before the block
            `start`, too, where every token attends to them.
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
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        super().__init__()
        channels, *size = self.shape = data_shape(shape)
        self.patch, self.grid = patch, patch_grid(size, patch)
        self.start = start
        self.embedding = Conditioning(classes, TIME_WIDTH, make.width, waves=cosines_first)
        self.conditions = ConditionEmbedder(conditions, make.width, size)
        inputs = channels + self.conditions.channels
        self.patches = PatchEmbedding(inputs, len(size), patch, make.width, bottleneck)
        self.context = nn.Parameter(torch.randn(1, context, make.width) * STD) if context else None
        blocks = [make.block(dropout) for dropout in dropouts]
        self.blocks = nn.ModuleList(blocks)
        outputs = channels * (2 if learned_variance else 1)
        self.final = FinalLayer(make.width, outputs * patch ** len(size), make.norm())
        self.register_buffer("positions", sinusoidal_positions(self.grid, make.width), persistent=False)
        rotation = rotary_table(self.grid, make.width // make.heads) if rotary else None
        self.register_buffer("rotation", rotation, persistent=False)
        for layer in linear_layers(self):
            nn.init.xavier_uniform_(layer.weight)
        for name, weight in self.embedding.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(weight, std=STD)
        for layer in (*(block.modulation for block in blocks), self.final.modulation, self.final.linear):
            zero(layer)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, **conditions: Tensor | None) -> Tensor:
        """Map x (B, C, *size), time (B,) and label (B,) int64, -1 for none, to (B, C or 2 C, *size).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        condition = functional.silu(given.added(self.embedding(time, label)))[:, None]
        tokens = self.patches(given.beside(x))
        tokens = tokens + self.positions.to(tokens.dtype)
        patches, rotation, mask = tokens.shape[1], self.rotation, None
        for i, block in enumerate(self.blocks):
            if i == self.start:
                tokens, rotation, mask = self.in_context(tokens, label, given.context)
            tokens = block(tokens, condition, rotation, mask)
        return unpatchify(self.final(tokens[:, -patches:], condition), self.grid, self.patch)

    def in_context(
        self, tokens: Tensor, label: Tensor | None, sequence: TokenContext | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Put the tokens of sequences and the learned ones in front; return all, their rotations and their mask."""
        leading = [] if sequence is None else [sequence.tokens.to(tokens.dtype)]
        if self.context is not None:
            leading.append(self.context_tokens(self.context, label, tokens.shape[0]))
        joined = torch.cat([*leading, tokens], dim=1) if leading else tokens
        extra = joined.shape[1] - tokens.shape[1]
        rotation = self.rotation if self.rotation is None or not extra else with_unturned(self.rotation, extra)
        if sequence is None:
            return joined, rotation, None
        counts = sequence.counts
        others = counts.new_ones(counts.shape[0], joined.shape[1] - counts.shape[1])
        return joined, rotation, torch.cat([counts, others], dim=1)[:, None, None]

    def context_tokens(self, learned: Tensor, label: Tensor | None, batch: int) -> Tensor:
        """Return the learned tokens (1, context, width) for a batch, (B, context, width)."""
        return learned.expand(batch, -1, -1)
