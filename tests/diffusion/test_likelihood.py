"""The bound against its closed form, the decoder against exact numbers, the ODE's density against the mixture's."""

import itertools
import math

import pytest
import torch
from torch import nn

from mezzotint.diffusion import (
    Clean,
    CosineSchedule,
    Denoiser,
    EDMSchedule,
    ExactMixture,
    HybridLoss,
    KeyedRandom,
    LearnedRangeVariance,
    LinearSchedule,
    NoiseLevel,
    Objective,
    PosteriorVariance,
    Prediction,
    RectifiedFlowSchedule,
    StratifiedTimes,
    SubVPSchedule,
    Trailing,
    TransitionVariance,
    UniformTimes,
    VariationalLoss,
    Velocity,
    VPSchedule,
    bits_per_dim,
    dequantise,
    exact_gaussian,
    ode_log_likelihood,
    posterior,
    transition,
    variational_bound,
)
from mezzotint.diffusion.likelihood import (
    chain_term,
    clipped_variance,
    discretised_log_probability,
    prior_term,
)

BITS = 1 / math.log(2)


def test_decoder_as_published(golden):
    table = golden["decoder/discretized_gaussian_loglik_exact"]
    x = torch.tensor(table["x"], dtype=torch.float64)
    mean, std = torch.full_like(x, table["mean"]), torch.full_like(x, math.exp(table["log_scale"]))
    got = discretised_log_probability(x, mean, std)
    torch.testing.assert_close(got, torch.tensor(table["value"], dtype=torch.float64), rtol=1e-10, atol=0.0)


@pytest.mark.parametrize("std", [1e-4, 0.01, 0.3, 10.0])
@pytest.mark.parametrize("mean", [-3.0, 0.1, 1.0])
def test_decoder_probabilities_sum_to_one(mean, std):
    x = torch.arange(256, dtype=torch.float64) / 127.5 - 1.0
    logs = discretised_log_probability(x, torch.full_like(x, mean), torch.full_like(x, std))
    assert not logs.isnan().any()
    assert logs.exp().sum().item() == pytest.approx(1.0, rel=1e-9)


def test_prior_term_as_published(golden):
    table = golden["prior_kl_bits/linear"]
    x0 = torch.tensor(table["x0"], dtype=torch.float64).reshape(-1, 1, 1, 1)
    assert prior_term(x0, LinearSchedule().level(1000.0)).tolist() == pytest.approx(table["value"], rel=1e-6)


def test_clipped_log_variance_as_published(golden):
    first, second = LinearSchedule().level(1.0), LinearSchedule().level(2.0)
    wanted = golden["posterior/linear/log_variance_clipped"]["value"][0]
    assert math.log(clipped_variance(first, second)) == pytest.approx(wanted, rel=1e-12)


def closed_form(grid, std, variance):
    """E L of Gaussian data N(0, std^2) for each step to a noisy level, in bits per dimension."""
    terms = []
    for t, s in itertools.pairwise(grid[:-1]):
        _, clean, q = posterior(s, t)
        p = variance(s, t, None)
        unexplained = std**2 * t.sigma**2 / (t.alpha**2 * std**2 + t.sigma**2)
        terms.append(0.5 * BITS * (math.log(p / q) + (q + clean**2 * unexplained) / p - 1.0))
    return terms


@pytest.mark.parametrize("variance", [PosteriorVariance(), TransitionVariance()], ids=repr)
@pytest.mark.parametrize(
    "schedule", [LinearSchedule(), CosineSchedule(), VPSchedule(), SubVPSchedule(), RectifiedFlowSchedule()], ids=repr
)
def test_bound_of_gaussian_data_is_its_closed_form(schedule, variance):
    std, grid, draws = 0.4, Trailing(8)(schedule), KeyedRandom(0, torch.arange(4000))
    x0 = std * draws.normal("data", (1, 4, 4)).double()
    bound = variational_bound(exact_gaussian(schedule, torch.zeros(1, 4, 4), std), x0, grid, draws, variance)
    assert bound.diffusion.shape == (4000, 7)
    wanted = torch.tensor(closed_form(grid, std, variance), dtype=torch.float64)
    torch.testing.assert_close(bound.diffusion.mean(0), wanted, rtol=0.02, atol=1e-9)
    first = grid[0]
    share = (first.sigma / schedule.prior_std(first)) ** 2
    prior = 0.5 * BITS * (share - 1 - math.log(share) + (first.alpha / schedule.prior_std(first) * std) ** 2)
    assert bound.prior.mean().item() == pytest.approx(prior, rel=0.02, abs=1e-9)
    torch.testing.assert_close(bound.total, bound.prior + bound.diffusion.sum(1) + bound.decoder)


def test_bound_needs_the_last_step():
    exact, grid = exact_gaussian(LinearSchedule(), torch.zeros(1), 1.0), Trailing(5)(LinearSchedule())
    with pytest.raises(ValueError, match="step to clean data"):
        variational_bound(exact, torch.zeros(1, 1), grid[:-1], KeyedRandom(0, torch.arange(1)))


class TwoHeads(nn.Module):
    """A mean and a variance, each with a parameter."""

    def __init__(self):
        super().__init__()
        self.mean, self.fraction = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor(0.2))

    def forward(self, x, time, label=None):
        return torch.cat([self.mean * x, self.fraction * torch.ones_like(x)], 1)


X0 = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_hybrid_teaches_the_mean_by_the_simple_loss_alone():
    grads = []
    for loss in (None, HybridLoss()):
        denoiser = Denoiser(TwoHeads(), LinearSchedule())
        Objective(StratifiedTimes(), loss=loss)(denoiser, X0, KeyedRandom(0, torch.arange(64))).mean().backward()
        grads.append((denoiser.network.mean.grad, denoiser.network.fraction.grad))
    torch.testing.assert_close(grads[1][0], grads[0][0], rtol=1e-6, atol=0.0)
    assert grads[0][1] == 0
    assert grads[1][1].abs() > 0


def test_hybrid_is_simple_plus_a_thousandth_of_the_bound():
    denoiser, draws = Denoiser(TwoHeads(), LinearSchedule()), KeyedRandom(0, torch.arange(64))
    simple = Objective(UniformTimes())(denoiser, X0, draws)
    both = Objective(UniformTimes(), loss=HybridLoss(coefficient=0.001))(denoiser, X0, draws)
    bound = Objective(UniformTimes(), loss=VariationalLoss(LearnedRangeVariance()))(denoiser, X0, draws)
    torch.testing.assert_close(both - simple, 0.001 * bound, rtol=1e-4, atol=1e-5)


def test_variance_of_the_hybrid_loss_finds_its_optimum():
    """With the right mean the best fraction is the one whose variance is posterior + clean^2 Var[x0 | x]."""
    schedule, std = LinearSchedule(), 0.5
    t, s = schedule.level(300.0), schedule.level(299.0)
    _, clean, small = posterior(s, t)
    large = transition(s, t)[1]
    best = small + clean**2 * std**2 * t.sigma**2 / (t.alpha**2 * std**2 + t.sigma**2)
    wanted = math.log(best / small) / math.log(large / small)
    draws = KeyedRandom(0, torch.arange(2000))
    x0 = std * draws.normal("data", (1, 4, 4)).double()
    x = t.perturb(x0, draws.normal("noise", (1, 4, 4)).double())
    mean = exact_gaussian(schedule, torch.zeros(1, 4, 4), std)(x, t).x0
    times = torch.full((2000,), 300)
    values = []
    for fraction in (wanted - 0.1, wanted, wanted + 0.1):
        pred = Prediction(x, schedule.level(times), mean, 1.0, 0.0, torch.full_like(x, fraction))
        values.append(chain_term(pred, x0, times, schedule, LearnedRangeVariance()).mean().item())
    assert values[1] < min(values[0], values[2])


@pytest.mark.parametrize("schedule", [LinearSchedule(50), VPSchedule()], ids=repr)
def test_variational_loss_estimates_the_bound(schedule):
    """The mean of the loss over times is the sum of the chain's terms, decoder included."""
    std, n = 0.4, 20_000
    exact = exact_gaussian(schedule, torch.zeros(1, 2, 2), std)

    class Net(nn.Module):
        def forward(self, x, time, label=None):
            t = time.long() + 1 if schedule.steps else time.double() / 1000
            return exact(x, schedule.level(t)).x0

    draws = KeyedRandom(0, torch.arange(n))
    x0 = (std * draws.normal("data", (1, 2, 2)).double() * 127.5).round() / 127.5
    x0 = x0.clamp(-1, 1)
    objective = Objective(StratifiedTimes(strata=1000), loss=VariationalLoss())
    estimate = objective(Denoiser(Net(), schedule, Clean()), x0, draws).mean().item()
    steps = schedule.steps or 1000
    grid = tuple(schedule.level(schedule.t_max * i / steps) for i in range(steps, -1, -1))
    bound = variational_bound(exact, x0[:500], grid, KeyedRandom(1, torch.arange(500)))
    wanted = (bound.diffusion.sum(1) + bound.decoder).mean().item()
    assert estimate == pytest.approx(wanted, rel=0.05)


def test_learned_range_at_the_last_step_is_clipped():
    schedule = LinearSchedule()
    x = torch.zeros(2, 1, 1, 1)
    pred = Prediction(x, schedule.level(torch.tensor([1, 2])), x, 1.0, 0.0, torch.zeros_like(x))
    term = chain_term(pred, x, torch.tensor([1, 2]), schedule, LearnedRangeVariance())
    std = math.sqrt(clipped_variance(schedule.level(1.0), schedule.level(2.0)))
    inside = math.erf(1 / 255 / std / math.sqrt(2))
    assert term[0].item() == pytest.approx(-math.log2(inside), rel=1e-6, abs=1e-9)
    assert term[1].item() == pytest.approx(0.0, abs=1e-9)


MIXTURE = (
    torch.tensor([[1.5, -0.4], [-1.0, 0.3], [0.2, 2.0]]).double(),
    torch.tensor([[0.3, 0.5], [0.6, 0.2], [0.4, 0.4]]).double(),
    torch.tensor([0.2, 0.5, 0.3]).double(),
)


@pytest.mark.parametrize("schedule", [VPSchedule(), EDMSchedule(), RectifiedFlowSchedule()], ids=repr)
def test_ode_likelihood_of_a_mixture_is_its_density(schedule):
    exact = ExactMixture(schedule, *MIXTURE)
    x = exact.data(KeyedRandom(0, torch.arange(6)))
    grid = tuple(
        RectifiedFlowSchedule().level(i / 200) for i in range(200, -1, -1)
    )  # from pure noise, in any schedule's frame
    got = ode_log_likelihood(exact, x, grid)
    torch.testing.assert_close(got, exact.log_density(x, NoiseLevel(1.0, 0.0)), rtol=0.0, atol=1e-6)


def test_hutchinsons_estimate_is_unbiased_and_named():
    exact = ExactMixture(VPSchedule(), *MIXTURE)
    x = exact.data(KeyedRandom(0, torch.arange(3)))
    grid = Trailing(20)(VPSchedule())
    whole = ode_log_likelihood(exact, x, grid)
    estimates = torch.stack([ode_log_likelihood(exact, x, grid, KeyedRandom(s, torch.arange(3)), 4) for s in range(12)])
    spread = estimates.std(0) / math.sqrt(12)
    assert ((estimates.mean(0) - whole).abs() < 4 * spread + 1e-9).all()
    again = ode_log_likelihood(exact, x[1:], grid, KeyedRandom(0, torch.arange(1, 3)), 4)
    torch.testing.assert_close(again, estimates[0, 1:], rtol=1e-10, atol=1e-10)


def test_ode_likelihood_through_a_network():
    """A float32 network of Gaussian data, asked through its own clock."""
    schedule = VPSchedule()

    class Net(nn.Module):
        def forward(self, x, time, label=None):
            level = schedule.level(time.double() / 1000)
            return exact_gaussian(schedule, torch.zeros(1, 2, 2), 0.5)(x, level).mix(*Velocity().coefficients(level))

    x = 0.5 * KeyedRandom(0, torch.arange(4)).normal("data", (1, 2, 2))
    times = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001)
    grid = tuple(schedule.level(t) for t in times)
    got = ode_log_likelihood(Denoiser(Net(), schedule, Velocity()), x, grid)
    wanted = torch.distributions.Normal(0.0, 0.5).log_prob(x.double()).flatten(1).sum(1)
    torch.testing.assert_close(got, wanted, rtol=0.0, atol=0.02)


def test_bits_of_uniform_data():
    """8 bits: a uniform density on [-1, 1] has log p = -D ln 2."""
    assert bits_per_dim(torch.tensor([-12 * math.log(2.0)]), 12).item() == pytest.approx(8.0)
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x = dequantise(images, KeyedRandom(0, torch.arange(50)))
    assert torch.equal(((x + 1) * 128).floor().to(torch.uint8), images)
    share = (x + 1) * 128 - images
    assert share.mean().item() == pytest.approx(0.5, abs=0.02)
    assert share.var().item() == pytest.approx(1 / 12, abs=0.01)
