"""JiT, "just image transformers": large patches of pixels, of which the network predicts the clean ones."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from mezzotint.networks.conditions import Condition
from mezzotint.networks.embeddings import null_labels
from mezzotint.networks.transformers.backbone import Backbone
from mezzotint.networks.transformers.blocks import BlockFactory


class JiT(Backbone):
    """The transformer JiT, meant for target=clean: it can predict images whose patches have more numbers than a token.

    Rotary positions besides the fixed ones, SwiGLU, RMSNorm, normalised queries and keys, a bottleneck in the patch
    embedding, and from the block `class_start` on `class_tokens` more tokens that hold the label's embedding.

    Source: Li and He 2025, section 4 and table 9, https://arxiv.org/abs/2511.13720.
    `JiT((3, 256, 256), classes=1000)` is JiT-B/16.

    Args:
        shape: (C, *size) of one example, in one to three dimensions, each divisible by `patch`.
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels of a token.
        depth: number of blocks.
        head_width: channels per attention head, at most width.
        patch: side of a patch; the paper takes a sixteenth of the side of the image.
        bottleneck: width of the bottleneck of the patch embedding.
        class_tokens: tokens that hold the label; without classes they are learned tokens alone.
        class_start: the block, counted from 0, from which on they are there.
        dropout: dropout probability after attention and inside of the MLP, in the middle half of the blocks.
        conditions: the kind of each further condition, by its name; those of the data in a config.

    Raises:
        ValueError: the patch does not divide the size, heads do not divide the width, or there is no block class_start.
    """

    positive = ("depth", "bottleneck")
    natural = ("class_tokens", "class_start")

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 768,
        depth: int = 12,
        head_width: int = 64,
        patch: int = 16,
        bottleneck: int = 128,
        class_tokens: int = 32,
        class_start: int = 4,
        dropout: float = 0.0,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        if class_start >= depth:
            raise ValueError(f"class_start={class_start}: the last of depth={depth} blocks is {depth - 1}.")
        quarter = depth // 4
        dropouts = [dropout if quarter <= i < 3 * quarter else 0.0 for i in range(depth)]
        make = BlockFactory(width, head_width, swiglu=True, rms_norm=True, qk_norm=True)
        super().__init__(
            shape, classes, patch, make, dropouts, True, bottleneck, class_tokens, class_start, conditions=conditions
        )

    def context_tokens(self, learned: Tensor, label: Tensor | None, batch: int) -> Tensor:
        if self.embedding.label is None:
            return super().context_tokens(learned, label, batch)
        label = null_labels(batch, learned.device) if label is None else label
        return learned + self.embedding.label(label)[:, None]
