"""Metrics of samples beside their true examples: closed forms, what belongs together, and what is refused."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from mezzotint.data import Emoji, PixelCodec
from mezzotint.data.image_set import TensorImages
from mezzotint.errors import ConfigError
from mezzotint.generation import held_out_conditions
from mezzotint.metrics import PSNR, SSIM, Context, EvaluatedModel, Retrieval, Scores, evaluate
from mezzotint.metrics.extractors.simple import RawFeatures
from mezzotint.metrics.paired.base import standard_error
from mezzotint.metrics.paired.retrieval import hits
from mezzotint.networks import Condition, LowResolution

N = 20


@dataclass
class Images:
    """True examples in the order of the samples, with a small image of each as condition."""

    images: torch.Tensor
    kinds: dict[str, Condition] = field(default_factory=lambda: {"low": LowResolution((3, 4, 4))})

    def __len__(self) -> int:
        return len(self.images)

    def truth(self, index: torch.Tensor) -> torch.Tensor:
        return self.images[index % len(self)]

    def values(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.truth(index) / 127.5 - 1
        return {name: kind.derive(x) for name, kind in self.kinds.items()}


@pytest.fixture
def truth() -> Images:
    return Images(torch.from_numpy(np.random.default_rng(0).integers(0, 256, (N, 3, 16, 16), np.uint8)))


def values(samples, pairs, metric, batch=7):
    """Evaluate samples, given in batches that arrive in another order than that of their numbers."""
    parts = [(samples[part], None, part) for part in reversed(torch.arange(len(samples)).split(batch))]
    model = EvaluatedModel(None, lambda name: TensorImages(pairs.images), pairs=pairs)
    return evaluate(parts, TensorImages(pairs.images), {"metric": metric}, len(samples), model=model)


def test_psnr_is_that_of_the_definition(truth):
    noise = torch.from_numpy(np.random.default_rng(1).normal(0, 9, truth.images.shape))
    samples = (truth.images + noise).round().clamp(0, 255).to(torch.uint8)
    found = values(samples, truth, PSNR())
    errors = ((samples.numpy().astype(float) - truth.images.numpy()) ** 2).mean((1, 2, 3))
    each = 20 * np.log10(255) - 10 * np.log10(errors)
    assert found.values["psnr_20"] == pytest.approx(each.mean(), rel=1e-12)
    assert found.errors["psnr_20"] == pytest.approx(each.std(ddof=1) / N**0.5, rel=1e-12)
    assert found.protocol["n"] == N
    assert found.protocol["metrics"]["metric"]["higher_is_better"]
    assert found.shown("psnr_20").endswith("(standard error)")


def test_equal_images_have_the_error_of_rounding_alone(truth):
    best = values(truth.images, truth, PSNR()).values["psnr_20"]
    assert best == pytest.approx(10 * math.log10(12 * 255**2), rel=1e-12)


def test_a_posterior_sample_is_3_decibels_below_the_mean():
    rng = np.random.default_rng(2)
    spread = 10 * rng.normal(size=(2, N, 3, 64, 64))
    pairs = Images(torch.from_numpy((spread[0] + 128).round().astype(np.uint8)))
    sample = torch.from_numpy((spread[1] + 128).round().astype(np.uint8))
    mean = torch.full_like(sample, 128)
    below = values(mean, pairs, PSNR()).values["psnr_20"] - values(sample, pairs, PSNR()).values["psnr_20"]
    assert below == pytest.approx(10 * math.log10(2), abs=0.03)


def test_the_small_image_is_enlarged_bicubically_beside_the_samples(truth):
    found = values(truth.images, truth, PSNR()).values["psnr_20_bicubic_low"]
    x = truth.images / 127.5 - 1
    small = x.unflatten(2, (4, 4)).unflatten(4, (4, 4)).mean((3, 5))
    large = torch.nn.functional.interpolate(small, (16, 16), mode="bicubic")
    stored = ((large + 1) * 127.5).round().clamp(0, 255).double()
    errors = (stored - truth.images).square().flatten(1).mean(1)
    assert found == pytest.approx(float((20 * math.log10(255) - 10 * errors.log10()).mean()), rel=1e-9)


def test_ssim_of_constant_and_of_equal_images(truth):
    constant = Images(torch.full((N, 3, 16, 16), 100, dtype=torch.uint8))
    found = values(torch.full((N, 3, 16, 16), 150, dtype=torch.uint8), constant, SSIM()).values["ssim_20"]
    c1 = (0.01 * 255) ** 2
    assert found == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1), rel=1e-6)
    assert values(truth.images, truth, SSIM()).values["ssim_20"] == pytest.approx(1.0, rel=1e-9)


def test_samples_of_one_example_count_once_in_the_error():
    scores = torch.tensor([1.0, 3.0, 2.0, 6.0], dtype=torch.float64)
    assert standard_error(scores, torch.tensor([0, 1, 0, 1])) == pytest.approx(3 / 2, rel=1e-12)
    assert standard_error(scores, torch.arange(4)) == pytest.approx(float(scores.std()) / 2, rel=1e-12)
    assert math.isnan(standard_error(scores, torch.zeros(4, dtype=torch.int64)))


def test_sample_i_has_the_example_of_its_number_modulo_their_count(truth):
    twice = torch.cat([truth.images, truth.images])
    found = values(twice, truth, PSNR())
    assert found.values["psnr_40"] == values(truth.images, truth, PSNR()).values["psnr_20"]
    assert found.protocol["metrics"]["metric"]["examples"] == N


def test_retrieval_finds_every_copy_and_only_chance_among_strangers(truth):
    extractor = RawFeatures(most=768).resolve((3, 16, 16), PixelCodec())
    assert values(truth.images, truth, Retrieval(extractor, 10)).values["retrieval_raw_20"] == 1
    others = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (2000, 3, 16, 16), np.uint8))
    many = Images(others)
    chance = values(others.flip(0), many, Retrieval(extractor, 10), batch=500)
    assert chance.values["retrieval_raw_2000"] == pytest.approx(0.1, abs=3 * (0.1 * 0.9 / 2000) ** 0.5)
    assert chance.notes[-1].endswith("than to 9 others; 10.0% by chance")


def test_examples_that_are_equally_near_share_a_hit():
    sample = torch.tensor([[1.0, 0.0]]).double()
    candidates = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]]).double()
    assert hits(sample, candidates).tolist() == [0.5]
    assert hits(-sample, candidates).tolist() == [0.0]


def test_the_true_example_of_a_sample_is_that_of_its_conditions():
    plan = held_out_conditions(Emoji(classes=0, conditions={"low": LowResolution((3, 8, 8))}))
    index = torch.tensor([0, 5, 206])
    assert len(plan) == 206
    low = plan.values(index)["low"]
    torch.testing.assert_close(low, LowResolution((3, 8, 8)).derive(plan.truth(index) / 127.5 - 1))
    assert torch.equal(plan.truth(index)[0], plan.truth(index)[2])
    assert plan.pairs() is plan


def context(pairs=None, **changes) -> Context:
    split = TensorImages(torch.zeros(N, 3, 8, 8, dtype=torch.uint8))
    return Context(N, N, EvaluatedModel(None, lambda name: split, pairs=pairs), **changes)


@pytest.mark.parametrize("metric", [PSNR(), SSIM(), Retrieval(RawFeatures())], ids=["psnr", "ssim", "retrieval"])
def test_runs_without_conditions_are_refused(metric):
    with pytest.raises(ConfigError, match="needs the true example of each sample, which a run with conditions has"):
        metric.validate(context())
    with pytest.raises(ConfigError, match="needs the true example"):
        metric.validate(Context(N, N, None))


def test_what_has_no_value_is_refused(truth):
    small = Images(truth.images[:, :, :8, :8])
    with pytest.raises(ConfigError, match="at least 11 pixels a side"):
        SSIM().validate(context(small))
    with pytest.raises(ConfigError, match="choose 2 to 20, the number of held-out examples"):
        Retrieval(RawFeatures(), 21).validate(context(truth))
    with pytest.raises(ValueError, match="scores samples as they are generated"):
        PSNR().measure(context(truth))


def test_scores_are_those_of_the_context(truth):
    scores = Scores(torch.arange(N), {"": torch.full((N,), 30.0).double()})
    assert PSNR().measure(context(truth, scores=scores)).values == {"psnr_20": 30.0}
