"""What holds for every sampler, step count, spacing, schedule, frame and target."""

import inspect
import math
from itertools import pairwise

import pytest
import torch
from sampler_table import Mixture

from mezzotint.diffusion import (
    DDIM,
    DDPM,
    LMS,
    Clean,
    ContinuousCosineSchedule,
    CosineSchedule,
    Denoiser,
    DPMSolverPP,
    EDMSchedule,
    Epsilon,
    Euler,
    Flow,
    Heun,
    Karras,
    KeyedRandom,
    LearnedRangeVariance,
    LinearSchedule,
    NoiseLevel,
    PosteriorVariance,
    Preconditioned,
    Prediction,
    RawTime,
    RectifiedFlowSchedule,
    Score,
    Trailing,
    TransitionVariance,
    Velocity,
    VPSchedule,
    WhiteNoise,
    coordinates,
    integrate,
    samplers,
)
from mezzotint.diffusion.coordinates import AngleCoordinate, DataCoordinate, NoiseCoordinate

MAIN = [DDIM(), DDIM(1.0), DDPM(), DDPM(TransitionVariance()), Euler(), Heun(), DPMSolverPP(2)]


class Oracle:
    """Knows x0. Asked for it at alpha = 0 too, since it answers with x0 itself."""

    def __init__(self, schedule, x0):
        self.schedule, self.x0, self.calls = schedule, x0, 0

    def begin(self):
        return self

    def __call__(self, x, level):
        assert not level.clean, "no network can be asked at a clean level"
        self.calls += 1
        return Prediction(x, level, self.x0, 1.0, 0.0)


def noise(seed=0, n=3):
    return WhiteNoise(KeyedRandom(seed, torch.arange(n)))


def unit(n=3, d=2):
    return torch.linspace(-1.7, 1.9, n * d, dtype=torch.float64).reshape(n, d)


def lands_on_x0(sampler, schedule, grid, tolerance=1e-9):
    """Calls made on the way."""
    x0 = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2)
    oracle = Oracle(schedule, x0)
    x = integrate(oracle, sampler, grid, unit() * schedule.prior_std(grid[0]))
    assert grid[-1] == NoiseLevel(1.0, 0.0)
    torch.testing.assert_close(x, x0, rtol=0, atol=tolerance)
    return oracle.calls


@pytest.mark.parametrize("schedule", [LinearSchedule(), RectifiedFlowSchedule()], ids=repr)
def test_every_step_count_ends_clean_at_x0(schedule, spacing):
    if "steps" not in vars(spacing):
        pytest.skip("its steps are fixed")
    for steps in (*range(1, 61), 1000):
        if steps <= (schedule.steps or 1000):
            grid = type(spacing)(**{**vars(spacing), "steps": steps})(schedule)
            for main in (DDIM(), DDPM(), Heun()) if steps < 1000 else (DDIM(),):
                lands_on_x0(main, schedule, grid)


@pytest.mark.parametrize("main", MAIN, ids=str)
def test_a_thousand_steps_end_clean_at_x0(main):
    for schedule in (LinearSchedule(), RectifiedFlowSchedule()):
        lands_on_x0(main, schedule, Trailing(1000)(schedule))


@pytest.mark.parametrize(
    "schedule",
    [
        LinearSchedule(),
        CosineSchedule(),
        VPSchedule(),
        EDMSchedule(),
        RectifiedFlowSchedule(),
        ContinuousCosineSchedule(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("spacing", [Trailing, Karras])
def test_every_sampler_ends_clean_at_x0(sampler, schedule, spacing):
    """High orders extrapolate the rounding of a few uneven steps: one from sigma / alpha = 20,000 to 0.008, say."""
    for steps in (1, 2, 3, 4, 5, 7, 10, 31):
        grid = spacing(steps)(schedule)
        lands_on_x0(sampler, schedule, grid, tolerance=1e-5)


def test_calls_a_step_are_as_declared(sampler):
    steps, started = 12, getattr(sampler, "steps", 0)
    calls = lands_on_x0(sampler, LinearSchedule(), Trailing(steps)(LinearSchedule()))
    extra = started * (sampler.start.calls - 1) if started else 0
    saved = sampler.calls - 1  # the step to clean data
    assert steps * sampler.calls + extra - saved <= calls <= steps * sampler.calls + extra


def test_ddim_with_eta_1_is_ddpm_step_for_step():
    for schedule in (LinearSchedule(), CosineSchedule(), RectifiedFlowSchedule(), EDMSchedule()):
        grid, denoise = Trailing(37)(schedule), Mixture(schedule)
        a, b = ([], [])
        for sampler, seen in ((DDIM(1.0), a), (DDPM(), b)):
            x = unit(6, 1) * schedule.prior_std(grid[0])
            x = integrate(denoise, sampler, grid, x, noise(n=6), lambda frame, seen=seen: seen.append(frame.x))
            seen.append(x)
        assert len(a) == 38
        for got, wanted in zip(a, b, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_ddpm_walks_the_tables():
    """One step against Ho et al.'s table form, coefficients from betas."""
    t, schedule = 500, LinearSchedule()
    betas = schedule.betas()
    bar = torch.cumprod(1 - betas, 0)
    b, ab, before = betas[t - 1], bar[t - 1], bar[t - 2]
    x, z = unit(), torch.full((3, 2), 0.7, dtype=torch.float64)
    eps = 0.3 * x
    mean = (x - b / (1 - ab).sqrt() * eps) / (1 - b).sqrt()

    def denoise(x, level):
        return Prediction(x, level, 0.3 * x, 0.0, 1.0)

    now, next = schedule.level(float(t)), schedule.level(t - 1.0)
    small, _ = DDPM().step(denoise, x, now, next, None, lambda *_: z)
    large, _ = DDPM(TransitionVariance()).step(denoise, x, now, next, None, lambda *_: z)
    torch.testing.assert_close(small, mean + (b * (1 - before) / (1 - ab)).sqrt() * z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(large, mean + b.sqrt() * z, rtol=1e-12, atol=1e-12)


class TwoOutputs(torch.nn.Module):
    """Answers with a part of x, and with one v for the variance of every element."""

    def __init__(self, v):
        super().__init__()
        self.v = v

    def forward(self, x, time):
        return torch.cat([0.3 * x, torch.full_like(x, self.v)], 1)


@pytest.mark.parametrize("shape", [(1, 3, 4, 6), (2, 1, 8, 8), (3, 2)], ids=str)
def test_a_learned_variance_lies_between_the_two_fixed_ones(shape):
    schedule, start = LinearSchedule(), torch.linspace(-1.7, 1.9, math.prod(shape)).reshape(shape)

    def end(variance, v):
        denoise, grid = Denoiser(TwoOutputs(v), schedule), Trailing(7)(schedule)[:-1]
        return integrate(denoise, DDPM(variance), grid, start, noise(n=len(start)))

    torch.testing.assert_close(end(LearnedRangeVariance(), -1.0), end(PosteriorVariance(), 0.0))
    torch.testing.assert_close(end(LearnedRangeVariance(), 1.0), end(TransitionVariance(), 0.0))
    assert not torch.allclose(end(LearnedRangeVariance(), 0.0), end(PosteriorVariance(), 0.0))


class Head(torch.nn.Module):
    """The network that a target would ideally train to, on the mixture."""

    def __init__(self, schedule, target):
        super().__init__()
        self.exact, self.target = Mixture(schedule), target

    def forward(self, x, time):
        level = self.exact.schedule.level(float(time[0]))
        return self.exact(x, level).mix(*self.target.coefficients(level))


@pytest.mark.parametrize("schedule", [VPSchedule(), LinearSchedule(), EDMSchedule()], ids=repr)
def test_six_targets_give_one_trajectory(sampler, schedule):
    grid = Karras(9, sigma_min=0.1, sigma_max=50.0)(schedule)
    ends = []
    for target in (Epsilon(), Clean(), Velocity(), Score(), Flow(), Preconditioned(0.5)):
        denoise = Denoiser(Head(schedule, target), schedule, target, RawTime())
        ends.append(integrate(denoise, sampler, grid, unit(6, 1) * grid[0].sigma, noise(n=6)))
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-10, atol=1e-10)


def test_the_frame_does_not_matter(sampler):
    """The same levels in the frames of VP, EDM, rectified flow and an odd one; samplers see only sigma / alpha."""
    ratios = [60.0 * (0.05 / 60.0) ** (i / 11) for i in range(12)]
    scales = {
        "exploding": lambda r: 1.0,
        "preserving": lambda r: (1 + r * r) ** -0.5,
        "flow": lambda r: 1 / (1 + r),
        "odd": lambda r: 3.0 + torch.sin(torch.tensor(5 * r)).item(),
    }
    ends = []
    for scale in scales.values():
        grid = (*(NoiseLevel(scale(r), scale(r) * r) for r in ratios), NoiseLevel(scale(0.0), 0.0))
        x = integrate(Mixture(EDMSchedule()), sampler, grid, unit(6, 1) * grid[0].sigma, noise(n=6))
        ends.append(x / grid[-1].alpha)
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-9, atol=1e-9)


def test_samples_are_independent_of_their_neighbours(sampler):
    schedule = VPSchedule()
    grid = Karras(8)(schedule)

    def draw(index):
        index = torch.tensor(index)
        return integrate(Mixture(schedule), sampler, grid, unit(6, 1)[index], WhiteNoise(KeyedRandom(3, index)))

    together = draw([0, 1, 2, 3, 4, 5])
    torch.testing.assert_close(torch.cat([draw([0, 1]), draw([2, 3, 4, 5])]), together, rtol=1e-13, atol=1e-13)


def test_gradients_reach_x(sampler):
    """No operation in place while gradients are on."""
    x = unit(2, 1).requires_grad_()
    grid, state, y = Karras(5)(VPSchedule()), None, x
    state, draw = sampler.init(grid), noise(n=2)
    for now, next in pairwise(grid):
        y, state = sampler.step(Mixture(VPSchedule()), y, now, next, state, draw)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.isfinite().all()
    assert (gradient != 0).all()


def test_samplers_are_values(sampler):
    twin = type(sampler)(**vars(sampler))
    assert (twin, hash(twin), repr(twin)) == (sampler, hash(sampler), repr(sampler))
    assert (sampler.order is None) != (sampler.weak_order is None) or isinstance(sampler, samplers.LangevinCorrected)
    assert "Source" in inspect.getdoc(type(sampler))


def test_every_exported_sampler_has_a_config():
    from sampler_table import catalogue, configured

    def kinds(sampler):
        yield type(sampler)
        for part in vars(sampler).values():
            if isinstance(part, samplers.Sampler):
                yield from kinds(part)

    known = {kind for sampler in (*catalogue().values(), *configured().values()) for kind in kinds(sampler)}
    exported = {
        kind
        for kind in (getattr(samplers, name) for name in samplers.__all__)
        if isinstance(kind, type) and issubclass(kind, samplers.Sampler) and not inspect.isabstract(kind)
    }
    assert exported == known | {samplers.Multistep, samplers.RungeKutta} & exported


def test_one_step_is_ddim_for_whoever_has_nothing_else(deterministic):
    """With a constant x0 the ODE is a straight line in the noise, data and flow coordinates, and every step exact."""
    x0, now, next = unit(), NoiseLevel(0.6, 0.8), NoiseLevel(0.9, 0.3)
    x = now.perturb(x0, unit().flip(0))
    end = integrate(Oracle(VPSchedule(), x0), deterministic, (now, next), x)
    torch.testing.assert_close(end, next.perturb(x0, unit().flip(0)), rtol=1e-12, atol=1e-12)


def test_there_and_back_again():
    """A grid that goes up is inversion."""
    schedule = RectifiedFlowSchedule()
    grid = tuple(schedule.level(0.05 + 0.9 * i / 200) for i in range(201))
    x = unit(6, 1)
    for sampler, tolerance in ((Heun(), 3e-4), (DPMSolverPP(2), 1e-2), (LMS(3), 1e-3), (DDIM(), 2e-1)):
        there = integrate(Mixture(schedule), sampler, grid, x)
        back = integrate(Mixture(schedule), sampler, grid[::-1], there)
        assert (there - x).abs().max() > 0.3
        torch.testing.assert_close(back, x, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: LMS(5),
        lambda: DPMSolverPP(4),
        lambda: DPMSolverPP(0),
        lambda: LMS(2, DataCoordinate()),
        lambda: samplers.ExponentialAdamsBashforth(2, NoiseCoordinate(), eta=1.0),
        lambda: samplers.ExponentialAdamsBashforth(2, eta=-1.0),
        lambda: samplers.ExponentialAdamsBashforth(2, AngleCoordinate()),
        lambda: samplers.DPMSolverSinglestep(2, coordinates.FlowCoordinate()),
        lambda: Heun(Flow()),  # the target of that name
        lambda: samplers.EDMStochastic(DPMSolverPP(2)),
        lambda: samplers.EDMStochastic(samplers.WarmStarted(LMS(3), Heun(NoiseCoordinate()), 2)),
        lambda: samplers.LangevinCorrected(samplers.UniPC(2)),
        lambda: samplers.LangevinCorrected(samplers.Renoised(samplers.SASolver(2, 2))),
        lambda: samplers.SASolver(5, 2),
        lambda: DDIM(1.0).step(
            Mixture(VPSchedule()), unit(3, 1), NoiseLevel(0.9, 0.3), NoiseLevel(0.6, 0.8), None, noise()
        ),
        lambda: DPMSolverPP(2, 1.0).step(
            Mixture(VPSchedule()), unit(3, 1), NoiseLevel(0.9, 0.3), NoiseLevel(0.6, 0.8), None, noise()
        ),
    ],
)
def test_what_cannot_be_is_refused(refused):
    with pytest.raises(ValueError, match=r"\. |Use|take|combines|must|supports"):
        refused()


def test_euler_in_three_coordinates_is_ddim_and_in_the_angle_is_not():
    schedule = VPSchedule()
    grid = Karras(7)(schedule)
    ddim, noise_, data, angle = (
        integrate(Mixture(schedule), s, grid, unit(6, 1))
        for s in (DDIM(), Euler(NoiseCoordinate()), Euler(DataCoordinate()), Euler(AngleCoordinate()))
    )
    torch.testing.assert_close(noise_, ddim, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(data, ddim, rtol=1e-11, atol=1e-11)
    assert (angle - ddim).abs().max() > 1e-3


def test_ddim_refuses_negative_noise():
    with pytest.raises(ValueError, match="eta=-1"):
        DDIM(eta=-1)
