"""What makes two runs the same, and what follows a folder that moves."""

from pathlib import Path
from typing import Any

import pytest

from mezzotint.app.config.job import differences, digest, relocatable
from mezzotint.app.config.resolve import anchor

CONFIG: dict[str, Any] = {
    "name": "a",
    "run": None,
    "seed": 0,
    "budget": 64,
    "paths": {"_target_": "mezzotint.app.config.job.Paths", "runs": "/x/runs", "data": "/x/data", "cache": "/x/cache"},
    "data": {"_target_": "D", "root": "/x/data/cifar", "other": "/x/database"},
    "hardware": {"_target_": "H", "devices": 1},
    "sampler": {"_target_": "S", "eta": 0.0},
    "logger": {},
    "save": "none",
}


@pytest.mark.parametrize("noise", [{"name": "b"}, {"run": "/x/runs/a"}, {"logger": {"csv": {}}}, {"save": "png"}])
def test_names_and_trackers_make_no_other_run(noise: dict[str, Any]) -> None:
    assert digest(CONFIG | noise) == digest(CONFIG)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"budget": 65},
        {"hardware": {"_target_": "H", "devices": 2}},
        {"sampler": {"_target_": "S", "eta": 1.0}},
    ],
)
def test_all_else_makes_another_run(change: dict[str, Any]) -> None:
    """Also devices and sampler: a sweep over them must not find its second job finished by its first."""
    assert digest(CONFIG | change) != digest(CONFIG)


def test_the_order_of_keys_makes_no_other_run() -> None:
    assert digest(dict(reversed(CONFIG.items()))) == digest(CONFIG)


def test_data_that_moved_with_its_path_is_the_same_and_other_data_is_not() -> None:
    paths = CONFIG["paths"] | {"data": "/y"}
    moved = CONFIG | {"paths": paths, "data": CONFIG["data"] | {"root": "/y/cifar"}}
    assert digest(moved) == digest(CONFIG)
    assert digest(CONFIG | {"data": CONFIG["data"] | {"root": "/elsewhere"}}) != digest(CONFIG)


def test_what_is_left_out_where_nothing_is_bad_makes_no_other_run() -> None:
    """And a run that was made before there was such a word has no other name than one made now."""
    for skip in (True, False):
        assert digest(CONFIG | {"data": CONFIG["data"] | {"skip": skip}}) == digest(CONFIG)


def test_only_whole_folders_are_taken_for_a_path() -> None:
    data = relocatable(CONFIG)["data"]
    assert data == {"_target_": "D", "root": "${paths.data}/cifar", "other": "/x/database"}


def test_differences_are_named_as_one_would_write_them() -> None:
    other = CONFIG | {"seed": 1, "sampler": {"_target_": "S", "eta": 0.5}, "hardware": {"_target_": "G", "devices": 1}}
    assert differences(CONFIG, other) == ["seed", "hardware", "sampler.eta"]
    assert differences({"a": 1}, {"b": 1}) == ["a", "b"]


def test_what_parts_are_made_from_is_found_from_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was trained with data.root=photos is judged from anywhere; what is no path here stays as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    weak = {"weak": {"_target_": "mezzotint.load", "directory": "photos"}}
    config = {"data": {"root": "photos"}, "extractor": {"weights": "absent.pth"}, "guidance": weak, "seed": 0}
    anchor(config)
    assert config["data"] == {"root": str(tmp_path / "photos")}
    assert weak["weak"]["directory"] == str(tmp_path / "photos")
    assert config["extractor"] == {"weights": "absent.pth"}
    for data in (None, {"root": ""}, {"root": "???"}, {"root": 3}, {"root": "s3://photos"}, {"root": "x" * 5000}):
        anchor(other := {"data": data})
        assert other == {"data": data}
