"""Consistency functions: the boundary condition, the pairs of training, and the ODE map of Gaussian data."""

import math
from itertools import pairwise

import pytest
import torch
from exact_consistency import MEAN, STD, draws, exact, spread
from torch import nn

from mezzotint.diffusion import (
    DDIM,
    Clean,
    ConsistencyDistillation,
    ConsistencyGap,
    ConsistencyTraining,
    CosineSchedule,
    Denoiser,
    EDMSchedule,
    EDMWeight,
    Flow,
    LearnedSchedule,
    LogNormalTimes,
    LogSigma,
    NoiseLevel,
    Preconditioned,
    PseudoHuberLoss,
    RectifiedFlowSchedule,
    Trailing,
    TrigFlowSchedule,
    Velocity,
    VPSchedule,
    WhiteNoise,
    exact_gaussian,
    integrate,
)
from mezzotint.networks import MLP

SCHEDULES = [
    RectifiedFlowSchedule(),
    EDMSchedule(),
    TrigFlowSchedule(),
    VPSchedule(),
    CosineSchedule(),
]


class Spy(PseudoHuberLoss):
    """Keeps what it compares."""

    def __call__(self, value, target):
        seen.append((value, target))
        return super().__call__(value, target)


seen: list = []


@pytest.mark.parametrize("target", [Flow(), Velocity(), Preconditioned(0.6)], ids=repr)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_every_target_but_x0_returns_clean_data_themselves(schedule, target):
    x, t = torch.randn(4, 1, 2, 2).double(), torch.full((4,), 1e-9 if schedule.steps is None else 0.0).double()
    level = schedule.level(t)
    value = torch.full_like(x, 7.0)
    a, b = target.coefficients(NoiseLevel(*(c if c.ndim else c.expand(4) for c in (level.alpha, level.sigma))))
    from mezzotint.diffusion import Prediction

    torch.testing.assert_close(Prediction(x, level, value, a, b).x0, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_gap_narrows_with_the_stages(schedule):
    t = torch.linspace(0.02, 1.0, 50).double() * min(schedule.t_max, 10.0 if schedule.steps is None else 1000)
    t = t if schedule.steps is None else t.long()
    gap, ratio = ConsistencyGap(stages=4, q=2.0, k=8.0, b=1.0), schedule.level(t).ratio
    before = torch.zeros_like(t)
    for stage, progress in enumerate((0.0, 0.3, 0.6, 0.99, 1.0)):
        r = gap(t, schedule, progress)
        assert (r < t).all()
        assert (r >= before).all()
        n = 1 + 8 / (1 + ratio.exp())
        wanted = t * (1 - n / 2 ** (min(stage, 3) + 1)).clamp(min=0)
        if schedule.steps is None:
            torch.testing.assert_close(r, wanted)
        else:
            assert ((r - wanted).abs() <= 1.0 + 1e-9).all()
            assert r.dtype == torch.int64
        before = r


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_pair_shares_its_noise_and_its_weight_is_the_inverse_gap(schedule):
    seen.clear()
    denoiser, n = exact(schedule).train(), 12
    x0 = torch.randn(n, 1, 2, 2).double()
    objective = ConsistencyTraining(loss=Spy(0.03), gap=ConsistencyGap(stages=3))
    objective.anneal(0.9)
    losses = objective(denoiser, x0, draws(n))
    ((value, end),) = seen
    t = objective.times.sample(draws(n), schedule).t
    r = objective.gap(t, schedule, 0.9)
    eps = draws(n).normal("noise", x0.shape[1:]).double()
    for at, got in ((t, value), (r, end)):
        level = schedule.level(at)
        alpha, sigma = (c.reshape(-1, 1, 1, 1) for c in (level.alpha, level.sigma))
        x = alpha * x0 + sigma * eps
        wanted = torch.where(sigma == 0, x, MEAN + STD * (x - alpha * MEAN) / spread(NoiseLevel(alpha, sigma)))
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)
    assert not end.requires_grad
    torch.testing.assert_close(losses, PseudoHuberLoss(0.03)(value, end) * schedule.t_max / (t - r))


@pytest.mark.parametrize(
    "schedule", [RectifiedFlowSchedule(), EDMSchedule(sigma_max=10.0), TrigFlowSchedule()], ids=repr
)
def test_steps_of_the_exact_teacher_converge_to_the_ode_map_at_first_order(schedule):
    """f(x_t) = f(x_r) along ever smaller steps of distillation, in time, ends where the path of the ODE ends."""
    objective = ConsistencyDistillation(exact_gaussian(schedule, torch.full((1, 1, 1), MEAN), STD))
    top = schedule.level(schedule.t_max)
    start = torch.linspace(-2, 2, 9).double().reshape(9, 1, 1, 1) * float(spread(top))
    wanted = MEAN + STD * (start - top.alpha * MEAN) / spread(top)
    errors, counts = [], (16, 32, 64, 128)
    for count in counts:
        x, times = start, [schedule.t_max * (1 - i / count) for i in range(count + 1)]
        for t, r in pairwise(times):
            now, next = (schedule.level(torch.full((9,), s, dtype=torch.float64)) for s in (t, r))
            x = objective.step(x, x, x, now, next, {})
        errors.append(float((x - wanted).abs().max()))
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert slopes[-1] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("make", [ConsistencyTraining, ConsistencyDistillation])
@pytest.mark.parametrize("schedule", [RectifiedFlowSchedule(), EDMSchedule(sigma_max=10.0)], ids=repr)
def test_the_ode_map_is_the_limit_of_the_minimiser(schedule, make):
    """The gradient there shrinks with the gap: a pair has a bias of second order, and the loss divides by it."""
    teacher = {"teacher": exact_gaussian(schedule, torch.full((1, 1, 1), MEAN), STD)} if "Dist" in make.__name__ else {}
    denoiser, n = exact(schedule).train(), 60_000
    x0 = MEAN + STD * draws(n, seed=3).normal("data", (1, 1, 1)).double()

    def gradient(stage):
        objective = make(**teacher, gap=ConsistencyGap(stages=12, k=0.0), times=LogNormalTimes(-0.4, 1.0))
        objective.anneal((stage - 0.5) / 12)
        losses = objective(denoiser, x0, draws(n))
        return float(torch.autograd.grad(losses.mean(), denoiser.network.off)[0])

    wide, narrow = gradient(2), gradient(7)
    assert abs(narrow) < 0.1 * abs(wide)
    assert abs(narrow) < 0.06


def test_distillation_by_another_schedule_takes_the_same_step():
    """The teacher's frame and times are its own; x0 and eps are not."""
    own, other = RectifiedFlowSchedule(), EDMSchedule()
    t, r = torch.tensor([0.2, 0.5, 0.9]).double(), torch.tensor([0.0, 0.3, 0.8]).double()
    x = torch.randn(3, 1, 2, 2).double()
    mean = torch.full((1, 2, 2), MEAN)
    steps = [
        ConsistencyDistillation(exact_gaussian(schedule, mean, STD)).step(x, x, x, own.level(t), own.level(r), {})
        for schedule in (own, other, VPSchedule())
    ]
    for step in steps[1:]:
        torch.testing.assert_close(step, steps[0], rtol=1e-8, atol=1e-8)


def test_a_teacher_is_neither_trained_nor_saved_and_takes_its_guidance():
    teacher = Denoiser(MLP((1, 2, 2), 3, 8), RectifiedFlowSchedule(), Flow())
    for p in teacher.parameters():
        p.data.normal_()
    objective = ConsistencyDistillation(teacher, guidance_scale=2.0, label_dropout=0.1)
    assert not list(objective.parameters())
    assert not objective.state_dict()
    x, label, level = (
        torch.randn(3, 1, 2, 2),
        torch.tensor([0, 1, -1]),
        NoiseLevel(*torch.tensor([[0.4] * 3, [0.6] * 3]).double()),
    )
    next = NoiseLevel(*torch.tensor([[0.7] * 3, [0.3] * 3]).double())
    strong, weak = (teacher.predict(x, level.sigma, label=of) for of in (label, torch.full((3,), -1)))
    x0 = 2 * strong.x0 - weak.x0
    eps = (x - 0.4 * x0) / 0.6
    torch.testing.assert_close(
        objective.step(x, x, x, level, next, {"label": label}), 0.7 * x0 + 0.3 * eps, rtol=1e-4, atol=1e-4
    )


def test_both_calls_have_the_same_dropout():
    class Dropped(nn.Module):
        def forward(self, x, time):
            self.masks.append(nn.functional.dropout(torch.ones(50), 0.5))
            return x * 0 + self.weight

        def __init__(self):
            super().__init__()
            self.weight, self.masks = nn.Parameter(torch.ones(1)), []

    network = Dropped()
    ConsistencyTraining()(Denoiser(network, RectifiedFlowSchedule(), Flow()).train(), torch.zeros(2, 1, 2, 2), draws(2))
    first, second = network.masks
    assert torch.equal(first, second)


def test_weights_are_on_x0_and_clean_ends_need_no_finite_time_input():
    """c_noise = log sigma / 4 is -inf at r = 0, where f(x, 0) = x."""
    denoiser = Denoiser(MLP((1, 2, 2), 0, 8), EDMSchedule(), Preconditioned(), LogSigma()).train()
    x0, times = torch.randn(16, 1, 2, 2), LogNormalTimes()
    plain = ConsistencyTraining(times)(denoiser, x0, draws(16))
    weighted = ConsistencyTraining(times, EDMWeight())(denoiser, x0, draws(16))
    assert plain.isfinite().all()
    sigma = times.sample(draws(16), EDMSchedule()).t
    torch.testing.assert_close(weighted, (plain * (sigma**-2 + 4.0)).to(plain))


@pytest.mark.parametrize(
    ("schedule", "target", "word"),
    [(EDMSchedule(), Clean(), "target=edm"), (LearnedSchedule(), Velocity(), "schedule=edm")],
)
def test_functions_without_a_boundary_condition_are_refused(schedule, target, word):
    denoiser = Denoiser(MLP((1, 2, 2), 0, 8), schedule, target)
    with pytest.raises(ValueError, match=f"consistency function.*Use {word}"):
        ConsistencyTraining()(denoiser, torch.zeros(2, 1, 2, 2), draws(2))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_multistep_consistency_sampling_of_the_exact_function_has_the_law_of_the_data(schedule, steps):
    """sampler=lcm: whatever the grid, mean and variance are those of the data; by its own mean x0 they would shrink."""
    grid, many = Trailing(steps)(schedule), draws(40_000)
    eps = many.normal("sample", (1, 1, 1)).double()
    top = grid[0]
    start = top.alpha * MEAN + eps * spread(top)
    x = integrate(exact(schedule), DDIM(1e9), grid, start, WhiteNoise(many))
    assert float(x.mean()) == pytest.approx(MEAN, abs=4 * STD / 200)
    assert float(x.std()) == pytest.approx(STD, rel=0.02)
