"""Training on images that are decoded as it goes, killed again and again, ends in the weights of an undisturbed run."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_sets import pictures, write_folder, write_tar, write_zip
from tiny import BATCH, Kill, Killed, entries, train, weights

from mezzotint.data.index import place
from mezzotint.data.index.folder import FolderSource
from mezzotint.data.index.source import prepare_source
from mezzotint.training import Checkpoints, Hardware

KINDS = {"folder": write_folder, "zip": write_zip, "tar": write_tar}


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The settings of runs, the first of which was never interrupted."""
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(place, "_chosen", [])
    settings = {"judging": None, "steps": 20, "callbacks": {"checkpoints": Checkpoints(every=3 * BATCH)}}
    train(tmp_path / "whole", dataset=dataset("folder", tmp_path), **settings)
    return settings


def dataset(kind: str, root: Path):
    files = pictures("a", "b", each=20)
    about = {"shape": (1, 4, 4), "classes": 2, "flip": True, "crop": "random", "memory_limit": 0}
    return replace(KINDS[kind](root, files), **about)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 1])
def test_killed_at_four_moments_is_undisturbed(kind: str, workers: int, whole: dict, tmp_path: Path) -> None:
    images = dataset(kind, tmp_path)
    if kind == "folder":
        prepare_source(FolderSource(Path(images.root)))
    settings = whole | {"dataset": images, "hardware": Hardware(accelerator="cpu", devices=1, workers=workers)}
    for moment in (2, 7, 8, 19):
        with contextlib.suppress(Killed):
            train(tmp_path / "killed", **settings | {"callbacks": whole["callbacks"] | {"kill": Kill(moment)}})
    train(tmp_path / "killed", **settings)
    one, two = (dict(entries(weights(tmp_path / run))) for run in ("whole", "killed"))
    assert one.keys() == two.keys()
    assert all(torch.equal(a, two[name]) if isinstance(a, torch.Tensor) else a == two[name] for name, a in one.items())
