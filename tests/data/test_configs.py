"""Every file in configs/data is a call that can be made."""

from pathlib import Path

import pytest
import yaml

from mezzotint.data import Dataset
from mezzotint.instantiate.build import build, check

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "data").glob("*.yaml"))
OPEN = {"root": "somewhere", "cache": "somewhere", "shape": [3, 64, 64]}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_a_config_is_a_dataset(file):
    node = yaml.safe_load(file.read_text())
    node |= {key: OPEN[key] for key, value in node.items() if value == "???" or str(value).startswith("${")}
    if node["classes"] is None:  # found before the config is checked
        node["classes"] = 0
    assert check(node, "data") == []
    dataset = build(node, "data")
    assert isinstance(dataset, Dataset)
    assert dataset.shape == tuple(node["shape"])
    assert node.get("flip", False) is dataset.flip


def test_every_dataset_has_a_config():
    import mezzotint.data

    named = {yaml.safe_load(file.read_text())["_target_"].rpartition(".")[2] for file in CONFIGS}
    kinds = {name for name in mezzotint.data.__all__ if isinstance(getattr(mezzotint.data, name), type)}
    concrete = {name for name in kinds if issubclass(getattr(mezzotint.data, name), Dataset)} - {"Dataset"}
    assert named == concrete
