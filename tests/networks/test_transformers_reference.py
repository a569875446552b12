"""The same numbers as diffusers' DiT and as second writings of each paper's network, given the same weights.

The second writings are functions of a state dict: einsum and explicit loops over heads, positions and patches, without
a module of ours.
"""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.networks import DDT, DiT, JiT, UViT

State = dict[str, Tensor]


def scramble(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


# the papers, written again


def linear(state: State, name: str, x: Tensor) -> Tensor:
    bias = state.get(f"{name}.bias")
    product = torch.einsum("...i,oi->...o", x, state[f"{name}.weight"])
    return product if bias is None else product + bias


def normalise(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def root_mean_square(state: State, name: str, x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * state[f"{name}.weight"]


def gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def waves(time: Tensor, width: int) -> Tensor:
    angles = time[:, None] * torch.tensor([10000 ** (-i / (width // 2)) for i in range(width // 2)])
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def condition_of(state: State, time: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of both embeddings, and that of the label; -1 is the last row."""
    embedded = linear(state, "embedding.time.second", silu(linear(state, "embedding.time.first", waves(time, 256))))
    of_label = state["embedding.label.table.weight"][label]
    return embedded + of_label, of_label


def patches_of(x: Tensor, side: int) -> Tensor:
    rows, columns = x.shape[2] // side, x.shape[3] // side
    places = [(row, column) for row in range(rows) for column in range(columns)]
    cut = [x[:, :, r * side : (r + 1) * side, c * side : (c + 1) * side].flatten(1) for r, c in places]
    return torch.stack(cut, dim=1)


def image_of(patches: Tensor, side: int, rows: int, columns: int) -> Tensor:
    batch = len(patches)
    image = torch.zeros(batch, patches.shape[2] // side**2, rows * side, columns * side)
    for i in range(patches.shape[1]):
        row, column = divmod(i, columns)
        patch = patches[:, i].reshape(batch, -1, side, side)
        image[:, :, row * side : (row + 1) * side, column * side : (column + 1) * side] = patch
    return image


def places(rows: int, columns: int, width: int) -> Tensor:
    table = []
    for row in range(rows):
        for column in range(columns):
            by_axis = [
                torch.tensor([p * 10000 ** (-i / (width // 4)) for i in range(width // 4)]) for p in (column, row)
            ]
            table.append(torch.cat([wave for angles in by_axis for wave in (angles.sin(), angles.cos())]))
    return torch.stack(table)


def turn(x: Tensor, columns: int, leading: int) -> Tensor:
    """Pairs of channels as complex numbers, turned by row (first half) and column (second half), token by token."""
    turned, quarter = x.clone(), x.shape[-1] // 4
    for token in range(leading, x.shape[1]):
        row, column = divmod(token - leading, columns)
        for pair in range(2 * quarter):
            place, i = (row, pair) if pair < quarter else (column, pair - quarter)
            number = torch.complex(x[:, token, 2 * pair], x[:, token, 2 * pair + 1])
            number = number * torch.exp(torch.tensor(1j * place * 10000 ** (-i / quarter)))
            turned[:, token, 2 * pair], turned[:, token, 2 * pair + 1] = number.real, number.imag
    return turned


def attend(state: State, name: str, x: Tensor, heads: int, modern: tuple[int, int] | None = None) -> Tensor:
    """One head at a time; `modern` is (columns, leading tokens) of normalised, rotated queries and keys."""
    width = x.shape[-1] // heads
    qkv, found = linear(state, f"{name}.qkv", x), []
    for head in range(heads):
        q, k, v = (qkv[..., part * x.shape[-1] + head * width :][..., :width] for part in range(3))
        if modern is not None:
            q, k = root_mean_square(state, f"{name}.query_norm", q), root_mean_square(state, f"{name}.key_norm", k)
            q, k = turn(q, *modern), turn(k, *modern)
        found.append(
            torch.einsum("bij,bjc->bic", torch.softmax(torch.einsum("bic,bjc->bij", q, k) / width**0.5, -1), v)
        )
    return linear(state, f"{name}.project", torch.cat(found, dim=-1))


def dit(state: State, x: Tensor, time: Tensor, label: Tensor, depth: int, heads: int, side: int) -> Tensor:
    """Peebles and Xie 2023, figure 3."""
    rows, columns = x.shape[2] // side, x.shape[3] // side
    tokens = linear(state, "patches.linear", patches_of(x, side))
    tokens = tokens + places(rows, columns, tokens.shape[-1])
    condition = silu(condition_of(state, time, label)[0])[:, None]
    for i in range(depth):
        name = f"blocks.{i}"
        b1, s1, g1, b2, s2, g2 = linear(state, f"{name}.modulation", condition).chunk(6, -1)
        tokens = tokens + g1 * attend(state, f"{name}.attention", (1 + s1) * normalise(tokens) + b1, heads)
        h = linear(state, f"{name}.mlp.first", (1 + s2) * normalise(tokens) + b2)
        tokens = tokens + g2 * linear(state, f"{name}.mlp.second", gelu_tanh(h))
    b, s = linear(state, "final.modulation", condition).chunk(2, -1)
    return image_of(linear(state, "final.linear", (1 + s) * normalise(tokens) + b), side, rows, columns)


def jit(state: State, x: Tensor, time: Tensor, label: Tensor, depth: int, heads: int, side: int, start: int) -> Tensor:
    """Li and He 2025, section 4.4 and appendix A."""
    rows, columns = x.shape[2] // side, x.shape[3] // side
    tokens = linear(state, "patches.linear", linear(state, "patches.reduce", patches_of(x, side)))
    tokens = tokens + places(rows, columns, tokens.shape[-1])
    condition, of_label = condition_of(state, time, label)
    condition, leading = silu(condition)[:, None], 0
    for i in range(depth):
        if i == start:
            tokens = torch.cat([state["context"] + of_label[:, None], tokens], dim=1)
            leading = state["context"].shape[1]
        name = f"blocks.{i}"
        b1, s1, g1, b2, s2, g2 = linear(state, f"{name}.modulation", condition).chunk(6, -1)
        h = (1 + s1) * root_mean_square(state, f"{name}.norm1", tokens) + b1
        tokens = tokens + g1 * attend(state, f"{name}.attention", h, heads, (columns, leading))
        h = linear(state, f"{name}.mlp.first", (1 + s2) * root_mean_square(state, f"{name}.norm2", tokens) + b2)
        gate, value = h.chunk(2, -1)
        tokens = tokens + g2 * linear(state, f"{name}.mlp.second", silu(gate) * value)
    b, s = linear(state, "final.modulation", condition).chunk(2, -1)
    h = (1 + s) * root_mean_square(state, "final.norm", tokens[:, leading:]) + b
    return image_of(linear(state, "final.linear", h), side, rows, columns)


def ddt(
    state: State, x: Tensor, time: Tensor, label: Tensor, depth: int, heads: int, side: int, encoder: int
) -> Tensor:
    """Wang et al. 2025, section 3: the features of the encoder modulate the decoder, token by token."""
    rows, columns = x.shape[2] // side, x.shape[3] // side

    def block(name: str, tokens: Tensor, condition: Tensor) -> Tensor:
        b1, s1, g1, b2, s2, g2 = linear(state, f"{name}.modulation", condition).chunk(6, -1)
        h = (1 + s1) * root_mean_square(state, f"{name}.norm1", tokens) + b1
        tokens = tokens + g1 * attend(state, f"{name}.attention", h, heads, (columns, 0))
        h = linear(state, f"{name}.mlp.first", (1 + s2) * root_mean_square(state, f"{name}.norm2", tokens) + b2)
        gate, value = h.chunk(2, -1)
        return tokens + g2 * linear(state, f"{name}.mlp.second", silu(gate) * value)

    both, of_label = condition_of(state, time, label)
    z = linear(state, "encoder_patches.linear", patches_of(x, side))
    for i in range(encoder):
        z = block(f"blocks.{i}", z, silu(both)[:, None])
    z = silu((both - of_label)[:, None] + z)
    tokens = linear(state, "patches.linear", patches_of(x, side))
    for i in range(encoder, depth):
        tokens = block(f"blocks.{i}", tokens, z)
    b, s = linear(state, "final.modulation", z).chunk(2, -1)
    h = (1 + s) * root_mean_square(state, "final.norm", tokens) + b
    return image_of(linear(state, "final.linear", h), side, rows, columns)


def u_vit(state: State, x: Tensor, time: Tensor, label: Tensor, depth: int, heads: int, side: int) -> Tensor:
    """Bao et al. 2023, figure 1 and section 3.1."""
    rows, columns = x.shape[2] // side, x.shape[3] // side
    patches = linear(state, "patches.linear", patches_of(x, side))
    width = patches.shape[-1]
    extra = [state["label.table.weight"][label][:, None], waves(time, width)[:, None]]
    tokens, kept = torch.cat([*extra, patches], dim=1) + state["positions"], []
    for i in range(depth):
        name = f"blocks.{i}"
        if i > depth // 2:
            tokens = linear(state, f"{name}.skip", torch.cat([tokens, kept.pop()], dim=-1))
        affine = [(state[f"{name}.norm{j}.weight"], state[f"{name}.norm{j}.bias"]) for j in (1, 2)]
        h = functional.layer_norm(tokens, (width,), *affine[0])
        tokens = tokens + attend(state, f"{name}.attention", h, heads)
        h = linear(state, f"{name}.mlp.first", functional.layer_norm(tokens, (width,), *affine[1]))
        tokens = tokens + linear(state, f"{name}.mlp.second", 0.5 * h * (1 + torch.erf(h / 2**0.5)))
        if i < depth // 2:
            kept.append(tokens)
    h = functional.layer_norm(tokens[:, 2:], (width,), state["norm.weight"], state["norm.bias"])
    image = image_of(linear(state, "final", h), side, rows, columns)
    return functional.conv2d(image, state["join.weight"], state["join.bias"], padding=1)


SMALL = {"classes": 4, "width": 32, "head_width": 16, "patch": 2}
CASES = {
    "DiT": (lambda: DiT((3, 8, 12), depth=2, **SMALL), partial(dit, depth=2, heads=2, side=2)),
    "DiT with a learned variance": (
        lambda: DiT((3, 8, 12), depth=2, learned_variance=True, **SMALL),
        partial(dit, depth=2, heads=2, side=2),
    ),
    "JiT": (
        lambda: JiT((3, 8, 12), depth=3, bottleneck=6, class_tokens=5, class_start=1, **SMALL),
        partial(jit, depth=3, heads=2, side=2, start=1),
    ),
    "DDT": (
        lambda: DDT((3, 8, 12), depth=3, encoder_depth=2, **SMALL),
        partial(ddt, depth=3, heads=2, side=2, encoder=2),
    ),
    "U-ViT": (lambda: UViT((3, 8, 12), depth=5, **SMALL), partial(u_vit, depth=5, heads=2, side=2)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_second_writing_of_the_paper_gives_the_same(case):
    make, again = CASES[case]
    network = scramble(make())
    x, time, label = torch.randn(3, 3, 8, 12), torch.tensor([0.0, 0.7, 50.0]), torch.tensor([0, 3, -1])
    with torch.no_grad():
        expected = again(network.state_dict(), x, time, label)
        torch.testing.assert_close(network(x, time, label), expected, rtol=1e-5, atol=2e-5)
    assert expected.std() > 0.1


# diffusers


def translate(theirs: State, depth: int, channels: int, side: int) -> State:
    """Their state under our names; they have the channels of an output patch last, and a label table in each block."""
    first = "transformer_blocks.0.norm1.emb"
    names = {"pos_embed.proj": "patches.linear", "proj_out_1": "final.modulation"}
    names |= {f"{first}.timestep_embedder.linear_1": "embedding.time.first"}
    names |= {f"{first}.timestep_embedder.linear_2": "embedding.time.second"}
    for i in range(depth):
        theirs_i, ours_i = f"transformer_blocks.{i}", f"blocks.{i}"
        names |= {f"{theirs_i}.norm1.linear": f"{ours_i}.modulation"}
        names |= {f"{theirs_i}.attn1.to_out.0": f"{ours_i}.attention.project"}
        names |= {f"{theirs_i}.ff.net.0.proj": f"{ours_i}.mlp.first", f"{theirs_i}.ff.net.2": f"{ours_i}.mlp.second"}
    ours = {f"{new}.{kind}": theirs[f"{old}.{kind}"] for old, new in names.items() for kind in ("weight", "bias")}
    ours["patches.linear.weight"] = ours["patches.linear.weight"].flatten(1)
    ours["embedding.label.table.weight"] = theirs[f"{first}.class_embedder.embedding_table.weight"]
    for kind in ("weight", "bias"):
        for i in range(depth):
            parts = [theirs[f"transformer_blocks.{i}.attn1.to_{part}.{kind}"] for part in "qkv"]
            ours[f"blocks.{i}.attention.qkv.{kind}"] = torch.cat(parts)
        last = theirs[f"proj_out_2.{kind}"].unflatten(0, (side, side, channels))
        ours[f"final.linear.{kind}"] = last.movedim(2, 0).flatten(0, 2)
    return ours


@pytest.mark.filterwarnings("ignore")  # the other library's
def test_same_weights_give_the_same_image_as_diffusers():
    """Their sinusoids have the divisor half - 1, other than the code of the paper, which is set right here."""
    diffusers = pytest.importorskip("diffusers")
    depth, width, heads, channels, side = 3, 64, 4, 4, 2
    torch.manual_seed(0)
    theirs = diffusers.DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=width // heads,
        in_channels=channels,
        out_channels=2 * channels,
        num_layers=depth,
        sample_size=8,
        patch_size=side,
        num_embeds_ada_norm=5,
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.05)
    for block in theirs.transformer_blocks:
        block.norm1.emb.timestep_embedder = theirs.transformer_blocks[0].norm1.emb.timestep_embedder
        block.norm1.emb.class_embedder = theirs.transformer_blocks[0].norm1.emb.class_embedder
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    ours = DiT((channels, 8, 8), 5, width, depth, width // heads, side, learned_variance=True).eval()
    ours.load_state_dict(translate(theirs.state_dict(), depth, 2 * channels, side))

    x, time, label = torch.randn(3, channels, 8, 8), torch.tensor([0.0, 17.0, 999.0]), torch.tensor([0, 3, -1])
    with torch.no_grad():
        expected = theirs(x, time, label % 6).sample
        torch.testing.assert_close(ours(x, time, label), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1
