"""Losses and the tricks of training, each against its formula or its purpose."""

import itertools
import math

import pytest
import torch
from torch import nn

from mezzotint.diffusion import (
    Clean,
    ConstantWeight,
    Denoiser,
    ELBOWeight,
    Epsilon,
    GaussianNoise,
    HuberLoss,
    HybridLoss,
    ImportanceWeight,
    KeyedRandom,
    LearnedSchedule,
    LinearSchedule,
    LogNormalTimes,
    LogSNR,
    LossAwareTimes,
    MultiScaleLoss,
    Objective,
    OffsetNoise,
    OTPairedNoise,
    PosteriorVariance,
    PseudoHuberLoss,
    RectifiedFlowSchedule,
    SquaredErrorLoss,
    StratifiedTimes,
    UncertaintyWeight,
    UniformTimes,
    VariationalLoss,
    Velocity,
    VPSchedule,
    exact_gaussian,
)
from mezzotint.diffusion.likelihood import chain_term
from mezzotint.diffusion.objective.training_noise import assignment

GENERATOR = torch.Generator().manual_seed(0)
A, B = torch.randn(2, 5, 3, 8, 8, generator=GENERATOR).double().unbind()


def draws(n=64, seed=0):
    return KeyedRandom(seed, torch.arange(n))


def test_every_loss_is_zero_at_the_target_and_for_each_example(loss):
    if type(loss).__name__ in ("HybridLoss", "VariationalLoss"):
        return  # tested with likelihoods: their bound is not zero
    torch.testing.assert_close(loss(A, A), torch.zeros(5).double(), atol=1e-12, rtol=0.0)
    whole = loss(A, B)
    assert whole.shape == (5,)
    assert (whole > 0).all()
    torch.testing.assert_close(torch.cat([loss(a[None], b[None]) for a, b in zip(A, B, strict=True)]), whole)


def test_losses_in_closed_form():
    e = A - B
    torch.testing.assert_close(SquaredErrorLoss()(A, B), (e**2).mean((1, 2, 3)))
    small = torch.where(e.abs() < 0.7, e**2 / 2, 0.7 * (e.abs() - 0.35)).mean((1, 2, 3))
    torch.testing.assert_close(HuberLoss(0.7)(A, B), small)
    c = 0.1 * math.sqrt(192)
    torch.testing.assert_close(PseudoHuberLoss(0.1)(A, B), (e.flatten(1).norm(dim=1) ** 2 + c**2).sqrt() - c)


def test_multi_scale_of_one_scale_is_the_squared_error():
    torch.testing.assert_close(MultiScaleLoss(1.0)(A, B), SquaredErrorLoss()(A, B))


def test_multi_scale_weighs_coarse_errors_more():
    flat, checks = torch.ones(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    checks[:, :, ::2, 1::2] = checks[:, :, 1::2, ::2] = -1
    zero = torch.zeros_like(flat)
    assert MultiScaleLoss(4.0)(flat, zero) > 2 * MultiScaleLoss(4.0)(checks, zero)
    assert SquaredErrorLoss()(flat, zero) == SquaredErrorLoss()(checks, zero)


def test_cosine_transform_agrees_with_scipy():
    fft = pytest.importorskip("scipy.fft")
    error = (A - B).numpy()
    squares = torch.from_numpy(fft.dctn(error, axes=(2, 3), norm="ortho") ** 2)
    one = torch.tensor([3.0 if 8 / (k + 1) >= 4 else 1 + math.log2(8 / (k + 1)) for k in range(8)]).double()
    weights = torch.minimum(one[:, None], one[None])
    torch.testing.assert_close(MultiScaleLoss(3.0)(A, B), (squares * weights).mean((1, 2, 3)), rtol=1e-6, atol=0.0)


# ---- noise


def test_offset_noise_moves_each_channel():
    x0 = torch.zeros(4000, 3, 4, 4)
    eps = OffsetNoise(0.5)(x0, draws(4000))
    means = eps.mean((2, 3))
    assert means.var().item() == pytest.approx(0.25 + 1 / 16, rel=0.05)
    plain = GaussianNoise()(x0, draws(4000))
    shift = (eps - plain).flatten(2)
    torch.testing.assert_close(shift, shift[:, :, :1].expand_as(shift), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_assignment_is_the_best_of_all(n):
    for seed in range(5):
        cost = torch.rand(n, n, generator=torch.Generator().manual_seed(seed)).double()
        found = assignment(cost)
        best = min(sum(cost[i, j].item() for i, j in enumerate(p)) for p in itertools.permutations(range(n)))
        assert cost[torch.arange(n), found].sum().item() == pytest.approx(best, rel=1e-12)
        assert found.sort().values.tolist() == list(range(n))


def test_assignment_agrees_with_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    cost = torch.rand(64, 64, generator=torch.Generator().manual_seed(3)).double()
    _, columns = optimize.linear_sum_assignment(cost.numpy())
    assert assignment(cost).tolist() == columns.tolist()


def test_paired_noise_is_the_same_noise_nearer_to_its_data():
    x0 = 2 * KeyedRandom(1, torch.arange(32)).normal("data", (1, 2, 2))
    plain, paired = GaussianNoise()(x0, draws(32)), OTPairedNoise()(x0, draws(32))
    assert (x0 - paired).square().sum() < 0.9 * (x0 - plain).square().sum()
    assert torch.equal(paired.flatten(1).sum(1).sort().values, plain.flatten(1).sum(1).sort().values)


# ---- the objective's tricks


class Spy(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.asked = nn.Parameter(torch.tensor(0.3)), []

    def forward(self, x, time, label=None, estimate=None):
        self.asked.append((x, time, estimate))
        return self.weight * x


X0 = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_input_perturbation_changes_the_input_and_not_the_target():
    plain, moved = Denoiser(Spy(), LinearSchedule(), Clean()), Denoiser(Spy(), LinearSchedule(), Clean())
    Objective()(plain, X0, draws())
    Objective(input_perturbation=0.5)(moved, X0, draws())
    (x, time, _), (y, same, _) = plain.network.asked[0], moved.network.asked[0]
    assert torch.equal(time, same)
    sigma = LinearSchedule().level(time.long() + 1).sigma.float().reshape(-1, 1, 1, 1)
    z = (y - x) / (0.5 * sigma)
    assert z.mean().item() == pytest.approx(0.0, abs=0.15)
    assert z.var().item() == pytest.approx(1.0, abs=0.2)


def test_self_conditioning_shows_the_first_estimate_to_its_share():
    denoiser = Denoiser(Spy(), LinearSchedule(), Clean())
    losses = Objective(self_conditioning=0.5)(denoiser, X0, draws())
    (_, _, first), (x, _, second) = denoiser.network.asked
    assert not first.any()
    shown = second.flatten(1).any(1)
    assert 16 < shown.sum() < 48
    torch.testing.assert_close(second[shown], 0.3 * x[shown])
    assert not second.requires_grad
    losses.mean().backward()
    half = Denoiser(Spy(), LinearSchedule(), Clean())
    Objective(self_conditioning=0.5)(half, X0[32:], KeyedRandom(0, torch.arange(32, 64)))
    assert torch.equal(half.network.asked[1][2], second[32:])


def test_a_learned_weight_is_a_module_like_others() -> None:
    """`apply` is torch's, which calls a function on every part of a model."""
    visited: list[str] = []
    weight = UncertaintyWeight(ConstantWeight(), 8)
    assert weight.apply(lambda part: visited.append(type(part).__name__)) is weight
    assert visited == ["Linear", "UncertaintyWeight"]


def test_learned_variance_finds_the_error_of_every_level():
    """At the optimum u is the logarithm of the weighted error: with it every level's loss is 1 + u."""
    weight, denoiser = UncertaintyWeight(ConstantWeight(), 32), Denoiser(Spy(), VPSchedule(), Epsilon())
    objective = Objective(StratifiedTimes(UniformTimes()), weight)
    assert dict(objective.named_parameters()).keys() == {"weight.linear.weight"}
    plain = Objective(StratifiedTimes(UniformTimes()))(denoiser, X0, draws())
    torch.testing.assert_close(objective(denoiser, X0, draws()), plain)  # u = 0 at first
    optimiser = torch.optim.Adam(objective.parameters(), 0.03)
    for step in range(600):
        optimiser.param_groups[0]["lr"] = 0.03 * (1 - step / 600)
        optimiser.zero_grad()
        objective(denoiser, X0, KeyedRandom(0, torch.arange(64) + 64 * step)).mean().backward()
        optimiser.step()
    named = KeyedRandom(1, torch.arange(20_000))
    t = torch.full((20_000,), 0.5).double()
    x0 = X0.repeat(313, 1, 1, 1)[:20_000]
    level = VPSchedule().level(t)
    eps = named.normal("noise", (1, 4, 4))
    error = (denoiser.predict(level.perturb(x0, eps), t).value - eps).square().mean().item()
    u = weight.log_variance(VPSchedule().level(torch.tensor([0.5]).double())).item()
    assert u == pytest.approx(math.log(error), abs=0.15)


def test_second_moment_learns_from_the_objective():
    times = LossAwareTimes(bins=4, history=2)
    objective = Objective(times)
    for step in range(10):
        objective(Denoiser(Spy(), LinearSchedule()), X0, KeyedRandom(0, torch.arange(64) + 64 * step))
    assert (times.seen > 2).all()
    assert times.probabilities().std() > 0
    assert set(objective.state_dict()) == {"times.losses", "times.seen"}


def test_second_moment_learns_from_the_bound():
    """L_vlb, for which its source made it, has no squared error."""
    times = LossAwareTimes(bins=4, history=2)
    objective, denoiser = Objective(times, loss=VariationalLoss()), Denoiser(Spy(), LinearSchedule())
    for step in range(10):
        objective(denoiser, X0, KeyedRandom(0, torch.arange(64) + 64 * step))
    p = times.probabilities()
    assert p.sum().item() == pytest.approx(1.0)
    assert p.argmax() == 0  # the cleanest terms are the largest
    times.losses.zero_()
    assert times.probabilities().tolist() == [0.25] * 4


@pytest.mark.parametrize(
    "loss", [VariationalLoss(), HybridLoss(coefficient=0.1, variance=PosteriorVariance())], ids=str
)
def test_times_are_told_the_bound_as_under_uniform_times(loss):
    told = []

    class Listening(LogNormalTimes):
        def observe(self, t, losses, schedule):
            told.extend((t, losses))

    denoiser, eps = Denoiser(Spy(), LinearSchedule()), GaussianNoise()(X0, draws())
    Objective(Listening(0.0, 2.0), loss=loss)(denoiser, X0, draws())
    t, losses = told
    pred = denoiser.predict(LinearSchedule().level(t).perturb(X0, eps), t)
    wanted = 1000 * chain_term(pred, X0, t, LinearSchedule(), PosteriorVariance())
    if isinstance(loss, HybridLoss):
        wanted = SquaredErrorLoss()(pred.value, eps) + 0.1 * wanted
    torch.testing.assert_close(losses.double(), wanted.detach().double())


def test_an_objective_finds_what_learns_inside_its_parts():
    objective = Objective(
        StratifiedTimes(LossAwareTimes(bins=4)), ImportanceWeight(UncertaintyWeight(ConstantWeight(), 8))
    )
    assert set(dict(objective.named_parameters())) == {"within.1.linear.weight"}
    assert "within.0.seen" in objective.state_dict()
    objective(Denoiser(Spy(), LinearSchedule()), X0, draws()).mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in objective.parameters())


def test_validation_teaches_no_times():
    times = LossAwareTimes(bins=4, history=2)
    Objective(times)(Denoiser(Spy(), LinearSchedule()).eval(), X0, draws())
    assert not times.seen.any()


class OfGaussian(nn.Module):
    """Answers for N(0, std^2) data on whatever schedule, told the log-SNR as time."""

    def __init__(self, std):
        super().__init__()
        self.std = nn.Parameter(torch.tensor(std))

    def forward(self, x, time, label=None):
        snr = time.exp().reshape(-1, 1, 1, 1)
        alpha, sigma = (snr / (1 + snr)).sqrt(), (1 / (1 + snr)).sqrt()
        return sigma / (alpha**2 * self.std**2 + sigma**2) * x


def test_a_learned_schedule_gets_gradients_and_changes_nothing_but_variance():
    """Under the likelihood weight the expected loss depends on the ends of the schedule alone."""
    schedule = LearnedSchedule(8.0, -8.0, 16)
    denoiser = Denoiser(OfGaussian(0.6), schedule, Epsilon(), LogSNR())
    objective, named = Objective(StratifiedTimes(UniformTimes(), 2000), ELBOWeight()), draws(2000)
    x0 = 0.5 * named.normal("data", (1, 4, 4))

    def expected():
        return objective(denoiser, x0, named).mean()

    first = expected()
    first.backward()
    inner = [p for name, p in schedule.named_parameters() if name != "ends"]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in schedule.parameters())
    assert "schedule.ends" in denoiser.state_dict()
    with torch.no_grad():
        for p in inner:
            p += 0.7
    assert expected().item() == pytest.approx(first.item(), rel=0.03)
    with torch.no_grad():
        schedule.ends[0] += 6.0
    assert expected().item() != pytest.approx(first.item(), rel=0.03)


def test_a_denoiser_forgets_placements_of_a_schedule_that_learns():
    schedule = LearnedSchedule(8.0, -8.0, 16)
    denoiser = Denoiser(Spy(), schedule, Velocity())
    level = RectifiedFlowSchedule().level(0.5)
    denoiser(X0, level)
    with torch.no_grad():
        schedule.ends[0] += 5.0
    denoiser(X0, level)
    (_, one, _), (_, two, _) = denoiser.network.asked
    assert not torch.equal(one, two)


def test_perfect_answers_have_no_gradient_to_give():
    """At the least loss of Gaussian data the mean gradient vanishes, up to sampling noise."""
    net = OfGaussian(0.5)
    denoiser, named = Denoiser(net, VPSchedule(), Epsilon(), LogSNR()), draws(20_000)
    x0 = 0.5 * named.normal("data", (1, 4, 4))
    Objective(StratifiedTimes(UniformTimes(), 1000))(denoiser, x0, named).mean().backward()
    at_best = net.std.grad.abs().item()
    net.std.grad = None
    with torch.no_grad():
        net.std += 0.1
    Objective(StratifiedTimes(UniformTimes(), 1000))(denoiser, x0, named).mean().backward()
    assert at_best < 0.05 * net.std.grad.abs().item()
    exact = exact_gaussian(VPSchedule(), torch.zeros(1, 4, 4), 0.5)
    level = VPSchedule().level(0.3)
    told = torch.full((4,), level.log_snr)
    with torch.no_grad():
        net.std -= 0.1
        torch.testing.assert_close(net(x0[:4], told), exact(x0[:4], level).eps, rtol=1e-4, atol=1e-5)
