"""An autoencoder of our own: trained, resumed, evaluated by its reconstructions, and used as codec.run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint.data import AutoencoderCodec, Emoji
from mezzotint.runs.load import load

TRAIN = ("train", "experiment=emoji_autoencoder", "debug=tiny", "hardware=cpu", "callbacks=minimal")
SMALL = ("network.widths=[8,8,8]", "network.groups=4", "metrics=[psnr]", "n=8")


def test_an_autoencoder_is_trained_and_used(mezzotint: Any, home: Path) -> None:
    done = mezzotint(*TRAIN, *SMALL, "name=ae")
    assert done.code == 0, done.err
    (file,) = (home / "runs/ae/evaluation").glob("*.json")
    values = json.loads(file.read_text())["values"]
    assert 0 < values["psnr_8"] < 59
    assert [name for name in values if "bicubic" in name] == []
    network = load("runs/ae").network
    codec = AutoencoderCodec(run="runs/ae")
    state = codec.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    images = Emoji().split("train").batch(torch.arange(1024))[0]
    x = (codec.moments(images)[:, :4] - codec.shift) * codec.scaling
    assert abs(float(x.mean())) < 1e-4
    assert 0.1 < float(x.std()) <= 1.001  # of the means alone
    latent = ("experiment=emoji_latent", "debug=tiny", "hardware=cpu", "callbacks=minimal", "network=mlp", "n=8")
    latent = (*latent, "metrics=[]", "codec.run=runs/ae")
    done = mezzotint("train", *latent, "name=online")
    assert done.code == 0, done.err
    assert mezzotint("encode", "experiment=emoji_latent", "codec.run=runs/ae", "out=latents").code == 0
    done = mezzotint("train", *latent, "data=latents", "data.root=latents", "name=cached")
    assert done.code == 0, done.err
    assert (home / "runs/cached/checkpoints").exists()


def test_a_killed_autoencoder_goes_on(mezzotint: Any, home: Path) -> None:
    words = (*TRAIN, *SMALL, "metrics=[]", "optimizer.decay=constant", "optimizer.warmup=16", "ema.halflife=16")
    assert mezzotint(*words, "name=whole", "budget=96").code == 0
    assert mezzotint(*words, "name=parts", "budget=48").code == 0
    assert mezzotint("train", "run=runs/parts", "budget=96").code == 0
    one, two = (load(f"runs/{name}").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    file = "autoencoder/diffusion_pytorch_model.safetensors"
    assert (home / "runs/whole" / file).read_bytes() == (home / "runs/parts" / file).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("codec.run=nowhere",), "has no autoencoder/config.json"),
        (("codec.directory=vae",), "give codec.directory, the folder of an autoencoder, or codec.run"),
        (("codec.run=null",), "give codec.directory, the folder of an autoencoder, or codec.run"),
    ],
)
def test_what_is_no_autoencoder_is_one_line(mezzotint: Any, home: Path, words: tuple[str, ...], said: str) -> None:
    done = mezzotint("train", "experiment=emoji_latent", "debug=tiny", "hardware=cpu", *words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
