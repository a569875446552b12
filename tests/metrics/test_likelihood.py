"""Bits per dimension of Gaussian images under their exact denoiser: closed forms, names, no word of batches."""

import itertools
import json
import math

import pytest
import torch
from torch import nn

from mezzotint.data.arrays.stored import MemoryRows
from mezzotint.data.conditions import ConditionValues
from mezzotint.data.image_set import TensorImages
from mezzotint.diffusion import (
    CosineSchedule,
    Denoiser,
    EDMSchedule,
    Epsilon,
    KeyedRandom,
    LinearSchedule,
    PosteriorVariance,
    RectifiedFlowSchedule,
    Trailing,
    TransitionVariance,
    VPSchedule,
    dequantise,
    exact_gaussian,
    posterior,
)
from mezzotint.metrics import Context, EvaluatedModel, NegativeLogLikelihood
from mezzotint.networks import VectorCondition

STD, SHAPE = 0.2, (1, 2, 2)
BITS = 1 / math.log(2)


@pytest.fixture(scope="module")
def images() -> TensorImages:
    """Of N(0, STD^2), as uint8: five standard deviations fit."""
    x = STD * KeyedRandom(5, torch.arange(2000)).normal("data", SHAPE)
    return TensorImages((x * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8))


def exact(schedule):
    return exact_gaussian(schedule, torch.zeros(SHAPE), STD)


def entropy() -> float:
    """Bits of N(0, STD^2) in cells of width 1 / 127.5."""
    return BITS * 0.5 * math.log(2 * math.pi * math.e * STD**2) + math.log2(127.5)


@pytest.mark.parametrize("schedule", [LinearSchedule(), CosineSchedule()], ids=repr)
def test_bound_of_an_exact_denoiser_is_its_closed_form(schedule, images):
    steps = 50
    values, errors = NegativeLogLikelihood(images=2000, steps=steps, variance=PosteriorVariance()).estimate(
        exact(schedule), images
    )
    assert list(values) == [f"nll_vlb_2000{term}" for term in ("", "_prior", "_diffusion", "_decoder")]
    assert errors.keys() == values.keys()
    diffusion, grid = 0.0, Trailing(steps)(schedule)
    for t, s in itertools.pairwise(grid[:-1]):
        _, clean, variance = posterior(s, t)
        diffusion += 0.5 * BITS * clean**2 * STD**2 * t.sigma**2 / (t.alpha**2 * STD**2 + t.sigma**2) / variance
    assert values["nll_vlb_2000_diffusion"] == pytest.approx(diffusion, abs=4 * errors["nll_vlb_2000_diffusion"])
    prior = 0.5 * BITS * (grid[0].sigma ** 2 - 1 - 2 * math.log(grid[0].sigma) + (grid[0].alpha * STD) ** 2)
    assert values["nll_vlb_2000_prior"] == pytest.approx(prior, rel=0.05, abs=1e-9)
    terms = [values[f"nll_vlb_2000{term}"] for term in ("_prior", "_diffusion", "_decoder")]
    assert values["nll_vlb_2000"] == pytest.approx(sum(terms), rel=1e-9)
    assert values["nll_vlb_2000"] > entropy()


def test_bound_on_the_whole_table_comes_down_to_the_entropy(images):
    values, errors = NegativeLogLikelihood(images=200, batch=200).estimate(exact(LinearSchedule()), images)
    assert values["nll_vlb_200"] == pytest.approx(entropy(), abs=2 * errors["nll_vlb_200"])


@pytest.mark.parametrize("schedule", [VPSchedule(), EDMSchedule(), RectifiedFlowSchedule()], ids=repr)
def test_ode_of_an_exact_denoiser_is_the_density(schedule, images):
    values, errors = NegativeLogLikelihood(images=2000, batch=2000, probes=2).estimate(exact(schedule), images)
    x = dequantise(images.pixels, KeyedRandom(0, torch.arange(2000)))
    nats = torch.distributions.Normal(0.0, STD).log_prob(x).flatten(1).mean(1)
    wanted = BITS * (math.log(128) - nats)
    assert values.keys() == errors.keys() == {"nll_ode_2000"}
    assert values["nll_ode_2000"] == pytest.approx(wanted.mean().item(), abs=2e-3)
    assert errors["nll_ode_2000"] == pytest.approx(wanted.std().item() / 2000**0.5, rel=0.01)


@pytest.mark.parametrize("method", ["vlb", "ode"])
def test_the_value_does_not_depend_on_the_batch_and_repeats_come_closer(method, images):
    def value(**changes):
        settings = {"method": method, "images": 30, "steps": 10, "probes": 1} | changes
        return NegativeLogLikelihood(**settings).estimate(exact(VPSchedule()), images, seed=changes.pop("seed", 0))

    first, again = value(batch=7), value(batch=30)
    assert first[0] == pytest.approx(again[0], rel=1e-5)
    assert first[1] == pytest.approx(again[1], rel=1e-4)
    assert value(repeats=2)[0] != pytest.approx(first[0], rel=1e-5)


def test_n_and_the_split_bound_the_images(images):
    metric = NegativeLogLikelihood(images=40, steps=2)
    assert [metric.count(images), metric.count(images, 10), metric.count(images, 99)] == [40, 10, 40]
    assert "nll_vlb_10" in metric.estimate(exact(LinearSchedule()), images, 10)[0]
    with pytest.raises(ValueError, match="needs at least 2 images of split=test"):
        metric.estimate(exact(LinearSchedule()), images, 1)


class Halved(nn.Module):
    """Answers eps = 0.5 x and a fraction of the variance's range."""

    def __init__(self, fraction: float | None) -> None:
        super().__init__()
        self.fraction = fraction

    def forward(self, x, time, label=None):
        answer = 0.5 * x if label is None else 0.5 * x + label.reshape(-1, 1, 1, 1)
        return answer if self.fraction is None else torch.cat([answer, torch.full_like(x, 2 * self.fraction - 1)], 1)


def test_a_learned_variance_is_used(images):
    def value(fraction, variance=None):
        denoise = Denoiser(Halved(fraction), LinearSchedule(), Epsilon()).eval()
        return NegativeLogLikelihood(images=20, steps=20, variance=variance).estimate(denoise, images)[0]

    assert value(0.0) == pytest.approx(value(None, PosteriorVariance()))
    assert value(1.0) == pytest.approx(value(None))
    assert value(0.5) != pytest.approx(value(None), rel=1e-3)
    assert value(0.5, TransitionVariance()) == pytest.approx(value(None))


def test_labels_reach_the_network(images):
    labelled = TensorImages(images.pixels, torch.arange(2000) % 2)
    denoise = Denoiser(Halved(None), LinearSchedule(), Epsilon()).eval()
    metric = NegativeLogLikelihood(images=20, steps=5)
    assert metric.estimate(denoise, labelled)[0] != pytest.approx(metric.estimate(denoise, images)[0], rel=1e-3)


def test_settings_are_plain_and_wrong_ones_refused():
    assert (
        json.loads(json.dumps(NegativeLogLikelihood(variance=TransitionVariance()).settings()))["variance"]
        == "TransitionVariance()"
    )
    with pytest.raises(ValueError, match="method='exact' is not known"):
        NegativeLogLikelihood(method="exact")
    with pytest.raises(ValueError, match="images=1: give 2 or more"):
        NegativeLogLikelihood(images=1)


class Shifted:
    """The exact denoiser of N(y, STD^2) for a condition y, a number for each example."""

    def __init__(self, schedule):
        self.schedule, self.inner = schedule, exact(schedule)

    def begin(self):
        return self

    def __call__(self, x, level, y):
        kept = level.alpha**2 * STD**2 / (level.alpha**2 * STD**2 + level.sigma**2)
        found = self.inner(x, level)
        return found.with_x0(found.x0 + (1 - kept) * y[:, :, None, None].to(x))


@pytest.mark.parametrize("method", ["vlb", "ode"])
def test_images_are_measured_with_their_conditions(images, method):
    """Images that differ from others by their condition alone take as many bits as these."""
    y = torch.where(torch.arange(2000) % 2 == 0, 0.2, -0.2)[:, None]
    x = (images.pixels / 127.5 - 1 + y[:, :, None, None]) * 127.5 + 127.5
    moved = TensorImages(x.round().clamp(0, 255).to(torch.uint8))
    conditions = ConditionValues({"y": VectorCondition()}, {"y": MemoryRows(y.numpy())})
    metric = NegativeLogLikelihood(method=method, images=500, steps=20, batch=100)
    plain, _ = metric.estimate(exact(CosineSchedule()), images)
    model = EvaluatedModel(Shifted(CosineSchedule()), lambda split: moved, conditions=lambda split: conditions)
    found = metric.measure(Context(500, 500, model)).values
    assert found[f"nll_{method}_500"] == pytest.approx(plain[f"nll_{method}_500"], abs=0.01)
