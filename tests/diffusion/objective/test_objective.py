"""Training: distributions of times with their densities, weights as published, and a loss with a known minimum."""

import math

import pytest
import torch
from torch import nn

from mezzotint.diffusion import (
    Clean,
    ConstantWeight,
    ContinuousCosineSchedule,
    Denoiser,
    EDMSchedule,
    EDMWeight,
    ELBOWeight,
    Epsilon,
    Flow,
    FlowWeight,
    ImportanceWeight,
    KeyedRandom,
    LaplaceTimes,
    LearnedSchedule,
    LinearSchedule,
    LogLogisticTimes,
    LogNormalTimes,
    LossAwareTimes,
    LowDiscrepancyTimes,
    MinSNRWeight,
    NoiseLevel,
    Objective,
    P2Weight,
    Preconditioned,
    RectifiedFlowSchedule,
    SampledTimes,
    ShiftedSchedule,
    SNRWeight,
    SoftMinSNRWeight,
    SplitLogNormalTimes,
    StratifiedTimes,
    TruncatedSNRWeight,
    UniformTimes,
    Velocity,
    VPSchedule,
    ZeroTerminalSNRSchedule,
    exact_gaussian,
)

SCHEDULES = [
    LinearSchedule(),
    ContinuousCosineSchedule(),
    VPSchedule(),
    EDMSchedule(),
    RectifiedFlowSchedule(),
    ShiftedSchedule(VPSchedule(), -1.0),
]


def middles(n):
    """The middles of n equal parts of (0, 1)."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


MIDDLES = middles(20_000)


def draws(n, start=0, seed=0):
    return KeyedRandom(seed, torch.arange(start, start + n))


# ---- times


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_density_is_that_of_the_times(times, schedule):
    """Quantiles at 20,000 equal steps of u: the density between them is 1 / (20,000 dt)."""
    t, log_density = times(MIDDLES, schedule)
    assert (t > 0).all()
    assert (t <= schedule.t_max * (1 + 1e-9)).all()
    assert log_density.dtype == torch.float64
    if schedule.steps:
        counted = torch.bincount(t, minlength=1001)[1:] / len(t)
        seen = torch.zeros(1001, dtype=torch.float64).index_put((t,), log_density.exp())[1:]
        assert (counted - seen).abs().max() < 1.1e-4  # a count is off by one at each edge
    else:
        inside = slice(2000, 18_000)
        by_difference = 1.0 / (20_000 * t.diff())[inside]
        middle = (0.5 * (log_density[1:] + log_density[:-1]))[inside].exp()
        torch.testing.assert_close(middle, by_difference, rtol=2e-4, atol=0.0)


def test_density_on_a_schedule_that_learns():
    schedule, times = LearnedSchedule(20.0, -20.0, 8), LogNormalTimes(0.0, 1.0)
    t, log_density = times(middles(400), schedule)
    log_ratio = -0.5 * schedule.log_snr(t).detach()
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(log_ratio) + (-0.5 * schedule.rate(t)).detach().log()
    torch.testing.assert_close(log_density, wanted, rtol=1e-6, atol=1e-6)


NORMAL = torch.distributions.Normal(-1.2, 1.2)


@pytest.mark.parametrize(
    ("times", "log_density_of_log_ratio"),
    [
        (LogNormalTimes(-1.2, 1.2), NORMAL.log_prob),
        (LaplaceTimes(0.4, 0.5), lambda y: torch.distributions.Laplace(0.4, 0.5).log_prob(-2 * y) + math.log(2)),
        (
            LogLogisticTimes(0.3, 0.7),
            lambda y: (
                torch.nn.functional.logsigmoid((y - 0.3) / 0.7 * torch.tensor([[1], [-1]])).sum(0) - math.log(0.7)
            ),
        ),
        (SplitLogNormalTimes(-1.2, 1.2, 1.2), NORMAL.log_prob),
    ],
    ids=lambda case: type(case).__name__,
)
def test_densities_in_closed_form(times, log_density_of_log_ratio):
    """On EDM t = sigma, so p(t) = p(log sigma) / t; the little beyond sigma_max is cut off."""
    t, log_density = times(MIDDLES[100:-100], EDMSchedule(1e6))
    torch.testing.assert_close(log_density, log_density_of_log_ratio(t.log()) - t.log(), rtol=1e-6, atol=1e-6)


def test_split_log_normal_has_two_widths():
    t, _ = SplitLogNormalTimes(-1.0, 0.5, 2.0)(MIDDLES, EDMSchedule(1e9))
    y = t.log() + 1.0
    assert (y < 0).double().mean().item() == pytest.approx(0.5 / 2.5, abs=1e-3)
    assert y[y < 0].square().mean().sqrt().item() == pytest.approx(0.5, rel=1e-2)
    assert y[y > 0].square().mean().sqrt().item() == pytest.approx(2.0, rel=1e-2)


def test_logit_normal_on_the_straight_path():
    t, log_density = LogNormalTimes(0.0, 1.0)(MIDDLES[10:-10], RectifiedFlowSchedule())
    logit = torch.logit(t)
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(logit) - (t * (1 - t)).log()
    torch.testing.assert_close(log_density, wanted, rtol=1e-8, atol=1e-8)


def test_uniform_times_of_a_table_are_its_entries():
    t, log_density = UniformTimes()(MIDDLES, LinearSchedule())
    assert t.dtype == torch.int64
    assert torch.bincount(t).tolist() == [0] + [20] * 1000
    assert log_density[0].item() == pytest.approx(-math.log(1000))
    assert UniformTimes()(torch.tensor([1 - 1e-17]).double(), LinearSchedule())[0].item() == 1000


@pytest.mark.parametrize("start", [0, 64, 6400])
def test_stratified_times_have_one_example_in_each_stratum(start):
    u = StratifiedTimes(strata=64).uniforms(draws(64, start))
    assert (u * 64).long().sort().values.tolist() == list(range(64))
    halves = torch.cat([StratifiedTimes(strata=64).uniforms(draws(32, start + i)) for i in (0, 32)])
    assert torch.equal(u, halves)


@pytest.mark.parametrize("n", [48, 64, 1000])
def test_low_discrepancy_covers_evenly_from_anywhere(n):
    for start in (0, 17, 10**9):
        u = LowDiscrepancyTimes().uniforms(draws(n, start)).sort().values
        even = (torch.arange(n) + 0.5) / n
        assert (u - even).abs().max() < 2.5 / n  # random ones: about 0.9 / sqrt(n)
        assert ((u > 0) & (u < 1)).all()


def test_wrapped_distributions_are_theirs_for_each_example():
    """Example 5 over many seeds: uniform, although batches are even."""
    for times in (StratifiedTimes(strata=1), LowDiscrepancyTimes()):
        u = torch.cat([times.uniforms(KeyedRandom(seed, torch.tensor([5]))) for seed in range(2000)]).sort().values
        assert (u - (torch.arange(2000) + 0.5) / 2000).abs().max() < 0.045  # Kolmogorov and Smirnov, one in a thousand


def test_second_moment_follows_the_losses():
    times = LossAwareTimes(bins=4, history=3)
    assert times.probabilities().tolist() == [0.25] * 4
    t = torch.tensor([10, 300, 600, 900]).repeat(3)
    times.observe(t, torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat(3), LinearSchedule())
    wanted = 0.999 * torch.tensor([0.1, 0.2, 0.3, 0.4]) + 0.00025
    torch.testing.assert_close(times.probabilities(), wanted.double(), rtol=1e-6, atol=0.0)
    t, log_density = times(MIDDLES, LinearSchedule())
    assert log_density[t == 900][0].exp().item() == pytest.approx(wanted[3].item() / 250, rel=1e-6)
    with pytest.raises(ValueError, match="leaves bins empty"):
        LossAwareTimes(bins=100)(MIDDLES, LinearSchedule(50))


# ---- weights


def at(t):
    return LinearSchedule().level(torch.tensor(t))


@pytest.mark.parametrize(("name", "target"), [("x0", Clean()), ("eps", Epsilon()), ("v", Velocity())])
def test_min_snr_as_published(name, target, golden):
    table = golden[f"minsnr5/linear/{name}"]
    got = MinSNRWeight(5.0)(at([t + 1 for t in table["t"]]), target, None)
    torch.testing.assert_close(got, torch.tensor(table["value"]).double(), rtol=1e-6, atol=0.0)


def test_edm_weight_as_published(golden):
    table = golden["edm/weight"]
    level = NoiseLevel(torch.ones(7).double(), torch.tensor(table["sigma"]).double())
    torch.testing.assert_close(
        EDMWeight(0.5).on_x0(level, None), torch.tensor(table["value"]).double(), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(EDMWeight(0.5)(level, Preconditioned(0.5), None), torch.ones(7).double())


def test_weights_in_closed_form():
    level = NoiseLevel(torch.tensor([0.9, 0.1]).double(), torch.tensor([0.3, 0.8]).double())
    snr = (level.alpha / level.sigma) ** 2
    for weight, on_eps in (
        (SNRWeight(), torch.ones(2).double()),
        (SoftMinSNRWeight(4.0), 4 / (snr + 4)),
        (TruncatedSNRWeight(), snr.clamp(min=1) / snr),
        (P2Weight(1.0, 0.5), (1 + snr) ** -0.5),
    ):
        torch.testing.assert_close(weight(level, Epsilon(), None), on_eps)


def test_the_flow_weight_is_one_on_the_flow_target_in_any_scaling_down_to_its_floor():
    """On x0 it is 1 / t^2 on the straight path, where t = sigma; at t = 0.05 and below, 400."""
    times = torch.tensor([0.9, 0.5, 0.05, 0.01]).double()
    for norm in (1.0, 3.0):
        level = NoiseLevel(norm * (1 - times), norm * times)
        torch.testing.assert_close(FlowWeight()(level, Flow(), None), torch.full_like(times, norm**-2) * norm**2)
        torch.testing.assert_close(FlowWeight(0.05).on_x0(level, None), times.clamp(min=0.05) ** -2)


def test_plain_is_one_whatever_the_target(target):
    assert ConstantWeight()(at([3, 500]), target, None) == 1.0


@pytest.mark.parametrize(
    "schedule", [VPSchedule(), ContinuousCosineSchedule(), RectifiedFlowSchedule(), EDMSchedule()], ids=repr
)
@pytest.mark.parametrize("times", [UniformTimes(), LogNormalTimes(-0.5, 1.5)], ids=repr)
def test_likelihood_does_not_depend_on_times_or_schedule(schedule, times):
    """E over t of w f = 1/2 integral of f d log_snr for any f of the level: here a bump, whose integral is known."""
    t, log_density = times(middles(200_000), schedule)
    level = schedule.level(t)
    w = ELBOWeight()(level, Epsilon(), SampledTimes(t, log_density, schedule))
    bump = torch.exp(-0.5 * (level.log_snr - 1.0) ** 2)
    assert (w * bump).mean().item() == pytest.approx(0.5 * math.sqrt(2 * math.pi), rel=1e-4)


def test_every_weight_is_finite_up_to_pure_noise(weight):
    schedule = ZeroTerminalSNRSchedule(LinearSchedule())
    t = torch.tensor([1, 500, 998, 999, 1000])
    level, drawn = schedule.level(t), SampledTimes(t, torch.full((5,), -math.log(1000)).double(), schedule)
    factor = torch.as_tensor(weight(level, Velocity(), drawn))
    assert factor.isfinite().all()
    assert (factor >= 0).all()


def test_importance_gives_the_loss_of_uniform_times():
    for schedule in (VPSchedule(), LinearSchedule()):
        for times in (UniformTimes(), LogNormalTimes(0.5, 2.5)):
            t, log_density = times(middles(400_000), schedule)
            w = ImportanceWeight(SNRWeight())(schedule.level(t), Epsilon(), SampledTimes(t, log_density, schedule))
            f = (t.double() / schedule.t_max - 0.3) ** 2
            assert (torch.as_tensor(w) * f).mean().item() == pytest.approx((0.7**3 + 0.3**3) / 3, rel=1e-2)


# ---- the objective


class Perfect(nn.Module):
    """E[target | x] of Gaussian data, for tables with the index as time."""

    def __init__(self, schedule, target):
        super().__init__()
        self.exact, self.target = exact_gaussian(schedule, torch.zeros(1, 4, 4), 0.5), target

    def forward(self, x, time, label=None):
        level = self.exact.schedule.level(time.long() + 1)
        return self.exact(x, level).mix(*self.target.coefficients(level))


@pytest.mark.parametrize("target", [Epsilon(), Clean(), Velocity()], ids=repr)
def test_the_least_loss_of_gaussian_data(target):
    """(det / sigma)^2 Var[x0 | x] with Var[x0 | x] = s^2 sigma^2 / (alpha^2 s^2 + sigma^2)."""
    schedule = LinearSchedule()
    denoiser = Denoiser(Perfect(schedule, target), schedule, target)
    named = draws(40_000)
    x0 = 0.5 * named.normal("data", (1, 4, 4)).double()
    losses = Objective(StratifiedTimes(strata=1000))(denoiser, x0, named)
    level = schedule.level(torch.arange(1, 1001))
    variance = 0.25 * level.sigma**2 / (0.25 * level.alpha**2 + level.sigma**2)
    wanted = (target.weight(level) * variance).mean().item()
    assert losses.shape == (40_000,)
    assert losses.mean().item() == pytest.approx(wanted, rel=0.01)


class Scaler(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.labels = nn.Parameter(torch.tensor(0.3)), []

    def forward(self, x, time, label=None):
        self.labels.append(label)
        return self.weight * x * (1 + 0.01 * time.reshape(-1, 1, 1, 1).cos())


def small(schedule=None, target=None):
    return Denoiser(Scaler(), schedule or LinearSchedule(), target or Velocity())


X0 = torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_losses_do_not_depend_on_the_batch_split(times, weight):
    schedule = LinearSchedule()
    objective, denoiser = Objective(StratifiedTimes(times, 16), weight), small(schedule)
    whole = objective(denoiser, X0, draws(64))
    parts = torch.cat([objective(denoiser, X0[i : i + 16], draws(16, i)) for i in range(0, 64, 16)])
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    assert torch.isfinite(whole).all()
    whole.mean().backward()
    assert torch.isfinite(denoiser.network.weight.grad)


def test_every_weight_on_every_continuous_schedule(weight, target):
    for schedule in (VPSchedule(), EDMSchedule(), RectifiedFlowSchedule(), ContinuousCosineSchedule()):
        try:
            denoiser = small(schedule, target)
        except ValueError:
            continue  # undecodable at pure noise
        losses = Objective(LogNormalTimes(), weight)(denoiser, X0, draws(64))
        assert torch.isfinite(losses).all()
        assert losses.shape == (64,)


def test_all_targets_have_the_same_loss_under_one_weight():
    """A network that answers the same x0 through any head: the weighted loss is that of x0."""
    schedule, seen = VPSchedule(), []

    class Head(nn.Module):
        def __init__(self, target):
            super().__init__()
            self.target = target

        def forward(self, x, time, label=None):
            level = schedule.level(time.double() / 1000)
            return exact_gaussian(schedule, torch.zeros(1, 4, 4), 0.7)(x, level).mix(*self.target.coefficients(level))

    for target in (Epsilon(), Velocity(), Clean(), Preconditioned(0.5)):
        seen.append(
            Objective(UniformTimes(), MinSNRWeight(5.0))(
                Denoiser(Head(target), schedule, target), X0.double(), draws(64)
            )
        )
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0], rtol=1e-6, atol=1e-9)


def test_label_dropout_is_by_name_and_of_the_right_share():
    denoiser, label = small(), torch.arange(64) % 10
    Objective(label_dropout=0.25)(denoiser, X0, draws(64), label=label)
    Objective(label_dropout=0.25)(denoiser, X0[32:], draws(32, 32), label=label[32:])
    first, second = denoiser.network.labels
    assert torch.equal(first[32:], second)
    assert 4 < (first == -1).sum() < 30
    assert torch.equal(first[first != -1], label[first != -1])
    Objective(label_dropout=0.0)(denoiser, X0, draws(64), label=label)
    Objective(label_dropout=1.0)(denoiser, X0, draws(64), label=label)
    assert torch.equal(denoiser.network.labels[2], label)
    assert (denoiser.network.labels[3] == -1).all()
    Objective(label_dropout=0.5)(denoiser, X0, draws(64))
    assert denoiser.network.labels[4] is None
    with pytest.raises(ValueError, match="is a fraction of the examples"):
        Objective(label_dropout=1.5)


def test_an_objective_is_a_module_without_parameters_of_its_own():
    objective = Objective()
    assert isinstance(objective, nn.Module)
    assert not list(objective.parameters())
    assert not objective.state_dict()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_losses_are_the_same_without_gradients(mode):
    objective = Objective(LogNormalTimes(), ELBOWeight())
    denoiser = small(VPSchedule())
    wanted = objective(denoiser, X0, draws(64)).detach()
    with mode():
        assert torch.equal(objective(denoiser, X0, draws(64)), wanted)
