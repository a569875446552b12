"""Inverse problems on Gaussian data: operators, methods and their bias, against closed forms."""

import math
from itertools import pairwise

import pytest
import torch

from mezzotint.diffusion import (
    DDIM,
    DDNM,
    DPS,
    AveragePooling,
    EDMSchedule,
    ExactMixture,
    GaussianBlur,
    Grayscale,
    Heun,
    InpaintGuidance,
    Karras,
    KeyedRandom,
    Mask,
    Measurement,
    MomentMatching,
    NoiseLevel,
    Operator,
    PiGDM,
    Prediction,
    RePaintReplacement,
    Replacement,
    Trailing,
    VPSchedule,
    WhiteNoise,
    colorize,
    deblur,
    edit,
    exact_gaussian,
    inpaint,
    interpolate_images,
    invert,
    restore,
    sample,
    super_resolve,
    vary,
)

IMAGE = (3, 4, 4)
WIDE = EDMSchedule(3000.0)  # at its start x knows nothing of the mean, to 1e-3
METHODS = [Replacement(), RePaintReplacement(2, 2), DDNM(), DPS(gamma=0.25), PiGDM(sigma_data=0.6), MomentMatching()]
LINEAR = [Mask(torch.tensor([True, False, True, True])), AveragePooling(2), GaussianBlur(0.8), Grayscale()]


def unit(n, *shape, seed=0):
    return KeyedRandom(seed, torch.arange(n)).normal("unit", shape).double()


def gaussian(shape=IMAGE, std=0.6):
    return exact_gaussian(VPSchedule(), torch.linspace(-0.5, 0.5, math.prod(shape)).reshape(shape), std)


class Correlated:
    """The exact denoiser of N(mean, covariance) on 3 numbers."""

    schedule = WIDE
    mean = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    factor = torch.tensor([[0.9, 0.0, 0.0], [0.5, 0.4, 0.0], [-0.3, 0.2, 0.7]], dtype=torch.float64)
    covariance = factor @ factor.T

    def begin(self):
        return self

    def __call__(self, x, level):
        noisy = level.alpha**2 * self.covariance + level.sigma**2 * torch.eye(3, dtype=torch.float64)
        gain = level.alpha * self.covariance @ torch.linalg.inv(noisy)
        return Prediction(x, level, self.mean + (x - level.alpha * self.mean) @ gain.T, 1.0, 0.0)


class Matrix(Operator):
    """A = two rows of three numbers."""

    rows = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]], dtype=torch.float64)

    def __call__(self, x):
        return x @ self.rows.T


def moments(run, size):
    """Mean and covariance of an affine map of unit noise, from its values at 0 and at the unit vectors."""
    points = torch.cat([torch.zeros(1, size), torch.eye(size)]).double()
    values = run(points)
    factor = (values[1:] - values[0]).T
    return values[0], factor @ factor.T


# ----------------------------------------------------------------------------------------------------------- operators


@pytest.mark.parametrize("operator", LINEAR, ids=lambda each: type(each).__name__)
def test_operators_are_linear_and_have_the_adjoint_that_methods_use(operator):
    from mezzotint.diffusion.operators import adjoint

    x, other = unit(2, *IMAGE), unit(2, *IMAGE, seed=1)
    y = operator(x)
    v = unit(2, *y.shape[1:], seed=2)
    torch.testing.assert_close(operator(2.0 * x - other), 2.0 * y - operator(other))
    torch.testing.assert_close((y * v).sum(), (x * adjoint(operator, x)(v)).sum())


def test_operators_by_hand():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert AveragePooling(2)(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert AveragePooling(2).picture(AveragePooling(2)(x), x)[0, 0, 0].tolist() == [2.5, 2.5, 4.5, 4.5]
    assert AveragePooling(2)(torch.arange(8.0).reshape(1, 2, 4)).shape == (1, 2, 2)
    assert AveragePooling(2)(torch.zeros(1, 1, 2, 4, 6)).shape == (1, 1, 1, 2, 3)
    torch.testing.assert_close(GaussianBlur(1.5)(torch.full((1, 2, 5), 3.0)), torch.full((1, 2, 5), 3.0))
    impulse = torch.zeros(1, 1, 21, dtype=torch.float64)
    impulse[..., 10] = 1.0
    kernel = torch.tensor([math.exp(-0.5 * (i / 2.0) ** 2) for i in range(-6, 7)], dtype=torch.float64)
    torch.testing.assert_close(GaussianBlur(2.0)(impulse)[0, 0, 4:17], kernel / kernel.sum())
    assert Grayscale()(torch.ones(1, 3, 2, 2)).flatten().tolist() == pytest.approx([1.0] * 4)
    with pytest.raises(ValueError, match="does not divide 4"):
        AveragePooling(3)(x)
    with pytest.raises(ValueError, match="3 channels"):
        Grayscale()(x)


# ------------------------------------------------------------------------------------------------------------- methods


@pytest.mark.parametrize("method", METHODS, ids=lambda each: type(each).__name__)
def test_known_pixels_are_equal_in_every_bit(method):
    image, eps = unit(3, *IMAGE, seed=4).float(), unit(3, *IMAGE).float()
    known = torch.tensor([[True, True, False, False]] * 4)
    steps = WhiteNoise(KeyedRandom(0, torch.arange(3)))
    x = inpaint(gaussian(), DDIM(), Trailing(12), eps, image, known, method, noise=steps)
    assert torch.equal(x[..., :2], image[..., :2])
    assert not torch.equal(x[..., 2:], image[..., 2:])
    assert x.abs().max() < 6.0


@pytest.mark.parametrize("method", METHODS, ids=lambda each: type(each).__name__)
def test_a_result_does_not_depend_on_the_batch(method):
    image, eps = unit(4, *IMAGE, seed=4), unit(4, *IMAGE)
    known = torch.tensor([True, False, False, True])

    def run(rows):
        steps = WhiteNoise(KeyedRandom(0, torch.arange(4)[rows]))
        return inpaint(gaussian(), DDIM(), Trailing(8), eps[rows], image[rows], known, method, noise=steps)

    torch.testing.assert_close(run(slice(2, 3)), run(slice(None))[2:3], rtol=1e-12, atol=1e-12)


def test_moment_matching_samples_the_exact_posterior():
    y = torch.tensor([[0.4, -1.2]]).double()
    std = 0.3
    measurement = Measurement(Matrix(), y, std)
    spacing = Karras(200, sigma_min=1e-3)
    got = moments(lambda eps: restore(Correlated(), Heun(), spacing, eps, measurement, MomentMatching()), 3)
    precision = torch.linalg.inv(Correlated.covariance) + Matrix.rows.T @ Matrix.rows / std**2
    covariance = torch.linalg.inv(precision)
    prior = torch.linalg.inv(Correlated.covariance) @ Correlated.mean
    mean = covariance @ (prior + Matrix.rows.T @ y[0] / std**2)
    torch.testing.assert_close(got[0], mean, rtol=0, atol=1e-3)
    torch.testing.assert_close(got[1], covariance, rtol=0, atol=1e-3)


def scalar(method, std, y, spread=0.8):
    """Mean and deviation of samples given y = x0 + std z, for data N(0, spread^2)."""
    denoise = exact_gaussian(WIDE, torch.zeros(1), spread)
    measurement = Measurement(Mask(torch.tensor(True)), torch.full((1, 1), y).double(), std)
    spacing = Karras(400, sigma_min=1e-4)
    mean, variance = moments(lambda eps: restore(denoise, Heun(), spacing, eps, measurement, method), 1)
    return float(mean), float(variance.sqrt())


def test_dps_trusts_the_measurement_too_much_by_a_known_amount():
    """For A = 1 and gamma = 0 the guided ODE is linear: with r = (s / std)^2 and sigma -> infinity at the start,

    deviation s exp(-r / 2) instead of s / sqrt(1 + r), and mean y r exp(-r / 2) int_0^1 exp(r w^2 / 2) dw.
    """
    s, std, y = 0.8, 0.7, 1.3
    r = (s / std) ** 2
    w = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    mean = y * r * math.exp(-r / 2) * float((r * w**2 / 2).exp().mean())
    got = scalar(DPS(gamma=0.0), std, y, s)
    assert got == pytest.approx((mean, s * math.exp(-r / 2)), abs=1e-3)
    assert got[1] < s / math.sqrt(1 + r) - 0.05
    assert got[0] > y * r / (1 + r) + 0.02


@pytest.mark.parametrize("assumed", [0.8, 0.5, 1.6])
def test_pigdm_is_exact_where_its_deviation_is_that_of_the_data_and_biased_elsewhere(assumed):
    """A second writing: dx / dsigma = p x - q y, integrated by quadrature."""
    s, std, y = 0.8, 0.4, 1.3
    sigma = torch.logspace(-4, 3, 200_001, dtype=torch.float64)
    j = s**2 / (s**2 + sigma**2)
    total = std**2 + sigma**2 * assumed**2 / (assumed**2 + sigma**2)
    p = sigma / (s**2 + sigma**2) + sigma * j**2 / total
    decay = torch.exp(-torch.cat([torch.zeros(1), torch.cumulative_trapezoid(p, sigma)]).double())
    mean = y * float(torch.trapezoid(sigma * j / total * decay, sigma))
    deviation = float(sigma[-1] * decay[-1])
    assert scalar(PiGDM(sigma_data=assumed), std, y, s) == pytest.approx((mean, deviation), abs=2e-3)
    r = (s / std) ** 2
    exact = (y * r / (1 + r), s / math.sqrt(1 + r))
    assert ((mean, deviation) == pytest.approx(exact, abs=1e-3)) == (assumed == s)


def test_methods_agree_with_those_of_azula_on_a_mixture():
    """The numbers are of azula 0.11: MMPSDenoiser with cg, TDSSampler with one particle, PGDMSampler over alpha^2."""
    means = torch.tensor([[0.9, -0.4, 0.2], [-0.7, 0.5, 0.6]]).double()
    stds = torch.tensor([[0.5, 0.3, 0.4], [0.2, 0.6, 0.3]]).double()
    denoise = ExactMixture(VPSchedule(), means, stds, torch.tensor([0.4, 0.6]).double())
    x = torch.tensor([[0.3, -1.1, 0.7], [1.2, 0.1, -0.4]]).double()
    y = torch.tensor([[0.4, -1.2], [0.1, 0.6]]).double()
    level = NoiseLevel(0.6, 0.8)
    moment_matching = MomentMatching(denoise, Matrix(), y, 0.3, iterations=2)(x, level).x0
    expected = [[0.6428607422, -0.5614211523, 0.5136905697], [0.0099094947, 0.3340615219, -0.0236491173]]
    torch.testing.assert_close(moment_matching, torch.tensor(expected).double(), rtol=0, atol=1e-7)
    dps = DPS(denoise, Matrix(), y, 0.3, gamma=0.5)(x, level).x0
    expected = [[0.4742979411, -0.3823149555, 0.4422725853], [0.3482749829, 0.0134620484, 0.1311858993]]
    torch.testing.assert_close(dps, torch.tensor(expected).double(), rtol=0, atol=1e-7)
    pigdm = PiGDM(denoise, Matrix(), y, 1e-9, iterations=2)(x, level).x0 - denoise(x, level).x0
    expected = [[0.1291031802, -0.0549976784, 0.0017558816], [-0.2351362610, 0.1039369954, -0.0119327738]]
    torch.testing.assert_close(0.36 * pigdm, torch.tensor(expected).double(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("operator", LINEAR, ids=lambda each: type(each).__name__)
def test_ddnm_changes_what_the_operator_sees_and_nothing_else(operator):
    level, x, truth = VPSchedule().level(0.4), unit(2, *IMAGE), unit(2, *IMAGE, seed=1)
    y = operator(truth)
    guided = DDNM(gaussian(), operator, y, iterations=60)(x, level).x0
    plain = gaussian()(x, level).x0
    torch.testing.assert_close(operator(guided), y, rtol=0, atol=1e-6)
    columns = torch.stack([operator(one).flatten() for one in torch.eye(48).double().reshape(48, 1, *IMAGE)], 1)
    inside = torch.linalg.pinv(columns) @ columns
    rest = (guided - plain).flatten(1) @ (torch.eye(48).double() - inside)
    torch.testing.assert_close(rest, torch.zeros_like(rest), rtol=0, atol=1e-6)


def test_ddnm_of_a_mask_is_inpainting_guidance():
    level, x, image = VPSchedule().level(0.4), unit(2, *IMAGE), unit(2, *IMAGE, seed=1)
    known = torch.tensor([True, False, False, True])
    guided = DDNM(gaussian(), Mask(known), Mask(known)(image))(x, level).x0
    torch.testing.assert_close(guided, InpaintGuidance(gaussian(), image, known)(x, level).x0)


@pytest.mark.parametrize("method", METHODS[2:], ids=lambda each: type(each).__name__)
def test_every_operator_is_met_by_every_method(method):
    eps, truth = unit(2, *IMAGE), 0.3 * unit(2, *IMAGE, seed=1)
    calls = {
        "small": lambda: super_resolve(gaussian(), DDIM(), Trailing(50), eps, AveragePooling(2)(truth), method),
        "gray": lambda: colorize(gaussian(), DDIM(), Trailing(50), eps, Grayscale()(truth), method),
        "blurred": lambda: deblur(gaussian(), DDIM(), Trailing(50), eps, GaussianBlur(0.8)(truth), 0.8, method),
    }
    operators = {"small": AveragePooling(2), "gray": Grayscale(), "blurred": GaussianBlur(0.8)}
    free = sample(gaussian(), DDIM(), Trailing(50), eps)
    for name, call in calls.items():
        misfit = (operators[name](call()) - operators[name](truth)).abs().mean()
        assert misfit < 0.2 * (operators[name](free) - operators[name](truth)).abs().mean(), name


def test_refusals():
    eps, truth = unit(1, *IMAGE), unit(1, *IMAGE, seed=1)
    pooled = Measurement.of(AveragePooling(2), truth)

    class Nonlinear(Operator):
        linear = False

        def __call__(self, x):
            return x**2

    for method in (Replacement(), RePaintReplacement()):
        with pytest.raises(ValueError, match="is for inpainting"):
            restore(gaussian(), DDIM(), Trailing(5), eps, pooled, method)
        noisy = Measurement(Mask(torch.tensor(True)), truth, 0.1)
        with pytest.raises(ValueError, match=r"noise of std=0\.1"):
            restore(gaussian(), DDIM(), Trailing(5), eps, noisy, method)
    for method in (PiGDM(), MomentMatching(), DDNM()):
        with pytest.raises(ValueError, match="linear measurements"):
            restore(gaussian(), DDIM(), Trailing(5), eps, Measurement.of(Nonlinear(), truth), method)
    assert restore(gaussian(), DDIM(), Trailing(5), eps, Measurement.of(Nonlinear(), truth), DPS()).isfinite().all()
    with pytest.raises(ValueError, match="DPS has no measurement"):
        sample(DPS(gaussian()), DDIM(), Trailing(5), eps)
    with pytest.raises(ValueError, match="same multiple"):
        super_resolve(gaussian(), DDIM(), Trailing(5), eps, torch.zeros(1, 3, 2, 4))


# ------------------------------------------------------------------------------------------------------------- editing


@pytest.mark.parametrize(("sampler", "order"), [(DDIM(), 1), (Heun(), 2)], ids=str)
def test_an_inverted_image_comes_back_at_the_order_of_the_sampler(sampler, order):
    image, errors = 0.5 * unit(2, *IMAGE), []
    for steps in (20, 40, 80):
        spacing = Karras(steps, sigma_min=1e-4, sigma_max=20.0)
        again = sample(gaussian(), sampler, spacing, invert(gaussian(), sampler, spacing, image))
        errors.append(float((again - image).abs().max()))
    slopes = [math.log2(one / two) for one, two in pairwise(errors)]
    assert slopes[-1] > order - 0.1, "the errors of an even order cancel, there and back, which gains one"
    assert errors[-1] < 0.1


def test_interpolation_and_variations_have_the_ends_that_they_name():
    spacing, first, last = Karras(200, sigma_min=1e-3), 0.5 * unit(2, *IMAGE), 0.5 * unit(2, *IMAGE, seed=1)
    ends = [interpolate_images(gaussian(), Heun(), spacing, first, last, w) for w in (0.0, 1.0)]
    torch.testing.assert_close(ends[0], first, rtol=0, atol=5e-3)
    torch.testing.assert_close(ends[1], last, rtol=0, atol=5e-3)
    eps = unit(2, *IMAGE, seed=2)
    torch.testing.assert_close(vary(gaussian(), Heun(), spacing, first, eps, 0.0), first, rtol=0, atol=5e-3)
    fresh = sample(gaussian(), Heun(), spacing, eps)
    torch.testing.assert_close(vary(gaussian(), Heun(), spacing, first, eps, 1.0), fresh, rtol=0, atol=1e-9)
    near, far = (vary(gaussian(), Heun(), spacing, first, eps, w) - first for w in (0.1, 0.6))
    assert near.abs().mean() < 0.3 * far.abs().mean()
    with pytest.raises(ValueError, match="share of fresh noise"):
        vary(gaussian(), Heun(), spacing, first, eps, 1.5)
    assert edit(gaussian(), DDIM(), Trailing(10), first, eps, 0.4).shape == first.shape
