"""The loop: what it visits, whom it tells, what it leaves alone."""

import pytest
import torch

from mezzotint.diffusion import (
    DDIM,
    DDPM,
    EDMSchedule,
    ExactMixture,
    Heun,
    Karras,
    KeyedRandom,
    LinearSchedule,
    Prediction,
    RectifiedFlowSchedule,
    StepRecord,
    Trailing,
    VPSchedule,
    WhiteNoise,
    exact_gaussian,
    exact_points,
    integrate,
    sample,
)

EPS = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()


class Oracle:
    """Knows x0."""

    def __init__(self, schedule, x0):
        self.schedule, self.x0 = schedule, x0

    def begin(self):
        return self

    def __call__(self, x, level, **cond):
        return Prediction(x, level, self.x0, 1.0, 0.0)


@pytest.mark.parametrize("steps", [*range(1, 8), 60, 1000])
def test_an_oracle_gives_back_x0(schedule, steps):
    if steps > (schedule.steps or 1000):
        return
    x0 = torch.full_like(EPS, 0.3)
    end = sample(Oracle(schedule, x0), DDIM(), Trailing(steps), EPS)
    torch.testing.assert_close(end, x0, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", [LinearSchedule(), VPSchedule(), EDMSchedule(), RectifiedFlowSchedule()], ids=repr)
def test_ddim_of_a_gaussian_ends_where_the_ode_does(schedule):
    """x at the end = mean + std / v_start^(1/2) (x_start - alpha mean), approached at first order."""
    mean, std = torch.tensor([[[0.7, -0.2], [0.1, 1.0]]]), 0.5
    exact, start = exact_gaussian(schedule, mean, std), schedule.level(schedule.t_max)
    x = EPS * schedule.prior_std(start)
    root = ((start.alpha * std) ** 2 + start.sigma**2) ** 0.5
    wanted = mean + std / root * (x - start.alpha * mean)
    spacing = Karras if schedule == EDMSchedule() else Trailing
    errors = [(sample(exact, DDIM(), spacing(n), EPS) - wanted).abs().max().item() for n in (125, 250, 500)]
    assert errors[0] > 1.7 * errors[1] > 2.9 * errors[2]
    assert errors[-1] < 0.05


def test_start_of_every_frame():
    assert [
        s.prior_std(s.level(s.t_max)) for s in (LinearSchedule(), VPSchedule(), EDMSchedule(), RectifiedFlowSchedule())
    ] == [1.0, 1.0, 80.0, 1.0]


def test_watch_sees_every_step():
    frames: list[StepRecord] = []
    exact = exact_gaussian(LinearSchedule(), torch.zeros(1, 2, 2), 1.0)
    x = sample(exact, Heun(), Trailing(5), EPS, watch=frames.append)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.level for frame in frames] == list(Trailing(5)(LinearSchedule())[:-1])
    assert [frame.calls for frame in frames] == [2, 4, 6, 8, 9]
    assert torch.equal(frames[0].x, EPS)
    assert torch.equal(x, sample(exact, Heun(), Trailing(5), EPS))
    for frame in frames:
        torch.testing.assert_close(frame.prediction.x0, exact(frame.x, frame.level).x0)


def test_it_neither_writes_to_its_input_nor_keeps_gradients():
    kept, eps = EPS.clone(), EPS.clone().requires_grad_()
    exact = exact_gaussian(LinearSchedule(), torch.zeros(1, 2, 2), 1.0)
    assert not sample(exact, DDIM(), Trailing(3), eps).requires_grad
    integrate(exact, DDIM(), Trailing(3)(LinearSchedule()), EPS)
    assert torch.equal(EPS, kept)


def test_reversed_grids_invert():
    exact = ExactMixture(VPSchedule(), EPS[:3], torch.full_like(EPS[:3], 0.5), torch.full((3,), 1 / 3).double())
    x, errors = 0.5 * EPS, []
    for n in (300, 600):
        grid = tuple(VPSchedule().level(0.9 * i / n) for i in range(n, -1, -1))
        noise = integrate(exact, DDIM(), grid[::-1], x)
        assert (noise - x).abs().max() > 0.3
        errors.append((integrate(exact, DDIM(), grid, noise) - x).abs().max().item())
    assert errors[1] < 0.1
    assert errors[0] / errors[1] == pytest.approx(2.0, abs=0.2)  # first order, there and back


def test_named_noise_makes_a_sample_a_function_of_its_index():
    exact = exact_points(LinearSchedule(), EPS)
    whole, part = KeyedRandom(5, torch.arange(8)), KeyedRandom(5, torch.arange(4, 8))
    together = sample(exact, DDPM(), Trailing(10), EPS, WhiteNoise(whole))
    alone = sample(exact, DDPM(), Trailing(10), EPS[4:], WhiteNoise(part))
    torch.testing.assert_close(together[4:], alone, rtol=1e-12, atol=1e-12)
    noise = WhiteNoise(whole)
    torch.testing.assert_close(sample(exact, DDPM(), Trailing(10), EPS, noise), together, rtol=0.0, atol=0.0)
    torch.testing.assert_close(sample(exact, DDPM(), Trailing(10), EPS, noise), together, rtol=0.0, atol=0.0)


class Alternating:
    """A user's noise source with memory: its sign changes at every call."""

    def __init__(self):
        self.sign = 1.0

    def begin(self):
        return Alternating()

    def __call__(self, x, now, next):
        self.sign = -self.sign
        return torch.full_like(x, self.sign)


def test_any_noise_with_memory_begins_anew():
    exact, noise = exact_points(LinearSchedule(), EPS), Alternating()
    noise.sign = -1.0
    one = sample(exact, DDPM(), Trailing(4), EPS, noise)
    assert torch.equal(one, sample(exact, DDPM(), Trailing(4), EPS, Alternating()))
    plain = Alternating()
    assert torch.equal(one, sample(exact, DDPM(), Trailing(4), EPS, lambda x, now, next: plain(x, now, next)))


def test_without_named_noise_the_global_generator_decides():
    exact = exact_points(LinearSchedule(), EPS)
    torch.manual_seed(3)
    one = sample(exact, DDPM(), Trailing(4), EPS)
    torch.manual_seed(3)
    assert torch.equal(one, sample(exact, DDPM(), Trailing(4), EPS))
    assert not torch.equal(one, sample(exact, DDPM(), Trailing(4), EPS))


def test_conditioning_reaches_the_denoiser():
    class Labelled(Oracle):
        def __call__(self, x, level, *, label):
            return Prediction(x, level, label.double().reshape(-1, 1, 1, 1).expand_as(x), 1.0, 0.0)

    x = sample(Labelled(LinearSchedule(), None), DDIM(), Trailing(3), EPS, label=torch.arange(8))
    torch.testing.assert_close(x[:, 0, 0, 0], torch.arange(8).double())
