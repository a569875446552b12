"""`mezzotint import`: the run that it makes is sampled and trained on, and refusals are one line."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mezzotint as package
from mezzotint.networks import DiT, EDM2UNet, LinearAttentionUNet, SongUNet, UNet
from mezzotint.runs import RunDir
from mezzotint.runs.published import dit, edm, guided, lucidrains
from mezzotint.runs.published.entries import write_state


@pytest.fixture
def weights(home: Path) -> Path:
    """A file of EDM for 8 x 8 digits, and the network that it was written from."""
    torch.manual_seed(0)
    network = SongUNet((1, 8, 8), classes=10, width=16, multipliers=(1,), blocks=1, attention=(8,))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    state = write_state(network.state_dict(), edm.song_unet(network))
    torch.save({f"model.{name}": value for name, value in state.items()}, home / "digits.pt")
    torch.save(network, home / "network.pt")
    return home / "digits.pt"


def test_an_imported_run_is_sampled_and_trained_on(mezzotint, weights: Path) -> None:
    done = mezzotint("import", "format=edm", "source=digits.pt", "data=digits")
    assert done.code == 0, done.err
    assert "numbers in" in done.out
    assert done.out.splitlines()[-1] == "run: runs/digits"
    network = torch.load("network.pt", weights_only=False)
    denoiser = package.load("runs/digits")
    x, time, label = torch.randn(2, 1, 8, 8), torch.tensor([0.1, -1.0]), torch.tensor([3, -1])
    with torch.no_grad():
        torch.testing.assert_close(denoiser.network(x, time, label), network.eval()(x, time, label), rtol=0, atol=0)

    assert mezzotint("sample", "run=runs/digits", "n=4", "grid.steps=6", "hardware=cpu").code == 0
    assert len(list(Path("runs/digits/samples").glob("*.png"))) == 2
    assert "finished" in mezzotint("runs").out

    words = (
        "budget=64",
        "batch_size=16",
        "n=16",
        "grid.steps=6",
        "hardware=cpu",
        "callbacks=minimal",
        "reference=test",
    )
    done = mezzotint("train", "init=runs/digits", "data=digits", "name=tuned", "network.width=32", *words)
    assert done.code == 2  # another network: no tensor of the digits' default U-Net fits
    config = RunDir(Path("runs/digits")).config()
    assert config["init"].endswith("runs/digits/checkpoints/step-00000000.ckpt")
    done = mezzotint("train", "run=runs/digits", *(word for word in words if not word.startswith("batch")))
    assert done.code == 0, done.err
    assert "init: " in done.out
    assert RunDir(Path("runs/digits")).status()["images"] == 64


@pytest.mark.parametrize("format", ["edm2", "guided_diffusion"])
def test_what_the_file_does_not_tell_is_said(format: str, mezzotint, home: Path) -> None:
    if format == "edm2":
        network = EDM2UNet((3, 8, 8), width=64, multipliers=(1, 2), blocks=1, attention=(4,))
        state = write_state(network.state_dict(), edm.edm2(network)) | {"logvar_fourier.freqs": torch.ones(1)}
    else:
        settings = {"attention": (32,), "scale_shift": True, "resample": "residual", "waves": "adm"}
        network = UNet((3, 32, 32), width=64, multipliers=(1, 2), blocks=1, head_width=64, **settings)
        state = write_state(network.state_dict(), guided.unet(network))
    torch.save(state, "weights.pt")
    done = mezzotint("import", f"format={format}", "source=weights.pt", "name=mine", "seed=3")
    assert done.code == 0, done.err
    assert RunDir(Path("runs/mine")).config()["seed"] == 3
    if format == "edm2":
        assert "left out, no part of the network: logvar_fourier.freqs" in done.out
    else:
        assert "assumed, since the file does not say it: data.shape=[3,32,32] schedule=linear" in done.out
        done = mezzotint("import", f"format={format}", "source=weights.pt", "name=other", "schedule=cosine")
        assert "schedule=cosine" not in done.out
        assert "Cosine" in RunDir(Path("runs/other")).config()["schedule"]["_target_"]
    again = mezzotint("import", f"format={format}", "source=weights.pt", "name=mine")
    assert again.code == 2
    assert "runs/mine exists; choose another name=" in again.err


@pytest.mark.parametrize(("format", "entries"), [("dit", dit.dit), ("sit", dit.sit)])
def test_a_network_of_latents_draws_latents_where_no_autoencoder_is_given(format, entries, mezzotint, home) -> None:
    network = DiT((4, 8, 8), classes=3, width=64, depth=1, learned_variance=format == "dit")
    torch.save(write_state(network.state_dict(), entries(network)) | {"pos_embed": network.positions[None]}, "xl.pt")
    done = mezzotint("import", f"format={format}", "source=xl.pt")
    assert done.code == 0, done.err
    assert "it is a network of latents, 4 x 8 x 8: for images give their autoencoder, codec=autoencoder" in done.out
    done = mezzotint("sample", "run=runs/xl", "n=2", "label=1", "guidance=cfg", "grid.steps=3", "hardware=cpu")
    assert done.code == 0, done.err
    (file,) = Path("runs/xl/samples").glob("*.npz")
    with np.load(file) as content:
        assert content["data"].shape == (2, 4, 8, 8)


def test_a_checkpoint_of_denoising_diffusion_pytorch_is_sampled(mezzotint, home: Path) -> None:
    network = LinearAttentionUNet((1, 8, 8), width=8, multipliers=(1, 2), heads=2, head_width=4)
    state = write_state(network.state_dict(), lucidrains.unet(network))
    torch.save({"step": 1, "model": {f"model.{name}": value for name, value in state.items()}}, "model-1.pt")
    done = mezzotint("import", "format=lucidrains", "source=model-1.pt", "data.shape=[1,8,8]")
    assert done.code == 0, done.err
    assert "assumed, since the file does not say it: schedule=sigmoid target=velocity" in done.out
    done = mezzotint("sample", "run=runs/model-1", "n=2", "grid.steps=3", "hardware=cpu")
    assert done.code == 0, done.err


class Hostile:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "format= is needed"),
        (("format=edm",), "source= is needed"),
        (("format=edn", "source=x"), "format=edn is not known; did you mean 'edm'?"),
        (("format=edm", "source=x.pt"), "source=x.pt: there is no such file"),
        (("format=edm", "source=hostile.pkl"), "would execute code when it is loaded (posix.system)"),
        (("format=edm2", "source=digits.pt"), "source=digits.pt: it has no levels enc.32x32_"),
        (("format=edm", "source=digits.pt", "network.width=32"), "map_label.weight is (16, 10) in the file"),
        (("format=diffusers", "source=."), "give the folder of a pipeline"),
        (("format=edm", "source=digits.pt", "--json"), "key=value only"),
        (("format=edm", "source=digits.pt", "attention_order=x"), "give new or legacy"),
        (("format=guided_diffusion", "source=digits.pt"), "has no tensor time_embed.0.weight"),
        (("format=edm", "source=digits.pt", "data.shape=3"), "data.shape=3: give three integers"),
    ],
    ids=str,
)
def test_refusals_are_one_line(words: tuple[str, ...], message: str, mezzotint, weights: Path) -> None:
    Path("hostile.pkl").write_bytes(pickle.dumps({"ema": Hostile()}))
    done = mezzotint("import", *words)
    assert done.code == 2
    assert message in done.err, done.err
    assert len(done.err.splitlines()) == 1
    assert not Path("executed").exists()
    assert not Path("runs").exists()


def test_help_names_every_format(mezzotint) -> None:
    from mezzotint.runs.published.formats import FORMATS

    printed = mezzotint("import", "--help").out
    assert all(name in printed for name in FORMATS)
    assert json.dumps("format") not in printed
