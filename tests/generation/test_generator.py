"""Sample i is a function of (seed, i): not of the batch, the order, the ranks or what is drawn beside it."""

import pytest
import torch

from mezzotint.diffusion import CosineSchedule, Denoiser, Prediction, Renoised, Restart, Trailing, Velocity
from mezzotint.diffusion.guidance import CFG
from mezzotint.diffusion.samplers import DDIM, DDPM, Heun
from mezzotint.generation import SampleGenerator, SamplingRecipe
from mezzotint.networks import MLP

SHAPE = (2, 3, 5)


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(MLP(SHAPE, classes=3, width=32), CosineSchedule(), Velocity()).eval()


def generator(denoiser, sampler=None, **changes) -> SampleGenerator:
    return SampleGenerator(denoiser, sampler or DDPM(), Trailing(6), SHAPE, **({"seed": 5, "classes": 3} | changes))


@pytest.mark.parametrize("sampler", [DDPM(), DDIM(0.5), DDIM(), Heun()], ids=repr)
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_a_sample_does_not_depend_on_its_batch(denoiser, sampler, batch):
    images, labels = generator(denoiser, sampler, batch=7).images(0, 10)
    others, names = generator(denoiser, sampler, batch=batch).images(2, 9)
    assert images.dtype == torch.uint8
    assert images.shape == (10, *SHAPE)
    assert torch.equal(labels, torch.arange(10) % 3)
    assert torch.equal(names, labels[2:9])
    # rounding may differ with the batch, by one grey value at most where it falls on an edge
    assert (images[2:9].int() - others.int()).abs().max() <= 1
    assert (images[2:9] != others).float().mean() < 0.01


def test_samples_and_seeds_differ(denoiser):
    images, _ = generator(denoiser).images(0, 6)
    others, _ = generator(denoiser, seed=6).images(0, 6)
    distances = (images[:, None].float() - torch.cat([images, others])[None].float()).abs().mean((2, 3, 4))
    assert (distances + torch.eye(6, 12) * 99).min() > 5


@pytest.mark.parametrize(("guidance", "calls"), [(None, 6), (lambda inner: CFG(inner, 2.0), 12)])
def test_network_calls_an_image_are_counted(denoiser, guidance, calls):
    drawn = generator(denoiser, DDIM(), batch=4, guidance=guidance)
    drawn.images(0, 7)
    assert drawn.calls == calls
    assert generator(denoiser).calls == 0


def test_guidance_is_that_of_the_mathematics(denoiser):
    from mezzotint.diffusion import KeyedRandom, sample

    guided = generator(denoiser, DDIM(), guidance=lambda inner: CFG(inner, 3.0))
    drawn = guided.sample_from(*guided.start(torch.arange(4)))
    noise = KeyedRandom(5, torch.arange(4)).normal("sample", SHAPE)
    expected = sample(CFG(denoiser, 3.0), DDIM(), Trailing(6), noise, label=torch.arange(4) % 3)
    assert torch.equal(drawn, expected)


def test_labels_may_be_chosen(denoiser):
    assert generator(denoiser, label=2).images(0, 4)[1].tolist() == [2] * 4
    free, names = generator(denoiser, label=-1).images(0, 4)
    assert names.tolist() == [-1] * 4
    assert not torch.equal(free, generator(denoiser).images(0, 4)[0])
    torch.manual_seed(0)
    unlabelled = Denoiser(MLP(SHAPE, width=16), CosineSchedule(), Velocity())
    assert generator(unlabelled, classes=0).images(0, 2)[1] is None


def test_progress_is_told_of_every_batch(denoiser):
    told = []
    generator(denoiser, batch=4).images(3, 12, told.append)
    assert told == [4, 4, 1]


@pytest.mark.parametrize("frames", [1, 2, 5, 50])
def test_a_film_ends_with_the_images(denoiser, frames):
    film = generator(denoiser).film(2, 5, frames)
    count = min(frames, 7)
    assert film.frames.shape == film.estimates.shape == (count, 3, *SHAPE)
    images, labels = generator(denoiser).images(2, 5)
    assert torch.equal(film.frames[-1], images)
    assert torch.equal(film.estimates[-1], images)
    assert torch.equal(film.labels, labels)


def test_a_film_knows_its_noise_and_may_be_thinned(denoiser):
    """On Cosine the norm is 1, so the share of noise is sigma itself."""
    film = generator(denoiser).film_of([2, 4], 50)
    levels = [CosineSchedule().level(t).sigma for t in (1000, 833, 667, 500, 333, 167)]
    assert film.noise == pytest.approx([*levels, 0.0], abs=2e-3)
    few = film.thinned(3)
    assert torch.equal(few.frames, film.frames[[0, 3, 6]])
    assert torch.equal(few.estimates, film.estimates[[0, 3, 6]])
    assert few.noise == (film.noise[0], film.noise[3], 0.0)
    assert film.thinned(99).frames.shape == film.frames.shape


def test_samples_may_be_chosen_by_number(denoiser):
    told = []
    images, labels = generator(denoiser, batch=2).chosen([7, 0, 3], told.append)
    others, names = generator(denoiser).images(0, 8)
    assert (images.int() - others[[7, 0, 3]].int()).abs().max() <= 1
    assert (labels.tolist(), told) == (names[[7, 0, 3]].tolist(), [2, 1])


def test_a_film_begins_with_the_noise(denoiser):
    from mezzotint.data.scaling import PixelScaling
    from mezzotint.diffusion import KeyedRandom

    noise = KeyedRandom(5, torch.arange(3)).normal("sample", SHAPE)
    assert torch.equal(generator(denoiser).film(0, 3).frames[0], PixelScaling().to_uint8(noise))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"batch": 0}, "at least one image"), ({"label": 3}, "0 to 2, or -1"), ({"label": 0, "classes": 0}, "no classes")],
)
def test_what_cannot_be_drawn(denoiser, wrong, says):
    with pytest.raises(ValueError, match=says):
        generator(denoiser, **wrong)
    with pytest.raises(ValueError, match="the range is empty"):
        generator(denoiser).images(3, 3)


def test_sampling_makes_generators(denoiser):
    sampling = SamplingRecipe(DDIM(), Trailing(6), batch=4)
    made = sampling.generator(denoiser, [2, 3, 5], seed=5, classes=3, label=1)
    assert torch.equal(made.images(0, 6)[0], generator(denoiser, DDIM(), label=1, batch=4).images(0, 6)[0])


def test_a_film_keeps_no_more_than_its_frames(denoiser, monkeypatch):
    """Of a thousand steps with eight large images the rest would not fit into memory."""
    asked = []
    clean = Prediction.x0
    monkeypatch.setattr(Prediction, "x0", property(lambda self: asked.append(1) or clean.fget(self)))
    film = SampleGenerator(denoiser, DDIM(), Trailing(100), SHAPE, classes=3).film(0, 2, frames=5)
    assert film.frames.shape[0] == 5
    assert len(asked) == 4  # the last frame is the image itself
    assert film.noise == pytest.approx(
        [CosineSchedule().level(t).sigma for t in (1000, 750, 500, 250)] + [0.0], abs=1e-6
    )


def test_a_film_of_a_way_that_goes_back_up_has_its_frames(denoiser):
    grid = Restart(Trailing(6), low=0.2, high=2.0, repeats=2, inner=2)
    generator = SampleGenerator(denoiser, Renoised(Heun()), grid, SHAPE, classes=3)
    film = generator.film(0, 2, frames=100)
    assert 6 < len(film.frames) <= len(grid(CosineSchedule()))
    assert torch.equal(film.frames[-1], generator.images(0, 2)[0])
    assert list(film.noise) != sorted(film.noise, reverse=True)
