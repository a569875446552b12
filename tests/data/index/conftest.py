"""Folders of images with an index, which by itself only much larger ones have."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.image_files import on_access
from mezzotint.data.index import place, preparation
from mezzotint.data.sources import large_folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of indexes; every folder of more than one image has one, made of parts of seven images."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MEZZOTINT_CACHE", str(folder))
    monkeypatch.setattr(place, "_chosen", [])
    monkeypatch.setattr(large_folder, "MANY", 1)
    monkeypatch.setattr(preparation, "PART", 7)
    return folder


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set has the digest of a large one."""
    monkeypatch.setattr(on_access, "MANY", 1)
    monkeypatch.setattr(on_access, "LARGE", 1)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Thirty images in three classes: PNG, JPEG and WebP, of several sizes."""
    random = np.random.default_rng(0)
    for i in range(30):
        kind = ("png", "jpg", "webp")[i % 3]
        file = tmp_path / "photos" / ("ant", "bee", "cat")[i // 10] / f"{i:02d}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8 + i % 4, 8 + i % 5, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photos"
