"""DiT and its successors with the same forward pass: SiT and LightningDiT."""

from collections.abc import Mapping, Sequence

from mezzotint.networks.conditions import Condition
from mezzotint.networks.transformers.backbone import Backbone
from mezzotint.networks.transformers.blocks import BlockFactory


class DiT(Backbone):
    """The transformer DiT; SiT is the same network, and LightningDiT the one with `rotary`, `swiglu` and `rms_norm`.

    Source: Peebles and Xie 2023, https://arxiv.org/abs/2212.09748; Ma et al. 2024 (SiT),
    https://arxiv.org/abs/2401.08740; Yao et al. 2025 (LightningDiT), table 2, https://arxiv.org/abs/2501.01423.
    `DiT((4, 32, 32), classes=1000, width=1152, depth=28, head_width=72, learned_variance=True)` is DiT-XL/2 for
    256 x 256 images: 674,834,720 parameters.

    Args:
        shape: (C, *size) of one example, in one to three dimensions, each divisible by `patch`.
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels of a token.
        depth: number of blocks.
        head_width: channels per attention head, at most width.
        patch: side of a patch; the cost grows with its inverse to the power of the number of dimensions, or faster.
        mlp_ratio: hidden channels of the MLP in multiples of the width.
        dropout: dropout probability after attention and inside of the MLP.
        rotary: positions also turn queries and keys.
        swiglu: SwiGLU of the same number of parameters in place of GELU.
        rms_norm: RMSNorm with a learned scale in place of LayerNorm without one.
        qk_norm: queries and keys are normalised, which keeps large networks stable in bfloat16.
        registers: learned tokens beside the patches; Darcet et al. 2024, https://arxiv.org/abs/2309.16588
        learned_variance: 2 C output channels; the second C are the fraction of LearnedRangeVariance.
        conditions: the kind of each further condition, by its name; those of the data in a config.

    Raises:
        ValueError: the patch does not divide the size, or heads do not divide the width.
    """

    positive = ("depth", "mlp_ratio")
    natural = ("registers",)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 384,
        depth: int = 12,
        head_width: int = 64,
        patch: int = 2,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        rotary: bool = False,
        swiglu: bool = False,
        rms_norm: bool = False,
        qk_norm: bool = False,
        registers: int = 0,
        learned_variance: bool = False,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        make = BlockFactory(width, head_width, mlp_ratio, swiglu, rms_norm, qk_norm)
        super().__init__(
            shape,
            classes,
            patch,
            make,
            [dropout] * depth,
            rotary,
            context=registers,
            learned_variance=learned_variance,
            conditions=conditions,
        )
