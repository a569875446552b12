"""Every file of configs/network describes a network that can be built."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from mezzotint.cost.flops import describe
from mezzotint.instantiate.build import build, check

FILES = sorted((Path(__file__).parents[2] / "configs/network").glob("*.yaml"))
SIZES = re.compile(r"(64|128|256|512)$")  # of the images, at the end of the name of a published network


def test_there_are_networks():
    assert len(FILES) >= 4


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_built_as_written_and_states_its_size(file):
    """The first line names a number of millions of parameters where the size is the point of the file."""
    text = file.read_text()
    size = SIZES.search(file.stem)
    shape = [3, *[int(size[0]) if size else 32] * 2]
    node = yaml.safe_load(text) | {"shape": shape, "classes": 0}
    assert check(node) == []
    with torch.device("meta"):
        cost = describe(build(node), shape)
    named = [word for word, unit in zip(text.split(), text.split()[1:], strict=False) if unit == "million"]
    assert [float(word) for word in named] == pytest.approx([cost.parameters / 1e6] * len(named), rel=0.03)
