"""Every file of configs/ composes, is the call that it claims to be, and says what it is; every experiment trains."""

import json
from itertools import zip_longest
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from mezzotint.app import cli
from mezzotint.app.config import arguments
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import check_groups, resolve
from mezzotint.app.help import choices, config_dir, groups

ROOT = config_dir()
EXPERIMENTS = choices(ROOT / "experiment")
ROUNDS = list(zip_longest(*([f"{group}={choice}" for choice in choices(ROOT / group)] for group in sorted(groups()))))
NEEDS = {  # what only the user can know
    "data=image_folder": ["data.root=/x"],
    "data=array": ["data.root=/x.npy", "data.shape=[1,8]", "data.classes=0"],
    "data=latents": ["data.root=/x", "data.shape=[1,8,8]", "data.classes=0"],
    "codec=autoencoder": ["codec.directory=/x"],
    "codec=standardize": ["codec.mean=[0.5]", "codec.std=[1]", "codec.stored=float32"],
    "extractor=module": ["extractor.module={_target_: torch.nn.Flatten}"],
    **{f"data={kind}": ["data.root=/x", "data.classes=0"] for kind in ("zip", "tar", "parquet", "lmdb")},
    "data=npz": ["data.root=/x.npz", "data.shape=[1,8,8]"],
    "objective=consistency_distillation": ["objective.teacher.directory=/x"],
    "objective=progressive_distillation": ["objective.teacher.directory=/x"],
    "objective=reflow": ["objective.teacher.directory=/x"],
    "task=restore": ["task.operator={_target_: mezzotint.diffusion.AveragePooling}"],
    "guidance=autoguidance": ["guidance.weak.directory=/x"],
}


def composed(*overrides: str) -> Job:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT), version_base="1.3"):
        return resolve(compose(arguments.CONFIG, [arguments.addable(word) for word in overrides]))


@pytest.mark.parametrize("choice", range(len(ROUNDS)))
def test_every_choice_composes_and_is_a_call(choice: int) -> None:
    """The first of every group together, then the second; a fault is told with its group."""
    words = [word for word in ROUNDS[choice] if word]
    check_groups(composed(*words, *(need for word in words for need in NEEDS.get(word, []))))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("debug", ["null", *choices(ROOT / "debug")])
def test_every_experiment_composes_with_every_debug(experiment: str, debug: str) -> None:
    config = composed(f"experiment={experiment}", *([] if debug == "null" else [f"debug={debug}"]))
    check_groups(config)
    assert config.name == experiment


@pytest.mark.parametrize("callbacks", choices(ROOT / "callbacks"))
def test_callbacks_can_be_chosen_with_every_experiment(callbacks: str) -> None:
    for experiment in EXPERIMENTS:
        check_groups(composed(f"experiment={experiment}", f"callbacks={callbacks}"))


def test_without_a_word_the_digits_are_trained() -> None:
    assert composed() == composed("experiment=digits_ddpm")


@pytest.mark.parametrize("file", sorted(ROOT.glob("*/*.yaml")), ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_every_file_says_what_it_is(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert any(line.startswith("# ") and not line.startswith("# @") for line in lines[:2])
    yaml.safe_load(file.read_text())


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_opens_with_its_command_and_hardware(experiment: str) -> None:
    text = (ROOT / "experiment" / f"{experiment}.yaml").read_text()
    command = "mezzotint train" if experiment == "digits_ddpm" else f"mezzotint train experiment={experiment}"
    assert f"# command    {command}" in text
    assert "# hardware   " in text


def random_images(self: object, split: str) -> tuple[np.ndarray, np.ndarray]:
    """In the place of files that a test cannot count on."""
    random = np.random.default_rng(len(split))
    pixels = random.integers(0, 256, (64, *self.shape), dtype=np.uint8)
    return pixels, np.arange(64) % 10


def write_photographs(folder: Path) -> None:
    """16 images of 64 x 64 in two classes, for training and held out."""
    pixels, _ = random_images(SimpleNamespace(shape=(64, 64, 3)), "train")
    for i, image in enumerate(pixels[:32]):
        place = folder / ("train" if i < 16 else "val") / str(i % 2)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")


def write_own_autoencoder(run: Path) -> None:
    """An autoencoder of our own with random weights, as a finished run has it."""
    from safetensors.torch import save_file

    from mezzotint.networks import Autoencoder

    network = Autoencoder((3, 32, 32), widths=(8, 8, 8), groups=4)
    (run / "autoencoder").mkdir(parents=True)
    save_file(network.state_dict(), run / "autoencoder/diffusion_pytorch_model.safetensors")
    (run / "autoencoder/config.json").write_text(json.dumps(network.description()))


def write_autoencoder(folder: Path) -> None:
    """An autoencoder of diffusers with random weights: three halvings to four channels."""
    diffusers = pytest.importorskip("diffusers")
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    diffusers.AutoencoderKL(block_out_channels=(4,) * 4, norm_num_groups=2, **blocks).save_pretrained(folder)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains_draws_and_judges(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mezzotint.data import CIFAR10, FashionMNIST

    for dataset in (CIFAR10, FashionMNIST):
        monkeypatch.setattr(dataset, "read", random_images)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    if experiment.startswith("imagenet"):
        write_photographs(tmp_path / "imagenet")
    if "sd-vae-ft-ema" in (ROOT / "experiment" / f"{experiment}.yaml").read_text():
        write_autoencoder(tmp_path / "sd-vae-ft-ema")
    write_own_autoencoder(tmp_path / "runs/emoji_autoencoder")
    small = ["data.shape=[3,64,64]"] if experiment.startswith("imagenet") else []
    fewer = ["callbacks.validation.images=16", "callbacks.preview.images=4"]
    words = [f"experiment={experiment}", "debug=tiny", "hardware=cpu", "reference=test", "name=a", *small]
    code = cli.main(["train", *words, *fewer])
    assert code == 0, capsys.readouterr().err
    assert '"state": "finished"' in (tmp_path / "runs/a/status.json").read_text()
    drawn = list((tmp_path / "runs/a/samples").glob("*-seed0-*"))  # data that are not images lie in an npz file too
    pictures = [file for file in drawn if file.suffix != ".npz" and not file.stem.endswith("-frames")]  # of videos
    assert len(pictures) == 3
    judged = list((tmp_path / "runs/a/evaluation").iterdir())
    assert len(judged) == 1 or "No distances will be computed" in capsys.readouterr().out
