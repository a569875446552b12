"""Latents that were encoded once: the numbers of online encoding, mirror images, draws by name, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_data import Identity, Noise

from mezzotint.data import AutoencoderCodec, DataModule, LatentCodec, Latents, PixelCodec
from mezzotint.data.dataset import Dataset
from mezzotint.data.latents import encoding, manifest
from mezzotint.diffusion import CosineSchedule, Denoiser, Objective, Velocity
from mezzotint.errors import ConfigError, DataError
from mezzotint.networks import MLP, VectorCondition
from mezzotint.randomness import KeyedRandom
from mezzotint.training import AdamW, DiffusionModule

AGED = Noise(conditions={"age": VectorCondition(1)})


def encoded(folder: Path, data: Dataset, codec: LatentCodec, world: int = 1, **more: object) -> Latents:
    """Encode a dataset as `world` processes do, one after the other."""
    folder.mkdir(exist_ok=True)
    plan = replace(encoding.planned(data, codec, {}, {}), shard=16)
    for rank in range(world):
        encoding.encode_shards(folder, plan, data, codec, rank=rank, world=world)
    encoding.finished(folder, plan, data)
    more = {"classes": data.classes, "conditions": data.conditions, "codec": codec} | more
    return Latents(root=str(folder), source=data, **more)


@pytest.fixture
def codec(autoencoder: Path) -> AutoencoderCodec:
    return AutoencoderCodec(str(autoencoder), batch=4, posterior="sample")


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_the_moments_are_those_of_the_images_and_of_their_mirror_images_bit_for_bit(codec, tmp_path):
    latents = encoded(tmp_path / "l", AGED, codec)
    images = AGED.split("train").batch(torch.arange(40))[0]
    items = latents.examples("train")
    both = torch.ones(40, dtype=torch.bool)
    assert torch.equal(items.batch(torch.arange(40))[0], codec.moments(images))
    assert torch.equal(items.flipped(torch.arange(40), both)[0], codec.moments(images.flip(-1)))
    some, which = torch.tensor([39, 3, 17, 16]), torch.tensor([True, False, True, False])
    chosen = torch.where(which[:, None, None, None], images[some].flip(-1), images[some])
    found, labels = items.flipped(some, which)
    torch.testing.assert_close(found, codec.moments(chosen), rtol=1e-6, atol=1e-6)
    assert torch.equal(labels, torch.tensor([1, 1, 1, 0]))
    ages = latents.condition_values("train").stored["age"].rows(np.arange(40))
    assert ages.ravel().tolist() == list(range(40))


@pytest.mark.parametrize("posterior", ["sample", "mean"])
@pytest.mark.parametrize("measured", [True, False], ids=["measured", "factors"])
def test_the_loss_is_that_of_online_encoding(codec, tmp_path, posterior, measured):
    latents = encoded(tmp_path / "l", AGED, codec)
    codec = replace(codec, posterior=posterior)
    if measured:
        codec = replace(codec, mean=latents.manifest.mean, std=latents.manifest.std)
    torch.manual_seed(0)
    network = MLP(codec.shape(AGED.shape), classes=2, width=16, conditions={"age": VectorCondition(1)})
    with torch.no_grad():
        for parameter in network.parameters():  # the last layer begins at zero, and would hide x
            parameter.add_(0.1 * torch.randn_like(parameter))
    denoiser = Denoiser(network, CosineSchedule(), Velocity())
    module = DiffusionModule(denoiser, Objective(), AdamW(), seed=3, codec=codec)
    losses = []
    for data in (replace(AGED, flip=True), replace(latents, flip=True)):
        batches = DataModule(data, 10, seed=3)
        batches.setup()
        found = []
        for _, batch in zip(range(6), batches.train_dataloader(), strict=False):
            found.append(module.example_losses(denoiser, batch, KeyedRandom(3, batch["index"])))
        for batch in batches.val_dataloader():
            found.append(module.example_losses(denoiser, batch, KeyedRandom(0, batch["index"])))
        losses.append(torch.cat(found).detach())
    assert losses[0].shape == (69,)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=1e-6)


def test_latents_are_drawn_by_seed_and_index(codec, tmp_path):
    moments = encoded(tmp_path / "l", AGED, codec).examples("train").batch(torch.arange(4))[0]
    mean, logvar = moments.chunk(2, 1)
    index = torch.tensor([5, 6, 7, 8])
    eps = KeyedRandom(1, index).normal("latent", mean.shape[1:])
    expected = 0.5 * (mean + (logvar / 2).exp() * eps)
    torch.testing.assert_close(codec.draw(moments, KeyedRandom(1, index)), expected)
    alone = codec.draw(moments[2:3], KeyedRandom(1, index[2:3]))
    torch.testing.assert_close(alone, expected[2:3])
    assert not torch.allclose(codec.draw(moments, KeyedRandom(2, index)), expected)
    torch.testing.assert_close(replace(codec, posterior="mean").draw(moments, KeyedRandom(1, index)), 0.5 * mean)
    x = torch.randn(4, 2, 4, 6)
    assert codec.draw(x, KeyedRandom(1, index)) is x  # already latents


def test_mean_and_deviation_are_those_of_drawn_latents(codec, tmp_path):
    latents = encoded(tmp_path / "l", AGED, codec)
    images = AGED.split("train").batch(torch.arange(40))[0]
    both = torch.cat([codec.moments(images), codec.moments(images.flip(-1))]).double()
    mean, logvar = both.transpose(0, 1).flatten(1).chunk(2)
    std = (mean.var(1, correction=0) + logvar.exp().mean(1)).sqrt()
    np.testing.assert_allclose(latents.manifest.mean, mean.mean(1), rtol=1e-6)
    np.testing.assert_allclose(latents.manifest.std, std, rtol=1e-6)
    draws = KeyedRandom(0, torch.arange(8000))
    standard = replace(codec, mean=latents.manifest.mean, std=latents.manifest.std)
    x = standard.draw(both[:40].float().repeat(200, 1, 1, 1), draws)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(2), atol=0.05, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(2), atol=0.05, rtol=0)
    apart = standard.decode(standard.encode(images)).int() - codec.decode(codec.encode(images)).int()
    assert apart.abs().max() <= 1


def test_two_processes_write_what_one_writes(codec, tmp_path):
    encoded(tmp_path / "one", AGED, codec)
    encoded(tmp_path / "two", AGED, codec, world=2)
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_encoding_goes_on_where_it_was_killed(tmp_path):
    class Killed(Exception):
        pass

    def count(images: int) -> None:
        nonlocal left
        left -= images
        if left < 0:
            raise Killed

    encoded(tmp_path / "whole", AGED, Identity(batch=4))
    left, place = 30, tmp_path / "killed"
    place.mkdir()
    plan = replace(encoding.planned(AGED, Identity(batch=4), {}, {}), shard=16)
    plan.write(place)
    with pytest.raises(Killed):
        encoding.encode_shards(place, plan, AGED, Identity(batch=4), progress=count)
    assert [file.name for file in place.glob("*.safetensors")] == ["train-00000.safetensors"]
    with pytest.raises(DataError, match="is not complete: run the same `mezzotint encode` again"):
        Latents(root=str(place), codec=Identity(), shape=(3, 8, 12)).examples("train")
    before = (place / "train-00000.safetensors").stat().st_mtime_ns
    encoded(place, AGED, Identity(batch=4))
    assert files(place) == files(tmp_path / "whole")
    assert (place / "train-00000.safetensors").stat().st_mtime_ns == before


def test_the_identity_autoencoder_gives_the_x_of_pixels_bit_for_bit(tmp_path):
    pixels = replace(AGED, flip=True)
    latents = encoded(tmp_path / "l", pixels, Identity(posterior="sample"), flip=True)
    found = []
    for data, codec in ((pixels, PixelCodec()), (latents, latents.codec)):
        batches = DataModule(data, 8, seed=1)
        batches.setup()
        for _, batch in zip(range(12), batches.train_dataloader(), strict=False):
            x = codec.draw(batch["image"], KeyedRandom(1, batch["index"]))
            found.append((x, batch["label"], batch["age"], batch["index"]))
    for one, other in zip(found[:12], found[12:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def damaged(folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:-4])


REFUSED = {
    "manifest": (lambda place: (place / manifest.FILE).unlink(), {}, "has no manifest.json, so it holds no latents"),
    "garbage": (lambda place: (place / manifest.FILE).write_text("{"), {}, "is damaged .* encode the data again"),
    "truncated": (lambda place: damaged(place, "train-00001.safetensors"), {}, "train-00001.safetensors is truncated"),
    "lost": (lambda place: (place / "train-00002.safetensors").unlink(), {}, "train-00002.safetensors does not exist"),
    "autoencoder": (lambda place: None, {"codec": Identity(name="b")}, "latents of another autoencoder"),
    "data": (lambda place: None, {"source": replace(AGED, seed=1)}, "latents of other images than the 40 of Noise"),
    "codec": (lambda place: None, {"codec": PixelCodec()}, "which an autoencoder decodes"),
    "shape": (lambda place: None, {"shape": (3, 8, 8)}, r"those of .* are of \[3, 8, 12\]"),
    "classes": (lambda place: None, {"classes": 1}, "label"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_belong_together_is_refused(tmp_path, case):
    latents = encoded(tmp_path / "l", AGED, Identity())
    harm, changes, said = REFUSED[case]
    harm(tmp_path / "l")
    with pytest.raises((ConfigError, DataError), match=said):
        replace(latents, **changes).examples("train")


def test_images_that_are_elsewhere_are_no_error_before_they_are_needed(tmp_path):
    latents = replace(encoded(tmp_path / "l", AGED, Identity()), source=None)
    assert len(latents.examples("test")) == 9
    with pytest.raises(DataError, match=r"holds latents and no images: give data\.source"):
        latents.split("train")


def test_latents_that_are_not_finite_are_refused(tmp_path):
    class Broken(Identity):
        def moments(self, images: torch.Tensor) -> torch.Tensor:
            return super().moments(images).where(images.sum((1, 2, 3), keepdim=True) < 38000, torch.nan)

    with pytest.raises(DataError, match="has latents that are NaN or infinite"):
        encoded(tmp_path / "l", AGED, Broken())


def test_a_mean_without_a_deviation_is_refused():
    with pytest.raises(ConfigError, match="give one of each"):
        Identity(mean=(0.0,))
    with pytest.raises(ConfigError, match="above 0"):
        Identity(mean=(0.0,), std=(0.0,))
    with pytest.raises(ConfigError, match="at least one"):
        Identity(batch=0)
