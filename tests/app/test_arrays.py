"""Data that are not images go the same way: train, resume, sample, evaluate, report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from mezzotint.runs import RunDir
from mezzotint.runs.checkpoints import newest, read

QUICK = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "network=mlp", "n=8")
SERIES = ("data=array", "data.root=series.npy")


@pytest.fixture
def files(home: Path) -> Path:
    """60 float32 series of two channels around 300, and 40 uint16 volumes of two classes."""
    random = np.random.default_rng(0)
    series = (300 + 20 * random.standard_normal((60, 2, 12)).cumsum(2)).astype(np.float32)
    np.save(home / "series.npy", series)
    volumes = random.integers(0, 3000, (40, 1, 2, 3, 4)).astype(np.uint16)
    np.savez(home / "volumes.npz", data=volumes, labels=np.arange(40) % 2)
    return home


def weights(run: Path) -> dict[str, torch.Tensor]:
    file = newest(run / "checkpoints")
    assert file
    return read(file)["state_dict"]


def array(place: Path, pattern: str) -> dict[str, np.ndarray]:
    (file,) = place.glob(pattern)
    with np.load(file, allow_pickle=False) as found:
        return dict(found) if file.suffix == ".npz" else {"data": found}


def test_series_are_trained_sampled_evaluated_and_reported(mezzotint: Any, files: Path) -> None:
    words = (*SERIES, *QUICK, "name=a", "metrics=[fid,kid,precision_recall,memorisation]")
    done = mezzotint("train", *words)
    assert done.code == 0, done.err
    run = files / "runs" / "a"
    config = yaml.safe_load((run / "config.yaml").read_text())
    series = np.load("series.npy")
    assert config["data"]["shape"] == config["network"]["shape"] == [2, 12]
    assert config["codec"]["mean"] == pytest.approx(series.mean((0, 2)), rel=1e-5)
    assert config["guidance"]["_target_"].endswith("no_guidance")
    drawn = array(run / "samples", "*.npz")["data"]
    assert drawn.dtype == np.float32
    assert drawn.shape[1:] == (2, 12)
    assert abs(drawn.mean() - 300) < 100
    (file,) = (run / "evaluation").glob("*.json")
    found = json.loads(file.read_text())
    assert {"fd_raw_8", "kd_raw_8", "precision_raw_8", "copied_raw_8"} <= found["values"].keys()
    assert found["protocol"]["format"] == "float32, uncompressed"
    assert "nothing to do" in mezzotint("train", *words).out
    assert mezzotint("sample", "run=runs/a", "n=3", "save=npy", "out=drawn").code == 0
    (file,) = (files / "drawn").glob("*.npy")
    np.testing.assert_allclose(np.load(file), drawn[:3], rtol=1e-5)
    assert mezzotint("evaluate", "run=runs/a", "n=20", "extractor=spectral", "metrics=[fid]").code == 0
    assert mezzotint("plot", "run=runs/a", "kind=neighbours", "n=3").code == 0
    assert mezzotint("report", "runs/a", "out=page.html").code == 0
    content = (files / "page.html").read_text().partition('id="content">')[2].partition("</script>")[0]
    images = json.loads(content)["runs"][0]["images"]
    assert images


def test_volumes_with_classes_come_back_in_their_type(mezzotint: Any, files: Path) -> None:
    words = ("data=array", "data.root=volumes.npz", "data.member=data", "data.labels=labels", "metrics=[]")
    assert mezzotint("train", *words, *QUICK, "name=v").code == 0
    drawn = array(files / "runs" / "v" / "samples", "*.npz")
    assert drawn["data"].dtype == np.uint16
    assert drawn["data"].shape[1:] == (1, 2, 3, 4)
    assert {*drawn["labels"].tolist()} == {0, 1}
    (moving,) = (files / "runs" / "v" / "samples").glob("*-frames.gif")
    with Image.open(moving) as animation:
        assert animation.n_frames == 2


def test_a_config_of_ones_own_may_leave_out_what_the_file_says(mezzotint: Any, files: Path) -> None:
    """Shape, classes and labels: as in docs/conditions.md."""
    (files / "mine" / "data").mkdir(parents=True)
    node = "_target_: mezzotint.data.ArrayFile\nroot: volumes.npz\nmember: data\nlabels: labels\n"
    (files / "mine" / "data" / "volumes.yaml").write_text(f"# volumes of two classes\n{node}")
    words = ("--config-dir", "mine", "data=volumes", *QUICK, "name=v", "metrics=[]")
    done = mezzotint("train", *words)
    assert done.code == 0, done.err
    assert RunDir(files / "runs" / "v").config()["data"] == {
        "_target_": "mezzotint.data.ArrayFile",
        "root": str(files / "volumes.npz"),
        "member": "data",
        "labels": "labels",
        "shape": [1, 2, 3, 4],
        "classes": 2,
    }


def test_a_run_goes_on_with_its_moments_where_the_data_were_moved(mezzotint: Any, files: Path) -> None:
    words = (*SERIES, *QUICK, "metrics=[]")
    assert mezzotint("train", *words, "name=twice", "budget=64").code == 0
    config = RunDir(files / "runs" / "twice").config()
    (files / "elsewhere").mkdir()
    (files / "series.npy").rename(files / "elsewhere" / "moved.npy")
    resumed = ("run=runs/twice", "budget=128", "data.root=elsewhere/moved.npy")
    assert mezzotint("train", *resumed).code == 0
    assert RunDir(files / "runs" / "twice").config()["codec"] == config["codec"]
    assert RunDir(files / "runs" / "twice").newest_step() == 8


def test_two_processes_train_what_one_trains(mezzotint: Any, files: Path) -> None:
    words = (*SERIES, *QUICK, "metrics=[]")
    assert mezzotint("train", *words, "name=one").code == 0
    assert mezzotint("train", *words, "name=two", "hardware.devices=2").code == 0
    one, two = (weights(files / "runs" / name) for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-6)


REFUSED = {
    "nan": ((), "entry 5, channel 1 holds nan"),
    "clip": (("guidance=clip",), "the data have no bounds"),
    "nll": (("metrics=[nll]",), "leave metrics=nll out"),
    "image network": (("extractor=inception",), "extractor=raw or spectral"),
    "channels": (("codec=standardize", "codec.mean=[0]", "codec.std=[1]"), "mean and std of 1 channels"),
    "pixels": (("codec=pixels",), "PixelCodec encodes uint8, and was given float32"),
    "augmented": (("objective=augmented",), "is for height and width"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_training(mezzotint: Any, files: Path, case: str) -> None:
    more, said = REFUSED[case]
    if case == "nan":
        series = np.load("series.npy")
        series[5, 1, 3] = np.nan
        np.save("series.npy", series)
    done = mezzotint("train", *SERIES, *QUICK, "name=bad", *more)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (files / "runs" / "bad" / "checkpoints").exists()


def test_data_without_a_file_are_refused_by_their_key(mezzotint: Any, files: Path) -> None:
    done = mezzotint("train", "data=array", *QUICK)
    assert done.code == 2
    assert "data.root: a value is needed; give data.root=FILE" in done.err


def test_values_near_the_end_of_their_type_are_refused_before_training(mezzotint: Any, files: Path) -> None:
    np.save("loud.npy", np.random.default_rng(0).uniform(-6e4, 6e4, (40, 1, 8)).astype(np.float16))
    done = mezzotint("train", "data=array", "data.root=loud.npy", *QUICK, "name=loud")
    assert done.code == 2
    assert "float16 ends at 65504, so samples would not fit" in done.err
    bounds = ("codec=standardize", "codec.low=-60000", "codec.high=60000")
    assert mezzotint("train", "data=array", "data.root=loud.npy", *QUICK, *bounds, "metrics=[]", "name=loud").code == 0
    drawn = array(files / "runs" / "loud" / "samples", "*.npz")["data"]
    assert np.abs(drawn).max() <= 60000


def test_png_files_of_series_are_refused(mezzotint: Any, files: Path) -> None:
    assert mezzotint("train", *SERIES, *QUICK, "name=a", "metrics=[]").code == 0
    done = mezzotint("sample", "run=runs/a", "save=png")
    assert done.code == 2
    assert "save=npz or npy" in done.err


def test_latents_are_trained_on_and_images_are_drawn(mezzotint: Any, files: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    torch.manual_seed(0)
    diffusers.AutoencoderKL(
        1, 1, **blocks, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=3
    ).save_pretrained("vae")
    latents = ("data=digits", "codec=autoencoder", "codec.directory=vae", "metrics=[fid]")
    done = mezzotint("train", *latents, *QUICK, "name=latent", "experiment=digits_ddpm")
    assert done.code == 0, done.err
    run = files / "runs" / "latent"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["network"]["shape"] == [3, 4, 4]
    assert Path(config["codec"]["directory"]).is_absolute()
    (file,) = (run / "evaluation").glob("*.json")
    assert "fd_digits_8" in json.loads(file.read_text())["values"]
    assert mezzotint("sample", "run=runs/latent", "n=4", "save=npz", "out=drawn").code == 0
    assert array(files / "drawn", "*.npz")["images"].shape == (4, 8, 8, 1)
    done = mezzotint("train", "data=digits", "codec=autoencoder", "codec.directory=nowhere", *QUICK, "name=bad")
    assert done.code == 2
    assert "diffusers AutoencoderKL" in done.err
