"""Conditions from datasets: their values by index, in batches of any rank, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import NPZ, Digits, Emoji, ImageFolder
from mezzotint.data.arrays.stored import ChosenRows, MemoryRows
from mezzotint.data.conditions import condition_values, kinds_of
from mezzotint.data.datamodule import DataModule
from mezzotint.data.scaling import PixelScaling
from mezzotint.data.sources.emoji import ASSETS
from mezzotint.errors import DataError
from mezzotint.networks import (
    ClassCondition,
    EmbeddingCondition,
    ImageCondition,
    LowResolution,
    MultiHotCondition,
    TextCondition,
    VectorCondition,
)

KINDS = {
    "y": VectorCondition(2),
    "age": VectorCondition(),
    "view": ClassCondition(4),
    "tags": MultiHotCondition(3),
    "mask": ImageCondition((1, 8, 8)),
    "text": TextCondition(3),
    "tokens": EmbeddingCondition(2, 5),
}
N = 40


@pytest.fixture
def archive(tmp_path):
    """Images whose number is their first pixel, and conditions that hold it too."""
    rng, number = np.random.default_rng(0), np.arange(N)
    images = rng.integers(0, 256, (N, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = number
    arrays = {
        "images": images,
        "y": np.stack([number / 10, -number / 10], 1),
        "age": number.astype(np.float32),
        "view": (number % 4).astype(np.uint8),
        "tags": (number[:, None] >> np.arange(3)) & 1,
        "mask": np.broadcast_to((number % 2 * 255).astype(np.uint8)[:, None, None, None], (N, 1, 8, 8)),
        "text": np.array([f"image {i}" for i in number]),
        "tokens": np.where(np.arange(2)[:, None] < 1, number[:, None, None], np.nan).repeat(5, 2).astype(np.float32),
    }
    file = tmp_path / "data.npz"
    np.savez(file, **arrays)
    return file


def dataset(file, **changes) -> NPZ:
    return NPZ(**{"root": str(file), "shape": (3, 8, 8), "held_out": 0.25, "conditions": KINDS, **changes})


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_values_belong_to_the_examples_of_their_index(archive, split):
    data = dataset(archive)
    images, values = data.split(split), data.condition_values(split)
    indices = torch.arange(len(images)).flip(0)
    pixels, _ = images.batch(indices)
    batch, number = values.batch(indices, pixels), pixels[:, 0, 0, 0].long()
    assert {name: tuple(value.shape[1:]) for name, value in batch.items()} == {n: k.shape for n, k in KINDS.items()}
    assert {name: value.dtype for name, value in batch.items()} == {n: k.dtype for n, k in KINDS.items()}
    torch.testing.assert_close(batch["age"][:, 0], number.float())
    torch.testing.assert_close(batch["y"], torch.stack([number / 10, -number / 10], 1))
    assert torch.equal(batch["view"], number % 4)
    assert torch.equal(batch["mask"][:, 0, 0, 0], number % 2 * 2.0 - 1.0)
    assert torch.equal(batch["text"], torch.stack([KINDS["text"].encode(f"image {i}") for i in number.tolist()]))
    torch.testing.assert_close(batch["tokens"][:, 0], number.float()[:, None].expand(-1, 5))
    assert batch["tokens"][:, 1].isnan().all()


def batches(data, world: int, workers: int = 0, seen: int = 0, steps: int = 3) -> dict[str, torch.Tensor]:
    """The first steps of training, put together by the position of the example."""
    parts = []
    for rank in range(world):
        module = DataModule(data, 8, seed=5, images_seen=seen, rank=rank, world=world, workers=workers)
        module.setup()
        parts += [batch for batch, _ in zip(module.train_dataloader(), range(steps), strict=False)]
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    order = joined["index"].argsort()
    return {name: value[order] for name, value in joined.items()}


def assert_same(first, second) -> None:
    assert set(first) == set(second)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0, equal_nan=True)


def test_two_ranks_worker_processes_and_a_resumed_run_see_the_same_values(archive):
    data = dataset(archive, flip=True, conditions=KINDS | {"low": LowResolution((3, 4, 4))})
    one = batches(data, 1)
    assert_same(one, batches(data, 2))
    assert_same(one, batches(data, 1, workers=1))
    later = {name: value[16:] for name, value in one.items()}
    assert_same(later, batches(data, 1, seen=16, steps=1))


def test_images_among_the_conditions_are_flipped_with_their_example(tmp_path):
    """The mask of each example is its own first channel, and the small image its mean over blocks."""
    images = np.random.default_rng(0).integers(0, 256, (N, 3, 8, 8), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, mask=images[:, :1])
    kinds = {"mask": KINDS["mask"], "low": LowResolution((3, 4, 4))}
    seen = batches(dataset(tmp_path / "data.npz", flip=True, conditions=kinds), 1)
    x = PixelScaling().to_float(seen["image"])
    torch.testing.assert_close(seen["mask"], x[:, :1])
    torch.testing.assert_close(seen["low"], x.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean((3, 5)))
    chosen = [int((torch.from_numpy(images) == image).flatten(1).all(1).any()) for image in seen["image"]]
    assert 0 < sum(chosen) < len(chosen)


def test_validation_has_the_values_of_the_held_out_examples(archive):
    module = DataModule(dataset(archive), 4, seed=0)
    module.setup()
    for batch in module.val_dataloader():
        assert torch.equal(batch["view"], batch["image"][:, 0, 0, 0].long() % 4)


def test_emoji_have_their_names():
    data = Emoji(conditions={"name": KINDS["text"]})
    values = data.condition_values("test").batch(torch.tensor([0, 5]), torch.zeros(2, 3, 32, 32))
    names = (ASSETS / "emoji_names.txt").read_text(encoding="utf-8").splitlines()
    assert len(names) == 1906
    assert names[0] == "grinning face"
    encoded = torch.stack([KINDS["text"].encode(name) for name in names])
    assert (encoded[:, None] == values["name"]).all(2).any(0).all()
    small = Emoji(conditions={"low": LowResolution((3, 8, 8))})
    black = small.condition_values("test").batch(torch.arange(2), torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert torch.equal(black["low"], torch.full((2, 3, 8, 8), -1.0))


def folder(tmp_path, write) -> ImageFolder:
    for i in range(8):
        (tmp_path / f"{i % 2}").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), i * 20, np.uint8)).save(tmp_path / f"{i % 2}" / f"{i}.png")
    write([f"{i % 2}/{i}.png" for i in reversed(range(8))])
    return ImageFolder(root=str(tmp_path), shape=(3, 8, 8), conditions={"age": KINDS["age"], "text": KINDS["text"]})


def as_archive(tmp_path):
    return lambda paths: np.savez(
        tmp_path / "conditions.npz",
        files=np.array(paths),
        age=np.array([float(path[2]) for path in paths]),
        text=np.array([f"number {path[2]}" for path in paths]),
    )


def as_lines(tmp_path, change=lambda rows: rows):
    def write(paths):
        rows = [{"file": path, "age": float(path[2]), "text": f"number {path[2]}"} for path in paths]
        lines = "".join(json.dumps(row) + "\n" for row in change(rows))
        (tmp_path / "captions.jsonl").write_text(lines)

    return write


def as_tensors(tmp_path):
    def write(paths):
        from safetensors.numpy import save_file

        numbers = np.array([[float(path[2])] for path in paths], np.float32)
        text = np.stack([KINDS["text"].encode(f"number {path[2]}").numpy() for path in paths])
        columns = {"age": numbers, "text": text}
        save_file(columns, tmp_path / "conditions.safetensors", {"files": "\n".join(paths)})

    return write


@pytest.mark.parametrize("form", [as_archive, as_lines, as_tensors])
def test_image_files_have_the_values_of_their_path(tmp_path, form):
    if form is as_tensors:
        pytest.importorskip("safetensors")
    data = folder(tmp_path, form(tmp_path))
    for split in ("train", "test"):
        images = data.split(split)
        indices = torch.arange(len(images))
        pixels, _ = images.batch(indices)
        batch, number = data.condition_values(split).batch(indices, pixels), pixels[:, 0, 0, 0].long() // 20
        assert torch.equal(batch["age"][:, 0].long(), number)
        if form is not as_tensors:
            assert torch.equal(batch["text"][0], KINDS["text"].encode(f"number {number[0]}"))


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-1], "has no row for 1 of 8 images, such as 0/0.png"),
        (lambda rows: [{"age": row["age"]} for row in rows], "names no images: 'file' in its lines"),
        (lambda rows: [[1, 2]], "line 1 is no object with a file and its values"),
        (lambda rows: [{**row, "text": 3.5} for row in rows], "the condition 'text' of .*: 3.5 is not a text"),
        (lambda rows: [{**row, "age": "old"} for row in rows], "the condition 'age' of .*: 'old' is not a number"),
        (lambda rows: [{k: row[k] for k in ("file", "age")} for row in rows], "holds no condition 'text': it has age"),
        (lambda rows: [rows[0], *({"file": row["file"]} for row in rows[1:])], "line 2 lacks 'age'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, change, message):
    data = folder(tmp_path, as_lines(tmp_path, change))
    with pytest.raises(DataError, match=message) as error:
        data.condition_values("all")
    assert "\n" not in str(error.value)


def test_an_image_with_two_rows_is_refused(tmp_path):
    data = folder(tmp_path, as_lines(tmp_path, lambda rows: [*rows, rows[0]]))
    with pytest.raises(DataError, match=r"captions.jsonl names 1/7.png twice: leave one of its rows out"):
        data.condition_values("all")


@pytest.mark.parametrize("name", ["data.npz", "conditions.npz"])
def test_large_values_stay_in_their_file(tmp_path, name, monkeypatch):
    """Of uncompressed arrays; they are checked in parts, and the same as those in memory."""
    masks = np.random.default_rng(0).integers(0, 256, (N, 1, 8, 8), np.uint8)
    kinds = {"mask": KINDS["mask"]}
    if name == "data.npz":
        np.savez(tmp_path / name, images=np.zeros((N, 8, 8, 3), np.uint8), mask=masks)
        data = NPZ(root=str(tmp_path / name), shape=(3, 8, 8), held_out=0.25, conditions=kinds)
    else:
        for i in range(N):
            Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(tmp_path / f"{i:02}.png")
        np.savez(tmp_path / name, files=np.array([f"{i:02}.png" for i in range(N)]), mask=masks)
        data = ImageFolder(root=str(tmp_path), shape=(3, 8, 8), held_out=0.25, conditions=kinds)
    near = data.condition_values("train")
    monkeypatch.setattr("mezzotint.data.conditions.SMALL", 100)
    far = data.condition_values("train")
    assert isinstance(near.stored["mask"], MemoryRows)
    assert isinstance(far.stored["mask"], ChosenRows)
    indices, blank = torch.tensor([5, 0, 5]), torch.zeros(3, 3, 8, 8)
    assert_same(near.batch(indices, blank), far.batch(indices, blank))
    assert near.digest() == far.digest() != data.condition_values("test").digest()


def test_a_wrong_value_in_a_large_array_is_found_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr("mezzotint.data.conditions.SMALL", 100)
    monkeypatch.setattr("mezzotint.data.arrays.stored.BLOCK", 10 * 8)
    y = np.zeros((N, 2), np.float32)
    y[33] = np.nan
    np.savez(tmp_path / "data.npz", images=np.zeros((N, 8, 8, 3), np.uint8), y=y)
    with pytest.raises(DataError, match="in 1 of 10 examples, first in number 3 of 30 to 39"):
        dataset(tmp_path / "data.npz", conditions={"y": KINDS["y"]}).condition_values("all")


def test_the_digest_of_conditions_is_of_the_values_that_are_stored(archive):
    first = dataset(archive).condition_values("train")
    assert first.digest() == dataset(archive).condition_values("train").digest()
    assert Emoji(conditions={"low": LowResolution((3, 8, 8))}).condition_values("test").digest() == ""
    with np.load(archive) as held:
        content = dict(held)
    content["age"][7] += 1
    np.savez(archive, **content)
    assert dataset(archive).condition_values("all").digest() != first.digest()


def test_a_missing_and_a_damaged_file_are_refused(tmp_path):
    data = folder(tmp_path, lambda paths: None)
    with pytest.raises(DataError, match=r"has no conditions.npz, .* or captions.jsonl with the values"):
        data.condition_values("all")
    (tmp_path / "conditions.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="is no readable file of conditions"):
        data.condition_values("all")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((N - 1, 2))}, "'y' of .* has 39 values for 40 images"),
        ({"y": np.zeros((N, 3))}, r"'y' of .*: it has the shape \[3\] and not that of 2 numbers"),
        ({"y": np.where(np.arange(2 * N).reshape(N, 2) == 60, np.nan, 0)}, "NaN or infinite in 1 of 40 examples"),
        ({"view": np.full(N, 4)}, "'view' of .*: it holds 4, which is not one of 0 to 3"),
        ({"view": np.zeros(N)}, "'view' of .*: it is float64"),
        ({"mask": np.zeros((N, 1, 4, 4), np.uint8)}, r"'mask' of .*: it has the shape \[1, 4, 4\]"),
        ({"tags": None}, "has no array 'tags'"),
    ],
)
def test_values_of_another_kind_are_refused_before_training(archive, arrays, message):
    with np.load(archive) as held:
        content = {name: held[name] for name in held.files} | arrays
    np.savez(archive, **{name: array for name, array in content.items() if array is not None})
    with pytest.raises(DataError, match=message):
        dataset(archive).condition_values("all")


def test_data_without_values_and_names_with_a_meaning_are_refused():
    with pytest.raises(DataError, match="Digits holds no values of conditions"):
        Digits(conditions={"y": KINDS["y"]}).condition_values("train")
    with pytest.raises(DataError, match="'label' cannot be the name of a condition"):
        Digits(conditions={"label": KINDS["view"]})


@pytest.mark.parametrize("size", [(3, 5, 5), (1, 8, 8)])
def test_a_small_image_that_cannot_be_derived_is_refused(size):
    with pytest.raises(DataError, match=r"'low' of Emoji: size=.* does not divide examples of shape \[3, 32, 32\]"):
        Emoji(conditions={"low": LowResolution(size)}).condition_values("test")


def test_a_dataset_of_another_kind_has_none():
    assert not kinds_of(object())
    assert not condition_values(object(), "train").kinds
