"""What is promised in float64 passes through nothing narrower: no operation on the way gives another floating dtype."""

import itertools
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mezzotint import diffusion
from mezzotint.diffusion import (
    CFG,
    Clean,
    ConstantWeight,
    ContinuousCosineSchedule,
    CosineSchedule,
    Denoiser,
    DynamicThreshold,
    EDMSchedule,
    ExactMixture,
    KeyedRandom,
    LearnedRangeVariance,
    LinearSchedule,
    NoiseLevel,
    Objective,
    PosteriorVariance,
    Prediction,
    RawTime,
    RectifiedFlowSchedule,
    Trailing,
    TransitionVariance,
    UniformTimes,
    VariationalLoss,
    VPSchedule,
    bits_per_dim,
    edit,
    exact_gaussian,
    invert,
    ode_log_likelihood,
    posterior,
    slerp,
    variational_bound,
)
from mezzotint.diffusion.likelihood import bound_term, discretised_log_probability, prior_term

F64 = torch.float64
X0 = torch.linspace(-0.9, 0.9, 16, dtype=F64).reshape(4, 1, 2, 2)


class Narrow(TorchDispatchMode):
    """Collects the operations that give floats of less than 64 bits."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != F64:
                self.found.add(str(func))
        return out


class Exact:
    """Draws in float64: the named ones are float32 by design."""

    def to(self, device):
        return self

    def normal(self, purpose, shape, *counters):
        return torch.linspace(-1.7, 1.9, len(X0) * math.prod(shape), dtype=F64).reshape(len(X0), *shape)

    def uniform(self, purpose, *counters):
        return torch.linspace(0.1, 0.9, len(X0), dtype=F64)


class OneOutput(torch.nn.Module):
    def forward(self, x, time):
        return 0.3 * x


class TwoOutputs(torch.nn.Module):
    def forward(self, x, time):
        return torch.cat([0.3 * x, 0.1 * x], 1)


def narrow(call):
    with Narrow() as seen:
        call()
    return seen.found


@pytest.mark.parametrize(
    "schedule", [LinearSchedule(30), EDMSchedule(), RectifiedFlowSchedule(), VPSchedule()], ids=repr
)
@pytest.mark.parametrize("variance", [PosteriorVariance(), TransitionVariance(), LearnedRangeVariance()], ids=repr)
def test_the_bound_stays_in_float64(schedule, variance):
    denoise = Denoiser(TwoOutputs(), schedule, Clean(), RawTime())
    assert not narrow(lambda: variational_bound(denoise, X0, Trailing(4)(schedule), Exact(), variance))
    level = schedule.level(0.5 * schedule.t_max)
    assert not narrow(lambda: prior_term(X0, level, schedule.prior_std(level)))


def test_densities_stay_in_float64():
    denoise = exact_gaussian(VPSchedule(), torch.zeros(1, 2, 2), 0.4)
    grid = Trailing(3)(VPSchedule())[:-1]
    assert not narrow(lambda: bits_per_dim(ode_log_likelihood(denoise, X0, grid), 4))
    assert not narrow(lambda: discretised_log_probability(X0, 0.9 * X0, torch.full_like(X0, 0.1)))


def test_weights_stay_in_float64(weight):
    if isinstance(weight, diffusion.UncertaintyWeight):
        pytest.skip("its parameters are float32")
    for schedule in (CosineSchedule(50), ContinuousCosineSchedule()):
        denoiser = Denoiser(OneOutput(), schedule, Clean(), RawTime())
        assert not narrow(lambda denoiser=denoiser: Objective(UniformTimes(), weight)(denoiser, X0, Exact()))


def test_losses_stay_in_float64(loss):
    denoiser = Denoiser(TwoOutputs(), CosineSchedule(50), Clean(), RawTime())
    for each in (loss, VariationalLoss(LearnedRangeVariance())):
        assert not narrow(lambda each=each: Objective(UniformTimes(), ConstantWeight(), each)(denoiser, X0, Exact()))


def test_times_stay_in_float64(times):
    for schedule in (CosineSchedule(500), ContinuousCosineSchedule()):
        assert not narrow(lambda schedule=schedule: use(times.sample(KeyedRandom(0, torch.arange(4)), schedule)))


def use(drawn):
    return drawn.t, drawn.log_density, drawn.importance(), drawn.log_snr_density()


def test_schedules_stay_in_float64(schedule):
    if isinstance(schedule, torch.nn.Module):
        pytest.skip("its parameters are float32")
    t = torch.tensor([1.0, 0.5], dtype=F64) * (1.0 if not schedule.steps else schedule.t_max - 1.0)

    def use():
        level = schedule.level(t)
        float_level = schedule.level(float(t[1]))
        _ = schedule.time(level), schedule.time(float_level), schedule.rate(t), schedule.previous(t)
        _ = level.log_snr, level.norm, level.perturb(X0[:2], X0[2:]), float_level.perturb(X0, X0)

    assert not narrow(use)


def test_targets_stay_in_float64(target):
    level = VPSchedule().level(torch.tensor([0.2, 0.9], dtype=F64))
    assert not narrow(lambda: (target.coefficients(level), target.weight(level)))
    assert not narrow(lambda: Prediction(X0[:2], level, X0[2:], *target.coefficients(level)).x0)


def test_uses_and_guidance_stay_in_float64():
    denoise, eps = exact_gaussian(VPSchedule(), torch.zeros(1, 2, 2), 0.4), X0.flip(0)
    assert not narrow(lambda: edit(denoise, diffusion.DDIM(), Trailing(6), X0, eps, 0.5))
    assert not narrow(lambda: invert(denoise, diffusion.Heun(), Trailing(6), X0))
    assert not narrow(lambda: slerp(X0, eps, 0.3))
    assert not narrow(lambda: slerp(X0, eps, torch.full((4,), 0.3, dtype=F64)))
    level, weak = VPSchedule().level(0.4), exact_gaussian(VPSchedule(), torch.ones(1, 2, 2), 0.9)
    for kind in (CFG, diffusion.RescaledCFG, diffusion.CFGZero, diffusion.APG):
        assert not narrow(lambda kind=kind: kind(3.0, weak=weak, inner=denoise).begin()(X0, level))
    for part in (diffusion.Clip(-0.2, 0.2), DynamicThreshold(0.5, 0.1), diffusion.DPS(lambda v: v, X0)):
        assert not narrow(lambda part=part: diffusion.chain(denoise, [part])(X0, level))
    mixture = ExactMixture(VPSchedule(), torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.4), torch.ones(1))
    assert not narrow(lambda: exact_gaussian(VPSchedule(), torch.zeros(1, 2, 2, dtype=F64), 0.1)(X0, level))
    assert mixture(X0, level).value.dtype == F64


@pytest.mark.parametrize("variance", [PosteriorVariance(), TransitionVariance(), LearnedRangeVariance()], ids=repr)
@pytest.mark.parametrize("step", [(11.0, 10.0), (500.0, 400.0), (1.0, 0.0)])
def test_one_level_for_the_batch_gives_the_bound_of_a_level_for_each(variance, step):
    """Bit for bit in float64, and its closed form where nothing is clean."""
    schedule = LinearSchedule()
    t, s = (schedule.level(at) for at in step)
    each_t, each_s = (schedule.level(torch.full((4,), at, dtype=F64)) for at in step)
    fraction = torch.full(X0.shape, 0.25)  # a network's, float32
    clipped = posterior(schedule.level(1.0), schedule.level(2.0))[2]

    def term(t, s):
        pred = Prediction(t.perturb(X0, 0.0 * X0), t, X0 + 0.01, 1.0, 0.0, fraction)
        return bound_term(pred, X0, s, t, clipped, variance)

    torch.testing.assert_close(term(t, s), term(each_t, each_s), rtol=2e-13, atol=0)
    if s.clean:
        return
    _, clean, small = posterior(s, t)
    large = diffusion.transition(s, t)[1]
    var = {PosteriorVariance: small, TransitionVariance: large, LearnedRangeVariance: large**0.25 * small**0.75}[
        type(variance)
    ]
    nats = 0.5 * (math.log(var / small) + (small + (0.01 * clean) ** 2) / var - 1.0)
    assert term(t, s).tolist() == pytest.approx([nats / math.log(2)] * 4, rel=3e-12)


def test_the_issue_of_rounded_variances_in_one_number():
    """Where nothing cancels, 1e-15."""
    s = LinearSchedule()
    for a, b in itertools.pairwise((2.0, 11.0, 300.0)):
        t, p = s.level(b), s.level(a)
        pred = Prediction(t.perturb(X0, 0.0 * X0), t, X0 + 0.01, 1.0, 0.0)
        _, clean, small = posterior(p, t)
        wanted = 0.5 * (clean * 0.01) ** 2 / small / math.log(2)
        assert bound_term(pred, X0, p, t, 1.0, PosteriorVariance()).tolist() == pytest.approx([wanted] * 4, rel=3e-13)


def test_thresholds_are_those_of_float64():
    x0 = torch.tensor([[1.0, 1.0 + 1e-9, 1.0 + 2e-9]], dtype=F64).reshape(1, 1, 1, 3)

    class Given:
        schedule = VPSchedule()

        def begin(self):
            return self

        def __call__(self, x, level, **cond):
            return Prediction(x, level, x0, 1.0, 0.0)

    got = DynamicThreshold(0.5, 1e-3, inner=Given())(x0, NoiseLevel(0.6, 0.8)).x0
    assert got.flatten().tolist() == pytest.approx([1e-3 / (1.0 + 1e-9), 1e-3, 1e-3], rel=1e-13)
