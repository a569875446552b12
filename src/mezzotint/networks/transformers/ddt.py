"""DDT, the decoupled diffusion transformer: a condition encoder, and a velocity decoder that its features modulate."""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional, init

from mezzotint.networks.conditions import Condition
from mezzotint.networks.transformers.backbone import Backbone
from mezzotint.networks.transformers.blocks import BlockFactory
from mezzotint.networks.transformers.patches import PatchEmbedding, unpatchify


class DDT(Backbone):
    """The transformer DDT: the encoder maps x, time and label to a feature z of each patch, the decoder x and z to out.

    z = silu(time + encoder(x)) takes the place of the condition in the adaLN-zero blocks of the decoder and in the
    final layer, patch by patch. Rotary positions alone, SwiGLU, RMSNorm, normalised queries and keys, few biases.

    Source: Wang et al. 2025, section 3, https://arxiv.org/abs/2504.05741 and its code, where rotary positions run from
    0 to 16 whatever the number of patches; here they are whole numbers.
    `DDT((4, 32, 32), classes=1000, width=1152, depth=28, encoder_depth=22, head_width=72)` is DDT-XL/2.

    Args:
        shape: (C, *size) of one example, in one to three dimensions, each divisible by `patch`.
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels of a token.
        depth: number of blocks of encoder and decoder together.
        encoder_depth: number of blocks of the encoder; about four fifths of them are best at the largest size.
        head_width: channels per attention head, at most width.
        patch: side of a patch.
        dropout: dropout probability after attention and inside of the MLP.
        learned_variance: 2 C output channels; the second C are the fraction of LearnedRangeVariance.
        conditions: the kind of each further condition, by its name; those of the data in a config. Sequences are not
            taken.

    Raises:
        ValueError: encoder or decoder have no block, the patch does not divide the size, heads do not divide the width,
            or a condition is a sequence.
    """

    positive = ("depth", "encoder_depth")

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 384,
        depth: int = 12,
        encoder_depth: int = 8,
        head_width: int = 64,
        patch: int = 2,
        dropout: float = 0.0,
        learned_variance: bool = False,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        if not 1 <= encoder_depth < depth:
            raise ValueError(f"encoder_depth={encoder_depth}: of depth={depth} blocks choose 1 to {depth - 1}.")
        make = BlockFactory(width, head_width, swiglu=True, rms_norm=True, qk_norm=True, bias=False)
        dropouts = [dropout] * depth
        super().__init__(
            shape, classes, patch, make, dropouts, True, learned_variance=learned_variance, conditions=conditions
        )
        if self.conditions.sequences:
            raise ValueError(f"DDT takes no sequences such as {next(iter(self.conditions.sequences))}: use DiT.")
        channels, *size = self.shape
        self.encoder_depth = encoder_depth
        self.encoder_patches = PatchEmbedding(channels + self.conditions.channels, len(size), patch, width)
        init.xavier_uniform_(self.encoder_patches.linear.weight)
        init.zeros_(self.encoder_patches.linear.bias)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, **conditions: Tensor | None) -> Tensor:
        """Map x (B, C, *size), time (B,) and label (B,) int64, -1 for none, to (B, C or 2 C, *size).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        condition = functional.silu(given.added(self.embedding(time, label)))[:, None]
        x = given.beside(x)
        features = self.encoder_patches(x)
        for block in self.blocks[: self.encoder_depth]:
            features = block(features, condition, self.rotation)
        features = functional.silu(self.embedding.time(time)[:, None] + features)
        tokens = self.patches(x)
        for block in self.blocks[self.encoder_depth :]:
            tokens = block(tokens, features, self.rotation)
        return unpatchify(self.final(tokens, features), self.grid, self.patch)
