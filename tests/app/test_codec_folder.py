"""The autoencoder of somebody else's run: its folder is read as data, and what it lacks is one line."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

QUICK = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "network=mlp", "n=4", "metrics=[]")
WEIGHTS = "diffusion_pytorch_model.safetensors"


class Evil:
    """Unpickling it writes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("PWNED"),)


@pytest.fixture
def trained(mezzotint: Any, home: Path) -> Path:
    """The folder of the autoencoder that a run of latents names."""
    diffusers = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    torch.manual_seed(0)
    diffusers.AutoencoderKL(
        1, 1, **blocks, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=3
    ).save_pretrained("vae")
    words = ("data=digits", "codec=autoencoder", "codec.directory=vae", "experiment=digits_ddpm", "name=a")
    done = mezzotint("train", *words, *QUICK)
    assert done.code == 0, done.err
    return home / "vae"


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil()))


def disguised(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Evil()))


def sharded(folder: Path) -> None:
    """An index beside the weights, which leads to pickles."""
    index = {"metadata": {"total_size": 9}, "weight_map": {"encoder.conv_in.weight": "shard.bin"}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    (folder / "shard.bin").write_bytes(pickle.dumps(Evil()))


def gone(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def nested(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 200_000)


def mistyped(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"block_out_channels": 8}))


def mismatched(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"block_out_channels": [16, 16]}))


REFUSED = {
    pickled: "weights in other formats are not read",
    disguised: "is no readable AutoencoderKL",
    gone: "give codec.directory=",
    nested: "cannot be read",
    mistyped: "is not a config of a diffusers AutoencoderKL",
    mismatched: "is no readable AutoencoderKL",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_a_folder_that_cannot_be_used_is_one_line(mezzotint: Any, trained: Path, change: Any) -> None:
    change(trained)
    done = mezzotint("sample", "run=runs/a", "n=2", "out=drawn")
    assert done.code == 2
    assert REFUSED[change] in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not Path("PWNED").exists()


def test_other_files_of_the_folder_are_not_read(mezzotint: Any, trained: Path) -> None:
    before = mezzotint("sample", "run=runs/a", "n=2", "out=before", "save=npz")
    assert before.code == 0, before.err
    sharded(trained)
    assert mezzotint("sample", "run=runs/a", "n=2", "out=after", "save=npz").code == 0
    assert not Path("PWNED").exists()
    (one,), (two,) = (sorted(Path(name).glob("*.npz")) for name in ("before", "after"))
    assert one.read_bytes() == two.read_bytes()


def test_a_moved_folder_is_named_in_the_command(mezzotint: Any, trained: Path) -> None:
    gone(trained)
    done = mezzotint("sample", "run=runs/a", "n=2", "out=drawn", "codec.directory=elsewhere")
    assert done.code == 0, done.err
