"""Shapes that are suggested for small pictures: the chosen network takes them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mezzotint.app.assembly.shapes import suited, takes
from mezzotint.data.image_files.decoder import TooSmall
from mezzotint.data.image_files.image_set import SmallPictures, refuse
from mezzotint.errors import DataError


def job(levels: int) -> Any:
    network = {"_target_": "mezzotint.networks.UNet", "shape": [3, 256, 192], "width": 8, "attention": []}
    return SimpleNamespace(data={"shape": [3, 256, 192]}, network=network | {"multipliers": [1] * levels})


def small(height: int, width: int) -> TooSmall:
    return TooSmall(Path(f"{height}.png"), "too small", (3, height, width))


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
@pytest.mark.parametrize(("height", "width"), [(61, 45), (100, 75), (33, 17), (255, 191)])
def test_a_suggested_shape_is_the_largest_that_the_network_takes(levels: int, height: int, width: int) -> None:
    step = 2 ** (levels - 1)
    shape = [3, height // step * step, width // step * step]
    assert takes(job(levels), (3, shape[1], shape[2]))
    with pytest.raises(DataError) as told, suited(job(levels)):
        refuse([small(height, width), small(height + 1, width + 1)], 5, "or else")
    assert f"data.shape=[{shape[0]},{shape[1]},{shape[2]}] fits it" in str(told.value)
    assert str(told.value).count("data.shape=") == 1


def test_where_no_shape_suits_the_network_the_picture_alone_decides() -> None:
    with pytest.raises(SmallPictures, match=r"data\.shape=\[3,8,8\] fits it"), suited(job(6)):
        refuse([small(9, 9)], 1)
