"""Continuous-time consistency: the derivative along the path against closed forms, the paper's tangent, its warm-up."""

import pytest
import torch
from exact_consistency import MEAN, STD, draws, exact

from mezzotint.diffusion import (
    Clean,
    ContinuousConsistency,
    CosineSchedule,
    Denoiser,
    EDMSchedule,
    Flow,
    LogNormalTimes,
    Objective,
    Preconditioned,
    RawTime,
    RectifiedFlowSchedule,
    TrigFlowSchedule,
    UncertaintyWeight,
    UnitVarianceScale,
    Velocity,
    VPSchedule,
    exact_gaussian,
)
from mezzotint.networks import MLP

SCHEDULES = [RectifiedFlowSchedule(), TrigFlowSchedule(), VPSchedule(), EDMSchedule(5.0)]


def finished(**more):
    objective = ContinuousConsistency(**more)
    objective.anneal(1.0)
    return objective


def trig(network, sigma_data=0.5):
    schedule = TrigFlowSchedule(sigma_data)
    return Denoiser(network, schedule, Preconditioned(sigma_data), RawTime(), UnitVarianceScale(sigma_data))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_exact_function_is_constant_along_the_exact_path(schedule):
    """df/dt = 0 with the velocity of an exact teacher: the ODE map of Gaussian data is the fixed point."""
    denoiser = exact(schedule)
    teacher = exact_gaussian(schedule, torch.full((1, 1, 1), MEAN), STD)
    t = torch.linspace(0.1, 0.95, 9).double() * schedule.t_max
    x0, eps = MEAN + STD * torch.randn(2, 9, 1, 1, 1).double()
    level = schedule.level(t)
    prediction = denoiser.predict_at(level.perturb(x0, eps), t, level)
    slope = finished(teacher=teacher).slope(denoiser, prediction, t, x0, eps, {})
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-8)
    assert finished().slope(denoiser, prediction, t, x0, eps, {}).abs().mean() > 1e-2  # of a single x0 it is not


@pytest.mark.parametrize("schedule", SCHEDULES[:3], ids=repr)
def test_the_ode_map_minimises_the_loss(schedule):
    """The mean gradient at the closed form is zero up to sampling noise, where the norm hardly changes it."""
    denoiser, n = exact(schedule).train(), 50_000
    x0 = MEAN + STD * draws(n, seed=3).normal("data", (1, 1, 1)).double()
    objective = finished(times=LogNormalTimes(-0.4, 1.0), norm_offset=1e6)

    def gradient(batch):
        losses = objective(denoiser, x0[batch], draws(len(batch), int(batch[0])))
        return torch.autograd.grad(losses.mean(), denoiser.network.off)[0] * 1e6

    parts = torch.cat([gradient(batch) for batch in torch.arange(n).split(n // 50)])
    error = parts.std() / len(parts) ** 0.5
    assert parts.mean().abs() < 4 * error
    assert error < 0.2


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_on_trigflow_the_tangent_is_that_of_the_paper(share):
    """g = -cos^2 t (s F - dx/dt) - r cos t sin t (x + s dF/dt), F = -value, by finite differences; g / (|g| + 0.1)."""
    torch.manual_seed(0)
    network = MLP((1, 2, 2), 0, 8).double()
    for p in network.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    denoiser, s, schedule = trig(network), 0.5, TrigFlowSchedule(0.5)
    x0, eps = 0.5 * torch.randn(2, 6, 1, 2, 2).double()
    eps = 2 * eps
    t = torch.linspace(0.1, 1.5, 6).double()
    c, sin = t.cos().reshape(-1, 1, 1, 1), t.sin().reshape(-1, 1, 1, 1)

    def of(t):
        level = schedule.level(t)
        return -denoiser.predict_at(level.perturb(x0, eps), t, level).value

    x, rate = c * x0 + sin * s * eps, c * s * eps - sin * x0
    h = 1e-2  # times are float32 inside
    slope = (8 * (of(t + h) - of(t - h)) - (of(t + 2 * h) - of(t - 2 * h))) / (12 * h)
    g = -(c**2) * (s * of(t) - rate) - share * c * sin * (x + s * slope)
    norm = g.flatten(1).square().mean(1).sqrt().reshape(-1, 1, 1, 1)
    objective = ContinuousConsistency(warmup=0.5)
    objective.anneal(share / 2)
    level = schedule.level(t)
    prediction = denoiser.predict_at(x, t, level)
    got = objective.tangent(denoiser, prediction, t, x0, eps, {})
    torch.testing.assert_close(got, g / (norm + 0.1), rtol=1e-3, atol=1e-3)  # value - g is F + g, as the value is -F


def test_at_first_the_gradient_is_that_of_diffusion_training():
    """r = 0: with a large offset, the direction of the squared error of the value times cos^2 t."""
    torch.manual_seed(0)
    network = MLP((1, 2, 2), 0, 8)
    network.last.weight.data.normal_()
    denoiser, x0 = trig(network).train(), 0.5 * torch.randn(32, 1, 2, 2)

    class Cosine(UncertaintyWeight):
        def weighted(self, error, level, target, times):
            return error * (level.alpha**2).to(error)

    of = {"times": LogNormalTimes(0.0, 1.0)}
    ours, theirs = (
        torch.autograd.grad(objective(denoiser, x0, draws(32)).mean(), network.last.weight)[0]
        for objective in (ContinuousConsistency(**of, norm_offset=1e5), Objective(**of, weight=Cosine()))
    )
    cosine = torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0)
    assert float(cosine) > 0.999


def test_validation_reports_the_loss_of_the_standard_objective():
    denoiser, x0 = trig(MLP((1, 2, 2), 0, 8)).eval(), torch.randn(8, 1, 2, 2)
    assert torch.equal(finished()(denoiser, x0, draws(8)), Objective()(denoiser, x0, draws(8)))


@pytest.mark.parametrize(
    ("schedule", "target", "word"),
    [(RectifiedFlowSchedule(), Clean(), "target=edm"), (CosineSchedule(), Velocity(), "schedule=trigflow")],
)
def test_what_has_no_derivative_is_refused(schedule, target, word):
    with pytest.raises(ValueError, match=f"Use {word}"):
        ContinuousConsistency()(Denoiser(MLP((1, 2, 2), 0, 8), schedule, target), torch.zeros(2, 1, 2, 2), draws(2))


def test_a_flow_network_is_trained_in_its_own_terms():
    denoiser = Denoiser(MLP((1, 2, 2), 0, 8), RectifiedFlowSchedule(), Flow()).train()
    losses = finished()(denoiser, torch.randn(8, 1, 2, 2), draws(8))
    losses.mean().backward()
    assert losses.isfinite().all()
