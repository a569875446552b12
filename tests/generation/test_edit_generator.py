"""Edits of examples that are no images, and of latents; a result does not depend on the batch."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional

from mezzotint.data import PixelCodec, StandardizeCodec
from mezzotint.data.codecs.latent import LatentCodec
from mezzotint.data.image_set import TensorImages
from mezzotint.diffusion import (
    DDIM,
    DDNM,
    DDPM,
    DPS,
    MomentMatching,
    RePaintReplacement,
    Replacement,
    Trailing,
    VPSchedule,
    exact_gaussian,
)
from mezzotint.generation import (
    Deblurring,
    EditGenerator,
    GivenExamples,
    Inpainting,
    Interpolation,
    Inversion,
    SampleGenerator,
    SDEdit,
    SuperResolution,
    Variation,
)

SERIES = StandardizeCodec(mean=(1.0, -2.0), std=(0.5, 3.0))


@dataclass(frozen=True, kw_only=True)
class Doubling(LatentCodec):
    """Latents are the means of 2 x 2 pixels, and decode to equal pixels."""

    channels = 1
    fingerprint = "doubling"

    def shape(self, stored):
        return stored[0], stored[1] // 2, stored[2] // 2

    def moments(self, images):
        means = functional.avg_pool2d(images.float() / 127.5 - 1.0, 2)
        return torch.cat([means, torch.full_like(means, -30.0)], 1)

    def pixels(self, z):
        return functional.interpolate(z, scale_factor=2.0)

    def reconstruct(self, z):
        return PixelCodec().decode(self.pixels(z))


def editor(task, stored, codec, method=None, batch=64, sampler=None, names=None, steps=10):
    shape = tuple(codec.shape(tuple(stored.shape[1:])))
    denoise = exact_gaussian(VPSchedule(), torch.zeros(shape), 0.5)
    generator = SampleGenerator(denoise, sampler or DDIM(), Trailing(steps), shape, batch=batch, codec=codec)
    names = names or tuple(f"example{i}" for i in range(len(stored)))
    given = GivenExamples.named(TensorImages(stored), names)
    return EditGenerator.around(generator, given, task, tuple(stored.shape[1:]), method)


def series(count=5):
    values = torch.randn(count, 2, 16, generator=torch.Generator().manual_seed(0))
    return SERIES.decode(0.5 * values)


def images(count=3):
    return torch.randint(60, 200, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def only(generator):
    return next(iter(generator.edits(0, generator.rows)))[1]


@pytest.mark.parametrize("method", [None, Replacement(), RePaintReplacement(2, 2), DDNM(), DPS()], ids=str)
def test_series_are_filled_in_and_their_known_part_is_equal_in_every_bit(method):
    given = series()
    found = only(editor(Inpainting(mask="half"), given, SERIES, method))
    assert found.results.dtype == torch.float32
    assert torch.equal(found.results[:, 0, :, :8], given[..., :8])
    assert not torch.equal(found.results[:, 0, :, 8:], given[..., 8:])
    assert torch.equal(found.truth, given)


def test_series_are_enlarged_to_what_was_measured():
    given = series()
    found = only(editor(SuperResolution(factor=4), given, SERIES, DDNM()))
    means = SERIES.encode(given).unflatten(2, (4, 4)).mean(3)
    torch.testing.assert_close(
        SERIES.encode(found.results[:, 0]).unflatten(2, (4, 4)).mean(3), means, rtol=0, atol=1e-5
    )
    small = SERIES.decode(means)
    other = editor(SuperResolution(factor=4), small, SERIES, DDNM())
    other.shape, other.example = (2, 16), (2, 16)
    other.guided = exact_gaussian(VPSchedule(), torch.zeros(2, 16), 0.5)
    again = only(other)
    assert again.truth is None
    assert again.results.shape == (5, 1, 2, 16)


@pytest.mark.parametrize(
    "task",
    [Inpainting(mask="random", std=0.1), Deblurring(), SDEdit(), Variation(count=2), Inversion(), Interpolation()],
    ids=lambda task: type(task).__name__,
)
def test_a_result_depends_on_seed_and_name_alone(task):
    given = series()
    sampler = DDIM() if task.inverts else DDPM()
    whole = only(editor(task, given, SERIES, None, sampler=sampler)).results
    parts = [edits.results for _, edits in editor(task, given, SERIES, None, 2, sampler).edits(0, len(whole))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-5)
    some = only(editor(task, given[2:4], SERIES, None, sampler=sampler, names=("example2", "example3"))).results
    torch.testing.assert_close(some, whole[2 : 2 + len(some)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [None, DPS(gamma=0.3), Replacement(), RePaintReplacement(2, 2)], ids=str)
def test_latents_are_inpainted_by_pixels(method):
    given = images()
    found = only(editor(Inpainting(mask="box"), given, Doubling(), method))
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[2:6, 2:6] = True
    assert torch.equal(found.results[:, 0][..., ~hidden], given[..., ~hidden])
    assert found.results.shape == (3, 1, 1, 8, 8)


def test_latents_meet_a_measurement_of_pixels_and_methods_that_cannot_refuse():
    found = only(editor(SuperResolution(factor=2), images(), Doubling(), DPS(gamma=0.1), steps=50))
    assert float(found.misfit.max()) < 0.1
    for method in (DDNM(), MomentMatching()):
        with pytest.raises(ValueError, match=r"linear measurements.*Use DPS"):
            only(editor(SuperResolution(factor=2), images(), Doubling(), method))


def test_inversion_gives_the_noise_and_the_example_again():
    found = only(editor(Inversion(), series(), SERIES, steps=50))
    assert found.arrays["noise"].shape == (5, 2, 16)
    assert 0.6 < float(found.arrays["noise"].std()) < 1.4
    assert (found.results[:, 0] - found.truth).abs().mean() < 0.12
