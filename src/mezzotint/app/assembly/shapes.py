"""Suggestions of image shapes that the chosen network takes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mezzotint.app.config.job import Job
from mezzotint.data.image_files.image_set import SmallPictures
from mezzotint.errors import MezzotintError
from mezzotint.instantiate.build import build


@contextmanager
def suited(job: Job) -> Iterator[None]:
    """Add to an error about images that are too small a shape that the config's network takes."""
    try:
        yield
    except SmallPictures as error:
        raise error.suited(lambda shape: takes(job, shape)) from error


def takes(job: Job, shape: tuple[int, int, int]) -> bool:
    """Return True if the network can be built for images of a shape."""
    asked = job.data["shape"]
    node = {key: list(shape) if value == asked else value for key, value in job.network.items()}
    try:
        with torch.device("meta"):
            build(node, "network")
    except MezzotintError:
        return False
    return True
