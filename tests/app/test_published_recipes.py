"""The published recipes at a tiny size: killed and resumed it has the weights of a run that was not, and samples."""

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.app import cli
from mezzotint.app.help import config_dir
from mezzotint.runs import checkpoints
from mezzotint.training import DiffusionModule

SHAPES = {"cifar10": "[3,16,16]", "imagenet64": "[3,32,32]", "imagenet256": "[3,32,32]"}  # smaller images
FILES = (config_dir() / "experiment").glob("*.yaml")
NAMES = sorted(file.stem for file in FILES if file.stem.split("_")[0] in SHAPES)
LATENT = ("imagenet256_dit_xl", "imagenet256_sit_xl")
TINY = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]", "n=1", "batch_size=4", "budget=16")
TINY += ("optimizer.warmup=8", "grid.steps=2", "callbacks.checkpoints.every=4", "callbacks.log.every=1")
AUTOENCODER = {"in_channels": 3, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 2, "sample_size": 32}
AUTOENCODER |= {"block_out_channels": [4] * 4, "layers_per_block": 1}
for side, kind in (("down", "DownEncoderBlock2D"), ("up", "UpDecoderBlock2D")):
    AUTOENCODER |= {f"{side}_block_types": [kind] * 4}


class Killed(BaseException):
    """The end of a process, as far as what it leaves behind is concerned."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two classes of images, an autoencoder and the runs of all of them."""
    folder = tmp_path_factory.mktemp("recipes")
    random = np.random.default_rng(0)
    for i in range(12):
        file = folder / f"photos/{'ab'[i % 2]}/{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (70, 66, 3), dtype=np.uint8)).save(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.chdir(folder)
        for name in ("DATA", "CACHE"):
            patch.setenv(f"MEZZOTINT_{name}", str(folder / name.lower()))
        yield folder


def run(*words: str) -> None:
    assert cli.main(words) == 0, words


def leaves(content: Any, path: str = "") -> dict[str, Any]:
    """All values of nested content by their place, but for the time that was spent."""
    if isinstance(content, dict):
        return {
            k: v
            for key, value in content.items()
            if key != "seconds"
            for k, v in leaves(value, f"{path}/{key}").items()
        }
    if isinstance(content, list | tuple):
        return {k: v for i, value in enumerate(content) for k, v in leaves(value, f"{path}/{i}").items()}
    return {path: content}


def losses(directory: Path) -> list[float]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def killed_in_step(number: int) -> Callable[..., Any]:
    """The training step of a process that ends in this one, counted from 1."""
    step, counted = DiffusionModule.training_step, itertools.count(1)

    def stepped(self: DiffusionModule, *given: Any) -> Any:
        if next(counted) == number:
            raise Killed
        return step(self, *given)

    return stepped


@pytest.mark.parametrize("name", NAMES)
def test_killed_and_resumed_it_is_the_same(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in LATENT and not (home / "sd-vae-ft-ema").exists():
        torch.manual_seed(0)
        pytest.importorskip("diffusers").AutoencoderKL(**AUTOENCODER).save_pretrained(home / "sd-vae-ft-ema")
    shape = SHAPES[name.split("_")[0]]
    words = ("train", f"experiment={name}", "data.root=photos", f"data.shape={shape}", *TINY)
    words += ("data=image_folder",) if name.startswith("cifar10") else ()
    whole, killed = Path(f"runs/{name}"), Path(f"runs/{name}-killed")
    run(*words, f"name={whole.name}")
    monkeypatch.setattr(DiffusionModule, "training_step", killed_in_step(3))
    with pytest.raises(Killed):
        cli.main((*words, f"name={killed.name}"))
    monkeypatch.undo()
    assert checkpoints.newest(killed / "checkpoints").name == "step-00000002.ckpt"
    assert not list(killed.glob("samples/*"))
    run("train", f"run={killed}")
    one, two = (leaves(checkpoints.read(r / "checkpoints/step-00000004.ckpt")) for r in (whole, killed))
    assert one.keys() == two.keys()
    assert sum(isinstance(value, torch.Tensor) for value in one.values()) > 10
    for place, value in one.items():
        assert torch.equal(value, two[place]) if isinstance(value, torch.Tensor) else value == two[place], place
    assert losses(whole) == losses(killed)
    assert len(losses(whole)) == 4
    assert np.isfinite(losses(whole)).all()
    assert [file.name for file in whole.glob("samples/*")] == [file.name for file in killed.glob("samples/*")] != []
