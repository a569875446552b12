"""Between two samples lie samples: the ends are theirs, the way is even, the noise stays normal."""

import math

import pytest
import torch

from mezzotint.diffusion import CosineSchedule, Denoiser, Trailing, Velocity
from mezzotint.diffusion.samplers import DDIM, DDPM
from mezzotint.generation import SampleGenerator, interpolate
from mezzotint.generation.interpolation import mix
from mezzotint.networks import MLP

SHAPE = (1, 4, 4)


@pytest.fixture(scope="module")
def generator() -> SampleGenerator:
    torch.manual_seed(0)
    denoiser = Denoiser(MLP(SHAPE, classes=3, width=32), CosineSchedule(), Velocity()).eval()
    return SampleGenerator(denoiser, DDPM(), Trailing(6), SHAPE, seed=5, classes=3, batch=4)


@pytest.mark.parametrize("sampler", [DDPM(), DDIM()], ids=repr)
def test_both_ends_are_the_samples_themselves(generator, sampler):
    generator = SampleGenerator(generator.denoise, sampler, Trailing(6), SHAPE, seed=5, classes=3, batch=4)
    told = []
    images, labels = interpolate(generator, [(0, 3), (4, 1)], points=5, progress=told.append)
    assert images.shape == (2, 5, *SHAPE)
    assert (labels.tolist(), sum(told)) == ([0, 1], 10)
    for row, (first, last) in zip(images, [(0, 3), (4, 1)], strict=True):
        ends, _ = generator.chosen([first, last])
        assert (row[[0, -1]].int() - ends.int()).abs().max() <= 1  # rounding differs with the batch


def test_the_way_leads_from_one_end_to_the_other(generator):
    """With a denoiser that gives every noise its own image, distances to the first end rise."""
    images, _ = interpolate(generator, [(0, 3)], points=9)
    apart = (images[0] - images[0, :1].float()).square().sum((1, 2, 3)).sqrt()
    assert (apart.diff() > 0).all()


def test_mixed_noise_is_normal_at_every_angle():
    torch.manual_seed(0)
    first, last = torch.randn(2, 5, 40_000)
    mixed = mix(first, last, torch.linspace(0, math.pi / 2, 5, dtype=torch.float64))
    assert torch.equal(mixed[0], first[0])
    torch.testing.assert_close(mixed[-1], last[-1])
    torch.testing.assert_close(mixed.std(1), torch.ones(5), atol=0.015, rtol=0)


@pytest.mark.parametrize(("pairs", "points"), [([(0, 1)], 1), ([], 5)])
def test_a_way_needs_two_ends(generator, pairs, points):
    with pytest.raises(ValueError, match="give at least one pair and 2 points"):
        interpolate(generator, pairs, points)
