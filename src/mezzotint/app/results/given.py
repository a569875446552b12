"""The examples that `edit` is given: held-out ones, image files, or an array."""

from pathlib import Path

import numpy as np
import torch

from mezzotint.app.config.job import SPLITS
from mezzotint.app.terminal import display_path
from mezzotint.data import Codec
from mezzotint.data.arrays.files import READERS, open_array
from mezzotint.data.conditions import condition_values, kinds_of
from mezzotint.data.dataset import Dataset, codec_of
from mezzotint.data.external import open_given
from mezzotint.data.image_set import TensorImages
from mezzotint.errors import DataError
from mezzotint.generation import ConditionPlan, ExampleConditions, GivenExamples, null_conditions

HELD_OUT = "heldout"
Shape = tuple[int, ...]


def open_examples(
    named: str | None, dataset: Dataset, shapes: tuple[Shape, ...]
) -> tuple[GivenExamples, ConditionPlan]:
    """Open `images=`; return the examples and their conditions.

    Those of a split have their own conditions, in a fixed random order; others have the null of each.

    Args:
        shapes: that the task takes, (C, *size) as they are stored.

    Raises:
        DataError: there is none, or they have another shape or type.
    """
    split = "test" if named in (None, HELD_OUT) else named
    if split in SPLITS and not Path(str(named)).exists():
        images = dataset.split(split)
        if codec_of(dataset).latent and images.batch(torch.arange(1))[0].is_floating_point():
            raise DataError("the data of this run are latents that were encoded before: give images=FOLDER of images")
        plan = ExampleConditions(images, condition_values(dataset, split), f"of the examples of {split}")
        order = plan.examples(torch.arange(len(images)))
        names = tuple(f"{i:06d}" for i in order.tolist())
        return GivenExamples(images, order, names, order), plan
    path = Path(str(named)).expanduser()
    if not path.exists():
        raise DataError(
            f"images={named}: there is no such folder or file. Give a folder of images, an image, an npz file, an "
            f"array, or {HELD_OUT}"
        )
    examples = open_path(path, codec_of(dataset), dataset.shape)
    check_shape(path, examples, shapes, codec_of(dataset))
    return examples, null_conditions(kinds_of(dataset))


def open_path(path: Path, codec: Codec, shape: Shape) -> GivenExamples:
    """Open image files, or an array for examples that are no images. Raises DataError."""
    if codec.is_image(shape):
        found = open_given(path)
        return GivenExamples.named(found.images, found.names)
    if path.suffix.lower() not in READERS:
        raise DataError(f"images={path}: examples of this run are not images; give a .npy, .npz or .safetensors file")
    rows = open_array(path)
    if not rows.shape or not rows.shape[0]:
        raise DataError(f"images={path} holds no examples: give an array (N, C, *size)")
    values = rows.rows(np.arange(rows.shape[0]))
    if values.ndim == len(shape):  # one channel, without its axis
        values = values[:, None]
    names = tuple(f"{i:06d}" for i in range(len(values)))
    return GivenExamples.named(TensorImages(torch.from_numpy(np.ascontiguousarray(values))), names)


def check_shape(path: Path, examples: GivenExamples, shapes: tuple[Shape, ...], codec: Codec) -> None:
    """Refuse examples of another shape or type. Raises DataError."""
    one = examples.batch(torch.arange(1))
    found = tuple(one.shape[1:])
    if found not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise DataError(
            f"images={display_path(path)}: they are {list(found)} (channels, then size), and this task takes {wanted}. "
            "Convert or resize them first"
        )
    codec.refuse_type(one)
