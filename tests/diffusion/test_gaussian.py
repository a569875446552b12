"""The two conditionals: DDPM's tables for neighbours, and the algebra that every pair of levels obeys."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.diffusion import (
    EDMSchedule,
    LearnedRangeVariance,
    LinearSchedule,
    NoiseLevel,
    PosteriorVariance,
    Prediction,
    RectifiedFlowSchedule,
    SubVPSchedule,
    TransitionVariance,
    VPSchedule,
    broadcast_like,
    posterior,
    transition,
)


def test_posterior_of_neighbours_is_the_published_table(golden):
    schedule = LinearSchedule()
    for name, index in (("mean_coef_xt", 0), ("mean_coef_x0", 1), ("variance", 2)):
        table = golden[f"posterior/linear/{name}"]
        got = [posterior(schedule.level(float(t)), schedule.level(t + 1.0))[index] for t in table["t"]]
        assert got == pytest.approx(table["value"], rel=1e-11, abs=1e-18)


def test_transition_variance_of_neighbours_is_beta(golden):
    schedule, table = LinearSchedule(), golden["betas/linear"]
    got = [transition(schedule.level(float(t)), schedule.level(t + 1.0))[1] for t in table["t"]]
    assert got == pytest.approx(table["value"], rel=1e-12)


times = st.floats(0.01, 0.99)


@settings(max_examples=100, deadline=None)
@given(
    one=times,
    two=times,
    three=times,
    schedule=st.sampled_from([VPSchedule(), SubVPSchedule(), RectifiedFlowSchedule(), EDMSchedule()]),
)
def test_transitions_compose(one, two, three, schedule):
    s, u, t = (schedule.level(v * schedule.t_max) for v in sorted((one, two, three)))
    (f1, v1), (f2, v2), (f, v) = transition(s, u), transition(u, t), transition(s, t)
    assert f1 * f2 == pytest.approx(f, rel=1e-10)
    assert v2 + f2**2 * v1 == pytest.approx(v, rel=1e-8, abs=1e-14)


@settings(max_examples=100, deadline=None)
@given(
    one=times,
    two=times,
    schedule=st.sampled_from([VPSchedule(), SubVPSchedule(), RectifiedFlowSchedule(), EDMSchedule()]),
)
def test_posterior_is_bayes_rule(one, two, schedule):
    """q(x_s | x_0) q(x_t | x_s) = q(x_t | x_0) q(x_s | x_t, x_0): the joint's mean and covariance agree."""
    s, t = (schedule.level(v * schedule.t_max) for v in sorted((one, two)))
    keep, clean, variance = posterior(s, t)
    assert keep * t.alpha + clean == pytest.approx(s.alpha, rel=1e-12)
    assert variance + keep**2 * t.sigma**2 == pytest.approx(s.sigma**2, rel=1e-9, abs=1e-15)
    assert keep * t.sigma**2 == pytest.approx(transition(s, t)[0] * s.sigma**2, rel=1e-9, abs=1e-15)


def test_ends():
    clean, noise, middle = NoiseLevel(1.0, 0.0), NoiseLevel(0.0, 1.0), NoiseLevel(0.6, 0.8)
    assert posterior(clean, middle) == (0.0, 1.0, 0.0)
    assert posterior(middle, noise) == (0.0, 0.6, 0.8**2)
    assert transition(clean, middle) == (0.6, pytest.approx(0.64))
    assert transition(middle, middle) == (1.0, 0.0)


def test_tensors_and_floats_agree():
    schedule = LinearSchedule()
    t = torch.tensor([1, 2, 500, 1000])
    for function in (posterior, transition):
        together = function(schedule.level(t - 1), schedule.level(t))
        for i, one in enumerate(t.tolist()):
            alone = function(schedule.level(float(one - 1)), schedule.level(float(one)))
            assert [float(v[i]) for v in together] == pytest.approx(list(alone), rel=1e-12, abs=1e-18)


def test_one_float_level_beside_many():
    schedule, t = LinearSchedule(), torch.tensor([1, 500])
    for function in (posterior, transition):
        together = function(schedule.level(0.0), schedule.level(t))
        wanted = function(schedule.level(torch.tensor([0, 0])), schedule.level(t))
        for got, value in zip(together, wanted, strict=True):
            torch.testing.assert_close(torch.as_tensor(got).double().expand(2), value)
    assert posterior(NoiseLevel(1, 0), NoiseLevel(0.6, 0.8)) == (0.0, 1.0, 0.0)
    assert LearnedRangeVariance()(NoiseLevel(1, 0), NoiseLevel(0.6, 0.8), learned(1.0, schedule.level(1.0))) == 0.0


def test_the_wrong_way_round_is_refused():
    with pytest.raises(ValueError, match="Swap the two"):
        posterior(NoiseLevel(0.6, 0.8), NoiseLevel(0.8, 0.6))
    with pytest.raises(ValueError, match="must carry signal"):
        transition(NoiseLevel(0.0, 1.0), NoiseLevel(0.6, 0.8))


def learned(fraction, t):
    x = torch.zeros(1, 1, 2, 2, dtype=torch.float64)
    return Prediction(x, t, x, 0.0, 1.0, torch.full_like(x, fraction))


def test_variances():
    schedule = LinearSchedule()
    s, t = schedule.level(499.0), schedule.level(500.0)
    small, large = posterior(s, t)[2], transition(s, t)[1]
    assert PosteriorVariance()(s, t, learned(0.5, t)) == small
    assert TransitionVariance()(s, t, learned(0.5, t)) == large
    for fraction, wanted in ((0.0, small), (1.0, large), (0.5, math.sqrt(small * large))):
        assert LearnedRangeVariance()(s, t, learned(fraction, t))[0, 0, 0, 0].item() == pytest.approx(wanted, rel=1e-12)
    clean = schedule.level(0.0)
    for variance in (PosteriorVariance(), TransitionVariance(), LearnedRangeVariance()):
        assert variance(clean, schedule.level(1.0), learned(0.3, t)) == 0.0


def test_a_network_without_variance_cannot_be_asked_for_one():
    t = LinearSchedule().level(500.0)
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="two outputs per channel"):
        LearnedRangeVariance()(LinearSchedule().level(499.0), t, Prediction(x, t, x, 0.0, 1.0))


@pytest.mark.parametrize("variance", [PosteriorVariance(), TransitionVariance(), LearnedRangeVariance()], ids=repr)
def test_variances_of_many_levels_are_those_of_each(variance):
    """A clean one among them has variance 0, and gives the fraction no gradient that is not a number."""
    schedule, times = LinearSchedule(), torch.tensor([1, 2, 500])
    s, t = schedule.level(times - 1), schedule.level(times)
    x = torch.zeros(3, 1, 2, 2, dtype=torch.float64)
    fraction = torch.tensor([0.0, 0.5, 1.0]).double().reshape(3, 1, 1, 1).expand_as(x).clone().requires_grad_()
    found = variance(s, t, Prediction(x, t, x, 0.0, 1.0, fraction))
    found = found if found.ndim > 1 else broadcast_like(found, x)
    for i, at in enumerate(times.tolist()):
        alone = Prediction(x[i : i + 1], schedule.level(float(at)), x[i : i + 1], 0.0, 1.0, fraction[i : i + 1])
        wanted = torch.as_tensor(variance(schedule.level(at - 1.0), alone.level, alone), dtype=torch.float64)
        assert found[i, 0, 0, 0].item() == pytest.approx(wanted.max().item(), rel=1e-12)
    if found.requires_grad:
        found.sum().backward()
        assert torch.isfinite(fraction.grad).all()
