"""Conditions by name: their null, dropout by name, guidance by one or several, and the closed form of y = A x + n."""

import math

import pytest
import torch
from torch import Tensor, nn

from mezzotint.diffusion import (
    APG,
    CFG,
    DDIM,
    CFGZero,
    Clean,
    CompositionalCFG,
    CosineSchedule,
    Denoiser,
    Heun,
    KeyedRandom,
    NoiseLevel,
    Objective,
    Prediction,
    RawTime,
    RescaledCFG,
    Trailing,
    is_null,
    null_like,
    sample,
)
from mezzotint.diffusion.conditions import without

LEVEL = NoiseLevel(0.6, 0.8)
SCHEDULE = CosineSchedule()


class Sum:
    """x0 = 0.3 x + c + 2 s for a vector c (B, 2) and a label s, each 0 where it is null; counts its calls."""

    schedule = SCHEDULE

    def __init__(self) -> None:
        self.calls: list[int] = []

    def begin(self):
        return self

    def __call__(self, x: Tensor, level: NoiseLevel, label=None, c=None, **more) -> Prediction:
        self.calls.append(len(x))
        x0 = 0.3 * x
        if c is not None:
            x0 = x0 + torch.where(is_null(c), 0.0, c).sin()
        if label is not None:
            x0 = x0 + 2.0 * torch.where(is_null(label), 0, label)[:, None]
        return Prediction(x, level, x0, 1.0, 0.0)


def inputs() -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    x, c = torch.randn(2, 5, 2, dtype=torch.float64)
    return x, {"c": c, "label": torch.tensor([0, 1, 2, 1, 0])}


def test_the_null_is_minus_one_in_integers_and_nan_in_floats():
    assert torch.equal(null_like(torch.tensor([[3, 4]])), torch.tensor([[-1, -1]]))
    assert null_like(torch.zeros(2, 3, dtype=torch.bfloat16)).isnan().all()
    assert torch.equal(is_null(torch.tensor([0, -1, 2])), torch.tensor([False, True, False]))
    assert torch.equal(is_null(torch.tensor([0.0, math.nan])), torch.tensor([False, True]))
    for dtype in (torch.uint8, torch.bool):
        with pytest.raises(ValueError, match="has no null: give int64"):
            null_like(torch.zeros(2, dtype=dtype))


# ------------------------------------------------------------------------------------------------------------ guidance


@pytest.mark.parametrize("kind", [CFG, RescaledCFG, APG])
@pytest.mark.parametrize("names", [("c",), ("label",), ("c", "label"), None], ids=str)
def test_scale_0_is_without_the_named_conditions_and_scale_1_with_them_to_the_bit(kind, names):
    inner, (x, cond) = Sum(), inputs()
    null = without(cond, names)
    assert torch.equal(kind(inner, 0.0, conditions=names)(x, LEVEL, **cond).x0, inner(x, LEVEL, **null).x0)
    assert torch.equal(kind(inner, 1.0, conditions=names)(x, LEVEL, **cond).x0, inner(x, LEVEL, **cond).x0)
    assert inner.calls == [5] * 4


def test_scale_0_and_1_of_a_trajectory_are_without_and_with_to_the_bit():
    """Both networks see the same numbers in the same batch, so that even the samples are equal."""
    inner, (x, cond) = Sum(), inputs()
    for scale, given in ((0.0, without(cond, ["c", "label"])), (1.0, cond)):
        for guided in (
            CFG(inner, scale, conditions=("c", "label")),
            CompositionalCFG(inner, {"c": scale, "label": scale}),
        ):
            assert torch.equal(
                sample(guided, Heun(), Trailing(5), x, **cond), sample(inner, Heun(), Trailing(5), x, **given)
            )


def test_without_names_the_label_is_dropped_and_other_inputs_reach_both():
    inner, (x, cond) = Sum(), inputs()
    weak = inner(x, LEVEL, c=cond["c"], label=torch.full((5,), -1)).x0
    assert torch.equal(CFG(inner, 0.0)(x, LEVEL, **cond).x0, weak)
    assert torch.equal(CFG(inner, 0.0)(x, LEVEL, c=cond["c"]).x0, inner(x, LEVEL).x0)


def test_guidance_is_linear_in_what_the_named_conditions_add():
    inner, (x, cond) = Sum(), inputs()
    got = CFG(inner, 3.0, conditions=("c", "label"))(x, LEVEL, **cond).x0
    torch.testing.assert_close(got, 0.3 * x + 3.0 * (cond["c"].sin() + 2.0 * cond["label"][:, None]))
    assert inner.calls == [10]


def test_a_given_null_stands_in_its_place():
    """As a negative prompt does: D(negative) + w (D(c) - D(negative))."""
    inner, (x, cond) = Sum(), inputs()
    negative = torch.full((1, 2), 0.7, dtype=torch.float64)
    got = CFG(inner, 4.0, conditions=("c",), null={"c": negative})(x, LEVEL, c=cond["c"]).x0
    torch.testing.assert_close(got, 0.3 * x + 0.7 * 0 + math.sin(0.7) + 4.0 * (cond["c"].sin() - math.sin(0.7)))


@pytest.mark.parametrize(
    ("scales", "calls"),
    [
        ({"c": 2.0, "label": 3.0}, 3),
        ({"label": 2.0, "c": 3.0}, 3),
        ({"c": 0.0, "label": 3.0}, 3),
        ({"c": 1.0, "label": 3.0}, 2),
        ({"c": 2.5, "label": 2.5}, 2),
        ({"c": 0.5}, 2),
        ({"c": 1.0}, 1),
        ({}, 1),
    ],
    ids=str,
)
def test_one_scale_for_each_condition(scales, calls):
    """For an x0 that adds up over conditions the order does not matter, and each scale multiplies its own part."""
    inner, (x, cond) = Sum(), inputs()
    got = CompositionalCFG(inner, scales)(x, LEVEL, **cond).x0
    expected = (
        0.3 * x + scales.get("c", 1.0) * cond["c"].sin() + 2.0 * scales.get("label", 1.0) * cond["label"][:, None]
    )
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    assert inner.calls == [5 * calls]


class Product(Sum):
    """x0 = f(c) f(label), in which no condition's part is its own."""

    def __call__(self, x: Tensor, level: NoiseLevel, label=None, c=None, **more) -> Prediction:
        c, label = torch.where(is_null(c), 0.5, c), torch.where(is_null(label), 3, label)[:, None]
        return Prediction(x, level, x + c.cos() * (1.0 + label), 1.0, 0.0)


def test_the_published_formula_of_two_scales():
    inner, (x, cond) = Product(), inputs()
    neither, first, both = (
        inner(x, LEVEL, **given).x0 for given in (without(cond, ["c", "label"]), without(cond, ["label"]), cond)
    )
    got = CompositionalCFG(inner, {"c": 1.5, "label": 7.5})(x, LEVEL, **cond).x0
    torch.testing.assert_close(got, neither + 1.5 * (first - neither) + 7.5 * (both - first), rtol=1e-12, atol=1e-12)
    equal = CompositionalCFG(inner, {"c": 2.0, "label": 2.0})(x, LEVEL, **cond).x0
    assert torch.equal(equal, CFG(inner, 2.0, conditions=("c", "label"))(x, LEVEL, **cond).x0)


def test_a_condition_that_is_not_given_is_refused_by_name():
    inner, (x, cond) = Sum(), inputs()
    for guided in (CFG(inner, 2.0, conditions=("text",)), CompositionalCFG(inner, {"text": 2.0})):
        with pytest.raises(ValueError, match=r"needs the condition 'text', and the denoiser is given c, label"):
            guided(x, LEVEL, **cond)
    with pytest.raises(ValueError, match="needs a label or another condition"):
        CFGZero(inner, 2.0)(x, LEVEL, estimate=x)
    with pytest.raises(ValueError, match="give finite numbers"):
        CompositionalCFG(inner, {"c": math.inf})


# ------------------------------------------------------------------------------------------------------------- dropout


class Seen(nn.Module):
    """A network that keeps the conditions of its last call."""

    def forward(self, x: Tensor, time: Tensor, **cond: Tensor) -> Tensor:
        self.cond = cond
        return torch.zeros_like(x)


def seen(objective: Objective, index: Tensor, **cond: Tensor) -> dict[str, Tensor]:
    network = Seen()
    objective(Denoiser(network, SCHEDULE, Clean()), torch.zeros(len(index), 1, 1, 1), KeyedRandom(3, index), **cond)
    return network.cond


N = 4000
GIVEN = {"label": torch.arange(N) % 7, "y": torch.ones(N, 3), "tokens": torch.arange(2 * N).reshape(N, 2) % 9}


def lost(seen: dict[str, Tensor], name: str) -> Tensor:
    """(N,) whether the condition is null; it never is in part, and the others are as given."""
    null = is_null(seen[name]).reshape(N, -1)
    assert torch.equal(null.all(1), null.any(1))
    assert torch.equal(seen[name][~null.all(1)], GIVEN[name][~null.all(1)])
    return null.all(1)


def test_each_condition_is_dropped_at_its_own_rate_and_independently():
    rates = {"label": 0.1, "y": 0.3, "tokens": 0.5}
    objective = Objective(label_dropout=0.1, condition_dropout={"y": 0.3, "tokens": 0.5})
    found = seen(objective, torch.arange(N), **GIVEN)
    gone = {name: lost(found, name).double() for name in rates}
    expected = {(name,): rate for name, rate in rates.items()}
    expected |= {(a, b): rates[a] * rates[b] for a, b in (("label", "y"), ("label", "tokens"), ("y", "tokens"))}
    for names, rate in expected.items():
        share = math.prod([gone[name] for name in names]).mean().item()
        assert abs(share - rate) < 3 * (rate * (1 - rate) / N) ** 0.5, names


def test_all_are_dropped_together_beside_their_own_rates():
    objective = Objective(label_dropout=0.2, condition_dropout={"all": 0.25, "y": 0.4})
    found = seen(objective, torch.arange(N), **GIVEN)
    tokens, y, label = (lost(found, name) for name in ("tokens", "y", "label"))
    assert (y & label)[tokens].all()
    for gone, rate in ((tokens, 0.25), (y, 1 - 0.75 * 0.6), (label, 1 - 0.75 * 0.8)):
        assert abs(gone.double().mean().item() - rate) < 3 * (rate * (1 - rate) / N) ** 0.5


def test_dropout_is_a_function_of_seed_name_and_example():
    """Of the batch, the rank and the other conditions nothing."""
    objective = Objective(label_dropout=0.3, condition_dropout={"y": 0.3})
    together = seen(objective, torch.arange(N), **GIVEN)
    for rank in range(2):
        share = seen(objective, torch.arange(N)[rank::2], **{name: value[rank::2] for name, value in GIVEN.items()})
        for name, value in share.items():
            torch.testing.assert_close(value, together[name][rank::2], rtol=0, atol=0, equal_nan=True)
    alone = seen(Objective(label_dropout=0.3), torch.arange(N), label=GIVEN["label"])
    assert torch.equal(alone["label"], together["label"])


def test_rates_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"condition_dropout.y=1.5 is a fraction"):
        Objective(condition_dropout={"y": 1.5})
    with pytest.raises(ValueError, match="label has its own rate, label_dropout"):
        Objective(condition_dropout={"label": 0.1})
    with pytest.raises(ValueError, match="no condition 'z': tokens, y is given"):
        seen(
            Objective(condition_dropout={"z": 0.1}), torch.arange(4), y=torch.ones(4, 1), tokens=torch.ones(4, 1).long()
        )


# ---------------------------------------------------------------------------------------------------- the closed form


def linear_gaussian(shape: tuple[int, ...], observed: int):
    """x ~ N(m, S) and y = A x + n, n ~ N(0, R): m, S, A, R in float64 and the posterior's mean as (gain, offset), P."""
    d = math.prod(shape)
    torch.manual_seed(1)
    root, a = torch.randn(d, d, dtype=torch.float64) / d**0.5, torch.randn(observed, d, dtype=torch.float64)
    m, s = torch.linspace(-1.0, 1.0, d, dtype=torch.float64), root @ root.T + 0.1 * torch.eye(d, dtype=torch.float64)
    r = torch.diag(torch.linspace(0.2, 0.5, observed, dtype=torch.float64))
    return m, s, a, r


class Posterior(nn.Module):
    """E[x0 | x, y] in closed form; y is a condition (B, observed) or an image of as many elements, null in any part."""

    def __init__(self, m: Tensor, s: Tensor, a: Tensor, r: Tensor) -> None:
        super().__init__()
        self.m, self.precision, self.a, self.weight = m, s.inverse(), a, r.inverse()

    def forward(self, x: Tensor, time: Tensor, y: Tensor) -> Tensor:
        level = SCHEDULE.level(time)
        known = (~is_null(y).flatten(1)).all(1).double()[:, None, None]
        snr = (level.alpha / level.sigma).square()[:, None, None] * torch.eye(len(self.m))
        precision = self.precision + snr + known * (self.a.T @ self.weight @ self.a)
        pull = self.precision @ self.m + (level.alpha / level.sigma**2)[:, None] * x.flatten(1)
        pull = pull + known[:, 0] * (torch.where(is_null(y), 0.0, y).flatten(1) @ (self.weight @ self.a))
        return torch.linalg.solve(precision, pull).reshape(x.shape)


@pytest.mark.parametrize(
    ("shape", "y_shape"), [((3, 1, 1), (2,)), ((1, 2, 2), (1, 2, 1)), ((2, 3), (1,))], ids=["vector", "image", "series"]
)
@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["unconditional", "conditional"])
def test_samples_have_the_mean_and_covariance_of_the_posterior(shape, y_shape, scale):
    """To 2 %: DDIM of 200 steps, started from unit noise whose own mean and covariance are exact."""
    m, s, a, r = linear_gaussian(shape, math.prod(y_shape))
    y = torch.linspace(-0.5, 1.5, math.prod(y_shape), dtype=torch.float64)
    gain = s @ a.T @ (a @ s @ a.T + r).inverse()
    mean, covariance = (m + gain @ (y - a @ m), s - gain @ a @ s) if scale else (m, s)
    d = len(m)
    eps = torch.cat([torch.eye(d), -torch.eye(d)]).double() * d**0.5  # mean 0, covariance I, over 2 d points
    denoise = Denoiser(Posterior(m, s, a, r), SCHEDULE, Clean(), RawTime())
    given = y.reshape(1, *y_shape).expand(2 * d, *y_shape)
    x = sample(CFG(denoise, scale), DDIM(), Trailing(200), eps.reshape(-1, *shape), y=given).flatten(1)
    torch.testing.assert_close(x.mean(0), mean, rtol=0.02, atol=0.02 * mean.norm().item() / d**0.5)
    found = (x - x.mean(0)).T @ (x - x.mean(0)) / (2 * d)
    assert (found - covariance).norm() < 0.02 * covariance.norm()
    assert (covariance - s).norm() > 0.1 * s.norm() or not scale
