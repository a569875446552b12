"""Agreement with diffusers, an independent implementation, where it is right; and where it is not, what differs.

Its schedulers run on their own levels with the exact eps of the mixture; ours run on the same levels. Its tables of
sigma are float32, so they are read back and both sides use the same numbers.
"""

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from sampler_table import Mixture, quantiles

from mezzotint.diffusion import (
    BH1,
    DDIM,
    DDPM,
    LMS,
    CosineSchedule,
    DPMSolver,
    DPMSolverPP,
    EDMSchedule,
    ExponentialAdamsBashforth,
    Heun,
    LinearSchedule,
    Linspace,
    NoiseLevel,
    Trailing,
    TransitionVariance,
    UniPC,
    integrate,
)
from mezzotint.diffusion.coordinates import NoiseCoordinate

# their own warnings
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # theirs
EXACT = Mixture(EDMSchedule())


@pytest.fixture(scope="module")
def theirs():
    """diffusers' schedulers by name, each on the linear table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers
        import diffusers.schedulers.scheduling_euler_ancestral_discrete as ancestral

        diffusers.logging.set_verbosity_error()

        def make(name, **options):
            linear = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
            return getattr(diffusers, name)(**{**linear, **options})

        return SimpleNamespace(make=make, ancestral=ancestral)


def preserving(ratio):
    return NoiseLevel(1.0 / math.hypot(1.0, ratio), ratio / math.hypot(1.0, ratio))


def exploding(ratio):
    return NoiseLevel(1.0, ratio)


def start(n=6):
    return torch.linspace(-1.7, 1.9, n, dtype=torch.float64)[:, None]


def walk(scheduler, frame, steps, x, exact_sigmas=True, **options):
    """Their end, and the levels that they visited."""
    scheduler.set_timesteps(steps)
    if exact_sigmas:
        scheduler.sigmas = scheduler.sigmas.double()
    sigmas = [float(s) for s in scheduler.sigmas]
    for i, t in enumerate(scheduler.timesteps):
        at = sigmas[i if scheduler.step_index is None else scheduler.step_index]
        x = scheduler.step(EXACT(x, frame(at)).eps, t, x, **options).prev_sample
    return x, tuple(frame(s) for s in dict.fromkeys(sigmas))


AGREEING = {
    "Euler": ("EulerDiscreteScheduler", {}, DDIM(), exploding),
    "Heun": ("HeunDiscreteScheduler", {}, Heun(NoiseCoordinate()), exploding),
    "LMS": ("LMSDiscreteScheduler", {}, LMS(4), exploding),
    "2M": ("DPMSolverMultistepScheduler", {}, DPMSolverPP(2), preserving),
    "2M, exact integral": (
        "DPMSolverMultistepScheduler",
        {"solver_type": "heun"},
        ExponentialAdamsBashforth(2),
        preserving,
    ),
    "3M": ("DPMSolverMultistepScheduler", {"solver_order": 3, "lower_order_final": False}, DPMSolverPP(3), preserving),
    "DPM-Solver 2": (
        "DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "lower_order_final": False},
        DPMSolver(2),
        preserving,
    ),
    "DPM-Solver 3": (
        "DPMSolverMultistepScheduler",
        {
            "solver_order": 3,
            "algorithm_type": "dpmsolver",
            "final_sigmas_type": "sigma_min",
            "lower_order_final": False,
        },
        DPMSolver(3),
        preserving,
    ),
    "UniPC-1": ("UniPCMultistepScheduler", {"solver_order": 1}, UniPC(1), preserving),
    "UniPC-2": ("UniPCMultistepScheduler", {"solver_order": 2}, UniPC(2), preserving),
    "UniPC-2 bh1": (
        "UniPCMultistepScheduler",
        {"solver_order": 2, "solver_type": "bh1", "final_sigmas_type": "sigma_min", "lower_order_final": False},
        UniPC(2, BH1()),
        preserving,
    ),
    "UniPC-3": (
        "UniPCMultistepScheduler",
        {"solver_order": 3, "final_sigmas_type": "sigma_min", "lower_order_final": False},
        UniPC(3),
        preserving,
    ),
    "UniPC-3, last orders lowered": (
        "UniPCMultistepScheduler",
        {"solver_order": 3},
        UniPC(3, lower_order_final=True),
        preserving,
    ),
    "UniPC-2 bh1, last orders lowered": (
        "UniPCMultistepScheduler",
        {"solver_order": 2, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        UniPC(2, BH1(), lower_order_final=True),
        preserving,
    ),
    "log rho DEIS-2": (
        "DEISMultistepScheduler",
        {"solver_order": 2, "lower_order_final": False},
        ExponentialAdamsBashforth(2, NoiseCoordinate()),
        preserving,
    ),
    "log rho DEIS-3": (
        "DEISMultistepScheduler",
        {"solver_order": 3, "lower_order_final": False},
        ExponentialAdamsBashforth(3, NoiseCoordinate()),
        preserving,
    ),
}


@pytest.mark.parametrize("case", AGREEING)
def test_agreement(theirs, case):
    name, options, ours, frame = AGREEING[case]
    for steps in (10, 23):
        scheduler = theirs.make(name, **options)
        x = start() * float(scheduler.init_noise_sigma)
        end, grid = walk(scheduler, frame, steps, x)
        torch.testing.assert_close(integrate(EXACT, ours, grid, x), end, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["2M SDE", "1 SDE"])
def test_agreement_with_noise(theirs, case):
    """The same noise to both, drawn from a list."""
    drawn = [torch.randn(6, 1, generator=torch.Generator().manual_seed(i)).double() for i in range(40)]
    name, options, ours = {
        "2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, DPMSolverPP(2, eta=1.0)),
        "1 SDE": (
            "DPMSolverMultistepScheduler",
            {"algorithm_type": "sde-dpmsolver++", "solver_order": 1},
            DDIM(1.0),
        ),
    }[case]
    scheduler = theirs.make(name, **options)
    scheduler.set_timesteps(12)
    scheduler.sigmas = scheduler.sigmas.double()
    sigmas = [float(s) for s in scheduler.sigmas]
    x = first = start()
    for i, t in enumerate(scheduler.timesteps):
        x = scheduler.step(EXACT(x, preserving(sigmas[i])).eps, t, x, variance_noise=drawn[i]).prev_sample
    feed_ours = iter(drawn)
    end = integrate(EXACT, ours, tuple(preserving(s) for s in sigmas), first, lambda *_: next(feed_ours))
    torch.testing.assert_close(end, x, rtol=1e-6, atol=1e-6)


def test_ancestral_euler_agrees(theirs, monkeypatch):
    drawn = [torch.randn(6, 1, generator=torch.Generator().manual_seed(i)).double() for i in range(20)]
    feed = iter(drawn)
    monkeypatch.setattr(theirs.ancestral, "randn_tensor", lambda *_, **__: next(feed))
    scheduler = theirs.make("EulerAncestralDiscreteScheduler")
    x = start() * float(scheduler.init_noise_sigma)
    end, grid = walk(scheduler, exploding, 15, x)
    again = iter(drawn)
    ours = integrate(EXACT, DDIM(1.0), grid, x, lambda *_: next(again))
    torch.testing.assert_close(ours, end, rtol=1e-6, atol=1e-6)


def by_table(scheduler, steps, x, last=None, **options):
    """Their end on a scheduler that goes by integer timesteps, or x after its first `last` steps; and its levels."""
    scheduler.set_timesteps(steps)
    schedule = LinearSchedule()
    for t in scheduler.timesteps[:last]:
        x = scheduler.step(EXACT(x, schedule.level(int(t) + 1.0)).eps, int(t), x, **options).prev_sample
    return x, tuple(schedule.level(int(t) + 1.0) for t in scheduler.timesteps)


def test_ddim_agrees_on_trailing_where_n_divides_t(theirs):
    for steps in (10, 50):
        scheduler = theirs.make("DDIMScheduler", timestep_spacing="trailing", clip_sample=False)
        end, visited = by_table(scheduler, steps, start())
        grid = Trailing(steps)(LinearSchedule())
        assert visited == grid[:-1]
        torch.testing.assert_close(integrate(EXACT, DDIM(), grid, start()), end, rtol=2e-5, atol=2e-5)


def test_ddim_on_linspace_is_wrong_there_and_right_here(theirs):
    """It steps to t - T // N whatever comes next: from 999 to 899, while the next call is at 888.

    Shown by a denoiser that knows x0 and eps: x must stay alpha x0 + sigma eps at each level that is visited.
    """
    scheduler = theirs.make("DDIMScheduler", timestep_spacing="linspace", clip_sample=False)
    scheduler.set_timesteps(10)
    schedule, x0, eps = LinearSchedule(), torch.tensor([[0.5]]).double(), torch.tensor([[1.0]]).double()
    times = [int(t) for t in scheduler.timesteps]
    x = schedule.level(times[5] + 1.0).perturb(x0, eps)
    x = scheduler.step(eps, times[5], x).prev_sample
    assert (times[5], times[6]) == (444, 333)
    assert (x - schedule.level(333 + 1.0).perturb(x0, eps)).abs() > 1e-3
    torch.testing.assert_close(x, schedule.level(344 + 1.0).perturb(x0, eps), rtol=1e-5, atol=1e-5)

    end = quantiles(NoiseLevel(1.0, 0.0), torch.linspace(0.1, 0.9, 6).double())[:, None]
    grid = Linspace(10)(schedule)
    begin = quantiles(grid[0], torch.linspace(0.1, 0.9, 6).double())[:, None]
    ours = integrate(EXACT, DDIM(), grid, begin)
    broken, visited = by_table(theirs.make("DDIMScheduler", timestep_spacing="linspace", clip_sample=False), 10, begin)
    assert visited == grid[:-1]
    assert (ours - broken).abs().max() > 0.02
    assert (ours - end).abs().max() < 0.25


def test_ddpm_agrees(theirs, monkeypatch):
    """But for the step to clean data, to which theirs adds the large variance's noise."""
    import diffusers.schedulers.scheduling_ddpm as module

    for kind, sampler in (("fixed_small", DDPM()), ("fixed_large", DDPM(TransitionVariance()))):
        drawn = [torch.randn(6, 1, generator=torch.Generator().manual_seed(i)).double() for i in range(25)]
        feed, again = iter(drawn), iter(drawn)
        monkeypatch.setattr(module, "randn_tensor", lambda *_, feed=feed, **__: next(feed))
        scheduler = theirs.make("DDPMScheduler", variance_type=kind, timestep_spacing="trailing", clip_sample=False)
        end, visited = by_table(scheduler, 25, start(), last=24)
        assert visited == Trailing(25)(LinearSchedule())[:-1]
        ours = integrate(EXACT, sampler, visited, start(), lambda *_, again=again: next(again))
        torch.testing.assert_close(ours, end, rtol=1e-4, atol=1e-4)


def test_fixed_large_log_is_nan_there(theirs):
    """The square root of a logarithm; here the large variance is a number."""
    scheduler = theirs.make("DDPMScheduler", variance_type="fixed_large_log", clip_sample=False)
    x = scheduler.step(torch.zeros(4, 1), 500, torch.ones(4, 1)).prev_sample
    assert x.isnan().all()
    assert integrate(EXACT, DDPM(TransitionVariance()), Trailing(9)(LinearSchedule()), start()).isfinite().all()


def test_ancestral_euler_with_the_cosine_table_is_not_finite_there(theirs):
    """A root of a slightly negative float32; here the variance is never a difference of nearly equal squares."""
    scheduler = theirs.make("EulerAncestralDiscreteScheduler", beta_schedule="squaredcos_cap_v2")
    scheduler.set_timesteps(4)
    x = start().float() * scheduler.init_noise_sigma
    sigmas = [float(s) for s in scheduler.sigmas]
    for sigma, t in zip(sigmas, scheduler.timesteps, strict=False):
        x = scheduler.step(EXACT(x, exploding(sigma)).eps, t, x).prev_sample
    assert not x.isfinite().all()
    ours = integrate(EXACT, DDIM(1.0), Trailing(4)(CosineSchedule()), start().float())
    assert ours.isfinite().all()


def test_deis_loses_its_digits_there(theirs):
    """Coefficients as float32 differences of antiderivatives: finer grids make it worse, and ours better."""
    found = {}
    for steps in (60, 320):
        scheduler = theirs.make("DEISMultistepScheduler", solver_order=3, lower_order_final=False)
        p = torch.linspace(0.1, 0.9, 6).double()
        scheduler.set_timesteps(steps)
        sigmas = list(dict.fromkeys(float(s) for s in scheduler.sigmas))
        x = quantiles(preserving(sigmas[0]), p)[:, None]
        end, grid = walk(scheduler, preserving, steps, x, exact_sigmas=False)
        exact = quantiles(grid[-1], p)[:, None]
        ours = integrate(EXACT, ExponentialAdamsBashforth(3, NoiseCoordinate()), grid, x)
        found[steps] = (end - exact).abs().max(), (ours - exact).abs().max()
    assert found[320][0] > 10 * found[320][1]
    assert found[320][1] < found[60][1]
