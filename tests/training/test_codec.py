"""The codec of a dataset is that of its training, its previews and its samples."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import BATCH, Kill, Killed, Noise, entries, train, weights

from mezzotint.data import ArrayFile, PixelCodec, StandardizeCodec
from mezzotint.training import Checkpoints, Preview


@dataclass(frozen=True)
class Coded(Noise):
    """The same images with a codec."""

    codec: Any = None


def same(one: Path, other: Path) -> bool:
    """Return whether two runs ended with the same bits."""
    pairs = zip(entries(weights(one)), entries(weights(other)), strict=True)
    return all(
        name == again and (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b)
        for (name, a), (again, b) in pairs
    )


def test_the_usual_codec_is_that_of_pixels_and_another_one_trains_otherwise(tmp_path: Path) -> None:
    train(tmp_path / "usual", steps=10)
    train(tmp_path / "pixels", steps=10, dataset=Coded(codec=PixelCodec()))
    train(tmp_path / "other", steps=10, dataset=Coded(codec=StandardizeCodec((127.0,), (60.0,), "uint8")))
    assert same(tmp_path / "usual", tmp_path / "pixels")
    assert not same(tmp_path / "usual", tmp_path / "other")


def test_killed_is_undisturbed_for_an_array(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(300, 20, (60, 1, 4, 4)).astype(np.float32)
    np.save(tmp_path / "data.npy", values)
    settings = {"dataset": ArrayFile(root=str(tmp_path / "data.npy")), "judging": None, "steps": 20}
    quiet = {"checkpoints": Checkpoints(every=7 * BATCH), "preview": Preview(every=20 * BATCH, images=5)}
    train(tmp_path / "whole", callbacks=quiet, **settings)
    with contextlib.suppress(Killed):
        train(tmp_path / "killed", callbacks=quiet | {"kill": Kill(9)}, **settings)
    train(tmp_path / "killed", callbacks=quiet, **settings)
    assert same(tmp_path / "whole", tmp_path / "killed")
    previews = [tmp_path / run / "samples" / "step-00000020.png" for run in ("whole", "killed")]
    assert previews[0].read_bytes() == previews[1].read_bytes()
