"""Random crops: the published ones, drawn by the seed and the visit alone, whoever makes the batch."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_sets import CONTAINERS, picture, pictures, write_folder
from PIL import Image

from mezzotint.data import ImageFolder
from mezzotint.data.datamodule import DataModule
from mezzotint.data.image_files.crops import CROPS
from mezzotint.data.image_files.decoder import decode
from mezzotint.data.sources.pictures import Pictures
from mezzotint.errors import DataError
from mezzotint.networks.conditions import ImageCondition, LowResolution, VectorCondition
from mezzotint.randomness import KeyedRandom

Batch = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("cache")))


def as_adm(pixels: np.ndarray, side: int, shorter: int, top: int, left: int) -> np.ndarray:
    """Dhariwal and Nichol 2021, `random_crop_arr`, of drawn integers: halve, scale to the shorter side, cut."""
    image = Image.fromarray(pixels)
    while min(image.size) >= 2 * shorter:
        image = image.resize((image.size[0] // 2, image.size[1] // 2), resample=Image.Resampling.BOX)
    ratio = shorter / min(image.size)
    image = image.resize((round(image.size[0] * ratio), round(image.size[1] * ratio)), Image.Resampling.BICUBIC)
    return np.asarray(image)[top : top + side, left : left + side]


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(80, 90), (129, 333), (257, 511), (300, 255), (64, 64), (70, 91)], ids=str)
@pytest.mark.parametrize("side", [32, 64])
def test_pixels_are_those_of_the_published_crop(side: int, size: tuple[int, int], tmp_path: Path) -> None:
    pixels = noise(*size)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    most = min(math.ceil(side / 0.8), *size)
    for shorter in {side, (side + most) // 2, most}:
        scale = shorter / min(size)
        if min(size) >= 2 * shorter:
            continue  # the sides after halving are those of another scale; covered by the corners below
        width, height = round(size[0] * scale), round(size[1] * scale)
        for top, left in ((0, 0), (height - side, width - side), ((height - side) // 2, width - side)):
            place = (
                (shorter - side + 0.5) / (most - side + 1),
                (top + 0.5) / (height - side + 1),
                (left + 0.5) / (width - side + 1),
            )
            found = decode(tmp_path / "a.png", (3, side, side), crop=CROPS["random"].at(place))
            np.testing.assert_array_equal(found.transpose(1, 2, 0), as_adm(pixels, side, shorter, top, left))


@pytest.mark.parametrize("size", [(129, 333), (300, 255), (1023, 517)], ids=str)
def test_a_large_image_is_halved_first(size: tuple[int, int], tmp_path: Path) -> None:
    pixels = noise(*size)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for shorter in range(32, 41):
        found = decode(tmp_path / "a.png", (3, 32, 32), crop=CROPS["random"].at(((shorter - 31.5) / 9, 1e-9, 1e-9)))
        np.testing.assert_array_equal(found.transpose(1, 2, 0), as_adm(pixels, 32, shorter, 0, 0))


def test_places_are_uniform_and_cover_the_image(tmp_path: Path) -> None:
    ramp = np.stack([*np.meshgrid(np.arange(40), np.arange(40)), np.zeros((40, 40))], -1).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    drawn = DataModule(ImageFolder(root=str(tmp_path), shape=(3, 36, 36), held_out=0.0, crop="random"), 2000, seed=0)
    drawn.setup()
    images = next(iter(drawn.train_dataloader()))["image"]
    own = images[:, 0, 0, -1] - images[:, 0, 0, 0] == 35  # those of the largest scale, which is not resampled
    assert own.double().mean() == pytest.approx(1 / 5, abs=3 * (0.2 * 0.8 / 2000) ** 0.5)
    for channel in range(2):
        counts = torch.bincount(images[own, channel, 0, 0].long(), minlength=5)
        assert len(counts) == 5
        assert (counts - own.sum() / 5).square().sum() / (own.sum() / 5) < 18.5  # chi squared, 4 degrees, p = 0.001


def batches(dataset: Pictures, count: int = 8, **how: int) -> list[Batch]:
    module = DataModule(dataset, batch_size=4, seed=3, **how)
    module.setup()
    found = iter(module.train_dataloader())
    return [next(found) for _ in range(count)]


def equal(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["folder", *CONTAINERS])
@pytest.mark.parametrize("memory_limit", [0, 1 << 30])
def test_batches_are_those_of_the_folder_for_all_ranks_workers_and_starts(
    kind: str, memory_limit: int, tmp_path: Path
) -> None:
    if kind in ("parquet", "arrow", "lmdb"):
        pytest.importorskip("lmdb" if kind == "lmdb" else "pyarrow")
    files, about = pictures("a", "b"), {"classes": 2, "flip": True, "crop": "random"}
    expected = batches(replace(write_folder(tmp_path, files), **about))
    made = write_folder if kind == "folder" else CONTAINERS[kind]
    dataset = replace(made(tmp_path, files), **about, memory_limit=memory_limit)
    assert all(map(equal, expected, batches(dataset)))
    assert all(map(equal, expected, batches(dataset, workers=1)))
    assert all(map(equal, expected[3:], batches(dataset, 5, images_seen=12)))
    ranks = [batches(dataset, rank=rank, world=2) for rank in range(2)]
    for step, whole in enumerate(expected):
        for name, values in whole.items():
            together = torch.stack([ranks[rank][step][name] for rank in range(2)], 1).flatten(0, 1)
            assert torch.equal(together, values)


def test_every_visit_draws_another_crop_and_the_seed_decides(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(3, side=75))
    folder = ImageFolder(root=str(tmp_path), shape=(3, 48, 48), held_out=0.0, crop="random")
    images, index = folder.examples("train"), torch.zeros(30, dtype=torch.int64)
    seen = [images.drawn(KeyedRandom(seed, torch.arange(30))).batch(index)[0] for seed in (0, 0, 1)]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert len(seen[0].flatten(1).unique(dim=0)) > 25


def test_a_flip_mirrors_the_crop(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(3, side=40))
    folder = ImageFolder(root=str(tmp_path), shape=(3, 16, 16), held_out=0.0, crop="random")
    plain, flipped = (torch.cat([b["image"] for b in batches(replace(folder, flip=flip))]) for flip in (False, True))
    which = KeyedRandom(3, torch.arange(len(plain))).uniform("flip") < 0.5
    assert 0 < which.sum() < len(which)
    assert torch.equal(torch.where(which[:, None, None, None], plain.flip(-1), plain), flipped)


def test_evaluation_sees_the_centre_crop(tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(picture(i, side=40))
    centre, moving = (ImageFolder(root=str(tmp_path), shape=(3, 16, 16), crop=crop) for crop in ("adm", "random"))
    for split in ("train", "test", "all"):
        assert moving.split(split).digest() == centre.split(split).digest()
        every = torch.arange(len(centre.split(split)))
        assert torch.equal(moving.split(split).batch(every)[0], centre.split(split).batch(every)[0])
    assert torch.equal(
        moving.examples("test").batch(torch.arange(1))[0], centre.split("test").batch(torch.arange(1))[0]
    )
    assert moving.preprocessing() == centre.preprocessing()


def test_conditions_that_are_images_do_not_move(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(3, side=40))
    folder = ImageFolder(root=str(tmp_path), shape=(3, 16, 16), held_out=0.0, crop="random")
    with pytest.raises(
        DataError, match="crop=random moves an image at every visit, and the stored condition mask does"
    ):
        replace(folder, conditions={"mask": ImageCondition((1, 16, 16))})
    small = replace(folder, conditions={"low": LowResolution((3, 4, 4))})
    batch = batches(small, 1)[0]
    expected = torch.nn.functional.avg_pool2d(batch["image"] / 127.5 - 1, 4)
    torch.testing.assert_close(batch["low"], expected, atol=1e-6, rtol=0)
    assert replace(folder, conditions={"age": VectorCondition(1)}).varies() == "crop=random"
