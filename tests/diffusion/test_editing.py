"""Editing, inversion, interpolation, inpainting and inverse problems, on data whose posterior is known."""

import math
from itertools import pairwise

import pytest
import torch

from mezzotint.diffusion import (
    DDIM,
    DDPM,
    DPS,
    LMS,
    Denoiser,
    Heun,
    InpaintGuidance,
    InpaintReplacement,
    Karras,
    KeyedRandom,
    LinearSchedule,
    MomentMatching,
    NoiseLevel,
    PiGDM,
    Prediction,
    RawTime,
    RectifiedFlowSchedule,
    Renoised,
    RePaint,
    Trailing,
    UniPC,
    Velocity,
    VPSchedule,
    WhiteNoise,
    edit,
    exact_gaussian,
    integrate,
    invert,
    sample,
    slerp,
)

LEVEL = VPSchedule().level(0.4)


def unit(n, *shape, seed=0):
    return KeyedRandom(seed, torch.arange(n)).normal("unit", shape).double()


def gaussian(schedule=None):
    return exact_gaussian(schedule or VPSchedule(), torch.tensor([0.5, -1.0, 0.2, 0.0]), 0.6)


class Correlated:
    """The exact denoiser of N(mean, covariance): E[x0 | x] = m + alpha C (alpha^2 C + sigma^2)^{-1} (x - alpha m)."""

    schedule = VPSchedule()
    mean = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    factor = torch.tensor([[0.9, 0.0, 0.0], [0.5, 0.4, 0.0], [-0.3, 0.2, 0.7]], dtype=torch.float64)
    covariance = factor @ factor.T

    def begin(self):
        return self

    def __call__(self, x, level):
        noisy = level.alpha**2 * self.covariance + level.sigma**2 * torch.eye(3, dtype=torch.float64)
        gain = level.alpha * self.covariance @ torch.linalg.inv(noisy)
        return Prediction(x, level, self.mean + (x - level.alpha * self.mean) @ gain.T, 1.0, 0.0)


A = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)
STD = 0.3


def measure(x):
    return x @ A.T


def conditioned(x, level, y):
    """E[x0 | x, y], worked out by joining both measurements of x0."""
    precision = torch.linalg.inv(Correlated.covariance) + level.alpha**2 / level.sigma**2 * torch.eye(3).double()
    precision = precision + A.T @ A / STD**2
    right = torch.linalg.inv(Correlated.covariance) @ Correlated.mean + level.alpha * x / level.sigma**2
    return (right + y @ A / STD**2) @ torch.linalg.inv(precision)


def test_moment_matching_is_exact_for_gaussian_data():
    x, y = unit(5, 3), torch.tensor([[0.4, -1.2]]).double().expand(5, 2)
    for level in (VPSchedule().level(0.1), LEVEL, VPSchedule().level(0.9), RectifiedFlowSchedule().level(0.7)):
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                got = MomentMatching(Correlated(), measure, y, STD)(x, level).x0
                torch.testing.assert_close(got, conditioned(x, level, y), rtol=1e-8, atol=1e-8)


def test_samples_given_a_measurement_have_the_posterior_mean_and_spread():
    y = torch.tensor([[0.4, -1.2]]).double().expand(4000, 2)
    denoise = MomentMatching(Correlated(), measure, y, STD)
    x = sample(denoise, Heun(), Karras(14, sigma_min=0.02), unit(4000, 3))
    precision = torch.linalg.inv(Correlated.covariance) + A.T @ A / STD**2
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (torch.linalg.inv(Correlated.covariance) @ Correlated.mean + A.T @ y[0] / STD**2)
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(x.T.cov(), covariance, rtol=0, atol=0.03)
    assert (Correlated.covariance - covariance).abs().max() > 0.3


def test_pigdm_is_exact_for_isotropic_data():
    denoise = gaussian()
    x, y, seen = unit(5, 4), unit(5, 2, seed=1), lambda v: torch.stack([v[:, 0] + v[:, 1], v[:, 2]], 1)
    got = PiGDM(denoise, seen, y, STD, sigma_data=0.6)(x, LEVEL).x0
    exact = MomentMatching(denoise, seen, y, STD)(x, LEVEL).x0
    torch.testing.assert_close(got, exact, rtol=1e-8, atol=1e-8)
    assert (PiGDM(denoise, seen, y, STD, sigma_data=1.0)(x, LEVEL).x0 - exact).abs().max() > 1e-2


def test_dps_is_the_gradient_of_the_misfit():
    """x0 moves by sigma^2 / alpha times the gradient of -|y - A E[x0 | x]|^2 / (2 (std^2 + gamma rho^2))."""
    denoise, x, y = Correlated(), unit(3, 3), unit(3, 2, seed=1)
    got = DPS(denoise, measure, y, STD, gamma=0.2)(x, LEVEL).x0 - denoise(x, LEVEL).x0

    def misfit(x):
        residual = y - measure(denoise(x, LEVEL).x0)
        return -residual.square().sum(1) / (2 * (STD**2 + 0.2 * LEVEL.ratio**2))

    for i in range(3):
        h = torch.zeros(3, dtype=torch.float64)
        h[i] = 1e-6
        slope = (misfit(x + h) - misfit(x - h)) / 2e-6
        torch.testing.assert_close(got[:, i], LEVEL.sigma**2 / LEVEL.alpha * slope, rtol=1e-6, atol=1e-6)


def test_a_measurement_guides_a_network_in_another_frame():
    """The same as for the bare denoiser: x0 belongs to no frame."""

    class Net(torch.nn.Module):
        def forward(self, x, time):
            level = RectifiedFlowSchedule().level(float(time[0]))
            return Correlated()(x, level).mix(*Velocity().coefficients(level))

    y = unit(3, 2, seed=1)
    wrapped = MomentMatching(Denoiser(Net(), RectifiedFlowSchedule(), Velocity(), RawTime()), measure, y, STD)
    direct = MomentMatching(Correlated(), measure, y, STD)
    torch.testing.assert_close(wrapped(unit(3, 3), LEVEL).x0, direct(unit(3, 3), LEVEL).x0, rtol=1e-9, atol=1e-9)


def test_guidance_with_a_measurement_keeps_the_learned_variance():
    class TwoOutputs(torch.nn.Module):
        def forward(self, x, time):
            return torch.cat([0.3 * x, torch.full_like(x, 0.5)], 1)

    pred = DPS(Denoiser(TwoOutputs(), VPSchedule()), lambda v: v, unit(2, 4), STD)(unit(2, 4), LEVEL)
    torch.testing.assert_close(pred.fraction, torch.full((2, 4), 0.75).double())


def test_pure_noise_is_left_as_it_is():
    start = NoiseLevel(0.0, 1.0)
    got = MomentMatching(gaussian(RectifiedFlowSchedule()), lambda v: v, unit(2, 4), STD)(unit(2, 4), start)
    assert torch.equal(got.x0, gaussian(RectifiedFlowSchedule())(unit(2, 4), start).x0)


def test_edit_from_nothing_to_everything():
    denoise, image, eps = gaussian(), unit(3, 4, seed=2), unit(3, 4)
    assert torch.equal(edit(denoise, DDIM(), Trailing(20), image, eps, strength=0.0), image)
    half, full = (edit(denoise, DDIM(), Trailing(20), image, eps, strength=s) for s in (0.3, 1.0))
    fresh = sample(denoise, DDIM(), Trailing(20), eps)
    assert (half - image).abs().mean() < (full - image).abs().mean()
    torch.testing.assert_close(full, fresh, rtol=0, atol=0.05)
    with pytest.raises(ValueError, match="fraction of the steps"):
        edit(denoise, DDIM(), Trailing(20), image, eps, strength=1.5)


def test_edit_of_data_keeps_its_law():
    """An image of the data with noise up and down again is one of the data."""
    eps, image = unit(4000, 4), 0.6 * unit(4000, 4, seed=3) + torch.tensor([0.5, -1.0, 0.2, 0.0])
    edited = edit(gaussian(), Heun(), Karras(20, sigma_min=0.02), image, eps, strength=0.5)
    torch.testing.assert_close(edited.std(0), torch.full((4,), 0.6).double(), rtol=0, atol=0.03)
    assert (edited - image).abs().mean() > 0.1


@pytest.mark.parametrize("sampler", [Heun(), DDIM(), LMS(2)], ids=str)
def test_inversion_finds_the_noise_of_an_image(sampler):
    denoise, eps = gaussian(), unit(3, 4)
    spacing = Karras(300, sigma_min=0.005)
    image = sample(denoise, sampler, spacing, eps)
    torch.testing.assert_close(invert(denoise, sampler, spacing, image), eps, rtol=0, atol=0.04)


def test_inversion_of_a_table_and_of_what_was_drawn():
    assert invert(gaussian(LinearSchedule()), DDIM(), Trailing(50), unit(3, 4)).isfinite().all()
    with pytest.raises(ValueError, match="cannot be inverted"):
        invert(gaussian(), DDPM(), Trailing(50), unit(3, 4))


def test_slerp_keeps_the_length_and_meets_both_ends():
    a, b = unit(6, 3, 32, 32), unit(6, 3, 32, 32, seed=1)
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, torch.ones(6)), b)
    for w in (0.25, 0.5, 0.75):
        between = slerp(a, b, w)
        length = between.flatten(1).norm(dim=1)
        assert ((length - math.sqrt(3072)).abs() < 3.0).all()
        assert (((1 - w) * a + w * b).flatten(1).norm(dim=1) < 0.85 * length).all()
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    quarter = slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([1 / 3]))
    torch.testing.assert_close(quarter, torch.tensor([[math.cos(math.pi / 6), math.sin(math.pi / 6)]]))


MASK = torch.tensor([True, True, False, False])


def test_known_pixels_stay_and_others_are_filled():
    known = torch.tensor([[0.7, -0.6, 9.0, 9.0]]).double().expand(5, 4)
    again = RePaint(Trailing(20), jump=5, walks=2)
    for denoise, sampler, spacing in (
        (InpaintGuidance(gaussian(), known, MASK), DDIM(), Trailing(20)),
        (gaussian(), InpaintReplacement(DDPM(), known, MASK), Trailing(20)),
        (gaussian(), InpaintReplacement(Renoised(DDPM()), known, MASK), again),
    ):
        x = sample(denoise, sampler, spacing, unit(5, 4), WhiteNoise(KeyedRandom(0, torch.arange(5))))
        torch.testing.assert_close(x[:, :2], known[:, :2])
        assert (x[:, 2:].abs() < 4.0).all()


def test_replacement_is_not_undone():
    with pytest.raises(ValueError, match="undoes the replacement"):
        InpaintReplacement(Renoised(UniPC(2)), unit(1, 4), MASK)


def test_inpaint_predicts_the_known_image_and_stays_consistent():
    known = unit(3, 4, seed=5)
    pred = InpaintGuidance(gaussian(), known, MASK)(unit(3, 4), LEVEL)
    assert torch.equal(pred.x0[:, :2], known[:, :2])
    torch.testing.assert_close(LEVEL.perturb(pred.x0, pred.eps), unit(3, 4), rtol=1e-12, atol=1e-12)


def test_replacement_draws_the_known_part_at_each_level():
    known, seen = torch.full((2000, 4), 3.0, dtype=torch.float64), []
    sampler = InpaintReplacement(DDIM(), known, MASK)
    grid = Trailing(6)(VPSchedule())
    x = integrate(
        gaussian(),
        sampler,
        grid,
        unit(2000, 4),
        WhiteNoise(KeyedRandom(0, torch.arange(2000))),
        lambda f: seen.append(f),
    )
    for before, frame in pairwise(seen):
        assert before.level.ratio > frame.level.ratio
        part = frame.x[:, :2]
        assert abs(float(part.mean()) - 3.0 * frame.level.alpha) < 0.06
        assert abs(float(part.std()) - frame.level.sigma) < 0.06
    assert torch.equal(x[:, :2], known[:, :2])
