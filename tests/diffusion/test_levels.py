"""Levels, targets and predictions: two equations in x0 and eps, solved everywhere they can be."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.diffusion import (
    Clean,
    Epsilon,
    Flow,
    NoiseLevel,
    Preconditioned,
    Prediction,
    Score,
    Velocity,
    broadcast_like,
)

TARGETS = [Epsilon(), Clean(), Velocity(), Score(), Flow(), Preconditioned(0.5)]
angles = st.floats(0.02, math.pi / 2 - 0.02)
frames = st.floats(0.1, 50.0)


def prediction(target, level, x0, eps):
    a, b = target.coefficients(level)
    return Prediction(level.perturb(x0, eps), level, broadcast_like(a, x0) * x0 + broadcast_like(b, x0) * eps, a, b)


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 2, 4, 4, generator=generator, dtype=torch.float64).unbind()


@settings(max_examples=60, deadline=None)
@given(angle=angles, frame=frames, which=st.sampled_from(TARGETS))
def test_every_target_gives_back_x0_and_eps(angle, frame, which):
    x0, eps = pair()
    level = NoiseLevel(frame * math.cos(angle), frame * math.sin(angle))
    pred = prediction(which, level, x0, eps)
    torch.testing.assert_close(pred.x0, x0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(pred.eps, eps, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(pred.mix(0.3, -2.0), 0.3 * x0 - 2.0 * eps, rtol=1e-9, atol=1e-9)


def test_targets_at_the_ends():
    x0, eps = pair()
    for target in (Velocity(), Flow(), Preconditioned(), Clean()):
        torch.testing.assert_close(prediction(target, NoiseLevel(0.0, 1.0), x0, eps).x0, x0)
    for target in (Velocity(), Flow(), Preconditioned(), Epsilon()):
        torch.testing.assert_close(prediction(target, NoiseLevel(1.0, 0.0), x0, eps).eps, eps)


def test_undecodable_predictions_say_so():
    x0, eps = pair()
    with pytest.raises(ValueError, match="does not determine x0 and eps"):
        _ = prediction(Epsilon(), NoiseLevel(0.0, 1.0), x0, eps).x0


def test_one_level_for_each_example_equals_one_level_for_all():
    x0, eps = pair()
    alphas, sigmas = [0.8, 0.3, 0.0], [0.6, 0.9, 1.0]
    for target in (Velocity(), Flow(), Preconditioned(), Clean()):
        level = NoiseLevel(torch.tensor(alphas).double(), torch.tensor(sigmas).double())
        together = prediction(target, level, x0, eps).mix(0.7, 0.2)
        for i, one in enumerate(map(NoiseLevel, alphas, sigmas)):
            alone = prediction(target, one, x0[i : i + 1], eps[i : i + 1]).mix(0.7, 0.2)
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-6, atol=1e-6)


def test_implied_weight_is_the_error_that_an_error_of_the_value_makes():
    x0, eps = pair()
    level = NoiseLevel(0.6, 0.9)
    for target in TARGETS:
        pred = prediction(target, level, x0, eps)
        off = Prediction(pred.x, level, pred.value + 0.01, pred.a, pred.b)
        error = (off.x0 - x0).square().mean().item()
        assert pytest.approx(target.weight(level) * error, rel=1e-9) == 0.01**2


def test_weights_of_the_targets_in_closed_form():
    level = NoiseLevel(0.6, 0.8)
    snr = (0.6 / 0.8) ** 2
    assert Epsilon().weight(level) == pytest.approx(snr)
    assert Clean().weight(level) == 1.0
    assert Velocity().weight(level) == pytest.approx(snr + 1)
    assert Flow().weight(level) == pytest.approx((1.4 / 0.8) ** 2)
    assert Score().weight(level) == pytest.approx(snr / 0.8**2)


def test_preconditioning_as_published(golden):
    sigmas = golden["edm/c_skip"]["sigma"]
    x = torch.randn(1, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for i, sigma in enumerate(sigmas):
        level, value = NoiseLevel(1.0, sigma), torch.full_like(x, 0.3)
        a, b = Preconditioned(0.5).coefficients(level)
        wanted = golden["edm/c_skip"]["value"][i] * x + golden["edm/c_out"]["value"][i] * value
        torch.testing.assert_close(Prediction(x, level, value, a, b).x0, wanted, rtol=1e-12, atol=1e-12)
        assert Preconditioned(0.5).weight(level) == pytest.approx(golden["edm/weight"]["value"][i], rel=1e-12)


def test_replacing_x0_rebuilds_eps():
    x0, eps = pair()
    level = NoiseLevel(0.6, 0.8)
    pred = prediction(Epsilon(), level, x0, eps).with_x0(x0.clamp(-0.5, 0.5))
    torch.testing.assert_close(level.perturb(pred.x0, pred.eps), pred.x)
    pred = prediction(Clean(), level, x0, eps).with_eps(eps * 0.9)
    torch.testing.assert_close(level.perturb(pred.x0, pred.eps), pred.x)


@pytest.mark.parametrize("other", [Epsilon(), Velocity()], ids=repr)
def test_lerp_is_exact_at_both_ends_and_linear_between(other):
    x0, eps = pair()
    level = NoiseLevel(0.6, 0.8)
    one = prediction(Epsilon(), level, x0, eps)
    two = prediction(other, level, 0.5 * x0, (one.x - 0.3 * x0) / 0.8)  # the same x, another x0
    assert torch.equal(one.lerp(two, 1.0).x0, two.x0)
    torch.testing.assert_close(one.lerp(two, 0.0).x0, one.x0)
    torch.testing.assert_close(one.lerp(two, 3.0).x0, one.x0 + 3.0 * (two.x0 - one.x0))


def test_chunk_and_detach():
    x0, eps = pair()
    level = NoiseLevel(0.6, 0.8)
    pred = prediction(Velocity(), level, x0, eps)
    whole = Prediction(torch.cat([pred.x] * 2), level, torch.cat([pred.value, 2 * pred.value]), pred.a, pred.b)
    first, second = whole.chunk(2)
    assert torch.equal(first.x0, pred.x0)
    assert not torch.equal(second.x0, pred.x0)
    value, fraction = pred.value.requires_grad_(), torch.rand_like(pred.value, requires_grad=True)
    detached = Prediction(pred.x, level, value, pred.a, pred.b, fraction).detach()
    assert not detached.x0.requires_grad
    assert detached.fraction.requires_grad


def test_no_gradient_means_the_same_numbers():
    x0, eps = pair()
    pred = prediction(Velocity(), NoiseLevel(0.6, 0.8), x0, eps)
    kept = pred.x.clone()
    with torch.no_grad():
        fast = pred.mix(0.3, 0.4)
    torch.testing.assert_close(fast, pred.mix(0.3, 0.4), rtol=1e-15, atol=1e-15)
    assert torch.equal(pred.x, kept)


def test_level_properties():
    assert NoiseLevel(0.0, 1.0).ratio == math.inf
    assert NoiseLevel(0.0, 1.0).log_snr == -math.inf
    assert NoiseLevel(1.0, 0.0).clean is True
    assert NoiseLevel(torch.ones(2), torch.tensor([0.0, 0.1])).clean.tolist() == [True, False]
    assert NoiseLevel(3.0, 4.0).norm == 5.0
    for value in (-700.0, -3.0, 0.0, 25.0):
        assert NoiseLevel.from_log_snr(value).log_snr == pytest.approx(value, rel=1e-12)
        assert NoiseLevel.from_log_snr(value).norm == pytest.approx(1.0, rel=1e-15)
    assert {NoiseLevel(1.0, 2.0): 1}[NoiseLevel(1.0, 2.0)] == 1
