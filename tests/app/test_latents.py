"""`mezzotint encode` and training on what it wrote, by the commands of a user."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mezzotint.runs.checkpoints import newest, read

QUICK = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "network=mlp", "n=8", "metrics=[]", "seed=1")
ENCODE = ("encode", "data=emoji", "data.flip=true", "codec=autoencoder", "codec.directory=vae", "hardware=cpu")
ON_LATENTS = ("train", "data=latents", "data.root=latents", *QUICK)


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an autoencoder and the latents of the emoji."""
    from mezzotint.app import cli

    diffusers = pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("encoded")
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    diffusers.AutoencoderKL(
        **blocks, block_out_channels=(4,) * 4, norm_num_groups=2, latent_channels=2, layers_per_block=1
    ).save_pretrained(folder / "vae")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main([*ENCODE, "out=latents"]) == 0
    return folder


@pytest.fixture
def there(encoded: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with links to both."""
    for name in ("vae", "latents"):
        (home / name).symlink_to(encoded / name)
    return home


def weights(run: Path) -> dict[str, torch.Tensor]:
    file = newest(run / "checkpoints")
    assert file
    return read(file)["state_dict"]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.safetensors"))}


def test_latents_are_trained_and_samples_are_images(mezzotint: Any, there: Path) -> None:
    done = mezzotint(*ON_LATENTS, "name=a", "metrics=[fid]", "extractor=raw")
    assert done.code == 0, done.err
    config = yaml.safe_load((there / "runs/a/config.yaml").read_text())
    manifest = json.loads((there / "latents/manifest.json").read_text())
    assert config["codec"]["mean"] == manifest["mean"]
    assert config["codec"]["std"] == manifest["std"]
    assert config["network"]["shape"] == [2, 4, 4]
    assert config["data"]["shape"] == [3, 32, 32]
    assert config["data"]["flip"] is True
    assert config["data"]["source"]["_target_"] == "mezzotint.data.Emoji"
    (file,) = (there / "runs/a/evaluation").glob("*.json")
    assert "fd_raw_8" in json.loads(file.read_text())["values"]
    assert mezzotint("sample", "run=runs/a", "n=4", "save=png", "out=drawn", "label=3").code == 0
    assert len(list((there / "drawn").rglob("*.png"))) >= 4
    assert mezzotint("plot", "run=runs/a", "kind=neighbours", "n=2").code == 0
    assert "nothing to do" in mezzotint(*ON_LATENTS, "name=a", "metrics=[fid]", "extractor=raw").out
    assert mezzotint("check", "run=runs/a").code == 0


def test_a_run_goes_on_as_if_it_had_not_stopped(mezzotint: Any, there: Path) -> None:
    assert mezzotint(*ON_LATENTS, "name=whole", "budget=128").code == 0
    assert mezzotint(*ON_LATENTS, "name=parts", "budget=64", "optimizer.decay=constant").code == 0
    assert mezzotint(*ON_LATENTS, "name=whole2", "budget=128", "optimizer.decay=constant").code == 0
    assert mezzotint("train", "run=runs/parts", "budget=128").code == 0
    one, two = (weights(there / "runs" / name) for name in ("whole2", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_two_processes_encode_and_train_what_one_does(mezzotint: Any, there: Path) -> None:
    done = mezzotint(*ENCODE, "out=two", "hardware.devices=2")
    assert done.code == 0, done.err
    assert contents(there / "two") == contents(there / "latents")
    one, two = (json.loads((there / name / "manifest.json").read_text()) for name in ("latents", "two"))
    assert one | {"codec": two["codec"]} == two  # which has the path of the autoencoder
    assert mezzotint(*ON_LATENTS, "name=one").code == 0
    assert mezzotint(*ON_LATENTS, "name=two", "hardware.devices=2").code == 0
    one, two = (weights(there / "runs" / name) for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-6)


def test_encoding_goes_on_and_says_when_there_is_nothing_to_do(mezzotint: Any, there: Path) -> None:
    assert mezzotint(*ENCODE, "out=again").code == 0
    before = contents(there / "again")
    (there / "again/train-00002.safetensors").unlink()
    file = there / "again/test-00000.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    (there / "again/.train-00003.safetensors.0.part").mkdir()
    done = mezzotint(*ENCODE, "out=again")
    assert done.code == 0, done.err
    assert "1,700 train and 206 test images" in done.out
    assert contents(there / "again") == before
    assert not list((there / "again").glob(".*"))
    assert "nothing to do" in mezzotint(*ENCODE, "out=again").out


def test_the_identity_autoencoder_trains_what_the_pixels_train(mezzotint: Any, home: Path) -> None:
    (home / "mine/codec").mkdir(parents=True)
    (home / "mine/codec/identity.yaml").write_text(
        "# latents that are the pixels\n_target_: latent_data.Identity\nposterior: sample\n"
        "mean: [0, 0, 0]\nstd: [1, 1, 1]\n"
    )
    own = ("--config-dir", "mine", "trust=[latent_data]")
    assert mezzotint("encode", *own, "data=emoji", "data.flip=true", "codec=identity", "out=pixels").code == 0
    done = mezzotint("train", *own, "data=latents", "data.root=pixels", *QUICK, "name=latents")
    assert done.code == 0, done.err
    assert mezzotint("train", "data=emoji", "data.flip=true", *QUICK, "name=pixels").code == 0
    one, two = (weights(home / "runs" / name) for name in ("latents", "pixels"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    done = mezzotint("train", "data=latents", "data.root=pixels", *QUICK, "name=bad")
    assert done.code == 2
    assert "latent_data" in done.err


REFUSED = {
    "nowhere": ((*ON_LATENTS, "data.root=nowhere"), "has no manifest.json, so it holds no latents"),
    "other images": ((*ON_LATENTS, "data.source=null", "data.shape=[3,16,16]"), "leave it out"),
    "no autoencoder": (("encode", "data=emoji", "out=x"), "choose one, codec=autoencoder codec.directory=DIR"),
    "pixels": (("encode", "data=emoji", "codec=pixels", "out=x"), "choose one, codec=autoencoder"),
    "no place": (ENCODE, "give the folder for the latents"),
    "other batch": ((*ENCODE, "out=latents", "codec.batch=4"), "differ from these in batch"),
    "no latents": ((*ENCODE, "out=vae"), "holds something other than latents"),
    "latents": (("encode", "data=latents", "data.root=latents", "out=x"), "already holds latents"),
    "random crop": (
        ("encode", "data=image_folder", "data.root=.", "data.classes=0", "data.crop=random", *ENCODE[2:], "out=x"),
        "data.crop=random draws another part of an image at every visit, and latents are computed once",
    ),
    "codec": ((*ON_LATENTS, "codec=pixels"), "which an autoencoder decodes"),
    "many": ((*ENCODE, "-m", "out=a,b"), "encode one dataset after the other"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_one_line(mezzotint: Any, there: Path, case: str) -> None:
    words, said = REFUSED[case]
    done = mezzotint(*words)
    assert done.code in (1, 2)
    assert said in done.err
    assert case == "many" or len(done.err.strip().splitlines()) == 1
    assert not list(there.glob("runs/*/checkpoints"))


def test_another_autoencoder_is_one_line(mezzotint: Any, there: Path) -> None:
    import shutil

    shutil.copytree("vae", "other")
    file = Path("other/diffusion_pytorch_model.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    done = mezzotint(*ON_LATENTS, "codec=autoencoder", "codec.directory=other")
    assert done.code == 2
    assert "holds latents of another autoencoder" in done.err
    assert len(done.err.strip().splitlines()) == 1
