"""What `fit` leaves is a run: it loads, is listed and drawn from; what cannot be described is said in one line."""

import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny import BATCH, Noise
from tiny import train as tiny_train
from torch import nn

import mezzotint
from mezzotint.app import cli
from mezzotint.app.config.job import digest
from mezzotint.data import Digits
from mezzotint.diffusion import CosineSchedule, Denoiser, RectifiedFlowSchedule, Velocity
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build
from mezzotint.instantiate.locate import locate
from mezzotint.instantiate.nodes import Undescribed, node_of
from mezzotint.networks import MLP, UNet
from mezzotint.training import EMA, AdamW

SHAPE = (1, 4, 4)
OWN = """
from torch import nn

class Kept(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.width = width
        self.a, self.b = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x, time, label=None):
        return self.b(self.a(x).relu())

class Lost(Kept):
    def __init__(self, channels):
        super().__init__(channels)

class Lying(Kept):
    def __init__(self, width):
        super().__init__(width)
        self.width = width + 1
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "networks_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("networks_of_mine", None)
    return __import__("networks_of_mine")


def fitted(directory: Path, network: nn.Module, **changes: object) -> None:
    quiet = {"callbacks": None} | changes
    tiny_train(directory, steps=4, denoiser=Denoiser(network, CosineSchedule(), Velocity()), **quiet)


def test_a_run_of_fit_loads_and_gives_the_averaged_weights(tmp_path: Path) -> None:
    fitted(tmp_path / "a", MLP(SHAPE, 2, 16))
    checkpoint = torch.load(max((tmp_path / "a/checkpoints").glob("*.ckpt")), weights_only=True)
    average = next(iter(checkpoint["ema"].values()))
    loaded = mezzotint.load(tmp_path / "a")
    for name, weight in loaded.network.named_parameters():
        assert torch.equal(weight, average[f"denoiser.network.{name}"])


def test_commands_know_a_run_of_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    network = UNet((1, 8, 8), 10, 8, (1,), 1, (), groups=4)
    fitted(Path("runs/a"), network, dataset=Digits(), sampling=None)
    for words in (
        ["runs"],
        ["sample", "run=runs/a", "n=2", "grid.steps=2"],
        ["report", "runs/a"],
        ["check", "run=runs/a"],
    ):
        assert cli.main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "a    finished  64 of 64" in said
    assert len(list(Path("runs/a/samples").glob("*seed1*"))) == 3
    assert cli.main(["evaluate", "run=runs/a", "n=8", "grid.steps=2"]) == 0
    assert "fd_digits_8" in capsys.readouterr().out
    assert cli.main(["train", "run=runs/a", "budget=80", "callbacks=minimal", "n=8", "grid.steps=2"]) == 0
    assert "80 in 5 steps" in capsys.readouterr().out


def test_a_class_of_the_users_own_loads_by_his_word(tmp_path: Path, own: object) -> None:
    fitted(tmp_path / "a", own.Kept(4))
    with pytest.raises(ConfigError, match="allow="):
        mezzotint.load(tmp_path / "a")
    assert mezzotint.load(tmp_path / "a", allow=["networks_of_mine"]).network.width == 4


@pytest.mark.parametrize("name", ["Lost", "Lying"])
def test_what_cannot_be_described_is_said_and_nothing_wrong_is_written(
    tmp_path: Path, own: object, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted(tmp_path / "a", getattr(own, name)(4))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "config.yaml" in line]
    assert "network is left out" in line
    config = yaml.safe_load((tmp_path / "a/config.yaml").read_text())
    assert config["network"] is None
    with pytest.raises(ConfigError, match="no network"):
        mezzotint.load(tmp_path / "a", allow=["networks_of_mine"])


def test_a_config_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 3\n")
    fitted(tmp_path, MLP(SHAPE, 2, 16))
    assert (tmp_path / "config.yaml").read_text() == "seed: 3\n"
    assert not (tmp_path / "status.json").exists()


def test_a_run_that_fails_and_goes_on_says_so(tmp_path: Path) -> None:
    class Fails(Noise):
        def split(self, name: str) -> object:
            raise RuntimeError("no such disk")

    with pytest.raises(RuntimeError, match="no such disk"):
        fitted(tmp_path, MLP(SHAPE, 2, 16), dataset=Fails())
    assert '"state": "failed"' in (tmp_path / "status.json").read_text()
    fitted(tmp_path, MLP(SHAPE, 2, 16))
    assert '"state": "finished"' in (tmp_path / "status.json").read_text()
    assert f'"images": {4 * BATCH}' in (tmp_path / "status.json").read_text()


def test_what_is_described_is_built_again() -> None:
    for part in (CosineSchedule(steps=10), RectifiedFlowSchedule(), AdamW(lr=1e-3), EMA([0.1, 0.5]), Digits()):
        node = node_of(part)
        assert node_of(build(node)) == node
    assert node_of({"a": (1, None, "x")}) == {"a": [1, None, "x"]}
    with pytest.raises(Undescribed, match="any number"):
        node_of(nn.Sequential())


@pytest.mark.parametrize("part", [CosineSchedule(steps=10), AdamW(lr=1e-3), EMA(0.1), Digits(), MLP((1, 8, 8))])
def test_a_class_is_named_where_it_is_public(part: object) -> None:
    path = node_of(part)["_target_"]
    room, name = type(part).__module__.split(".")[1], type(part).__name__
    assert path == f"mezzotint.{room}.{name}"
    assert locate(path) is type(part)


def test_the_module_of_a_class_loads_and_digests_as_its_public_path() -> None:
    """Runs were written with modules, from which classes may move."""
    public = {"schedule": {"_target_": "mezzotint.diffusion.CosineSchedule", "steps": 10}}
    for module in (CosineSchedule.__module__, "mezzotint.diffusion.schedules.elsewhere"):
        saved = {"schedule": {"_target_": f"{module}.CosineSchedule", "steps": 10}}
        assert build(saved["schedule"]) == CosineSchedule(steps=10)
        assert digest(saved) == digest(public)
    with pytest.raises(ConfigError, match=r"no module|No module"):
        locate("mezzotint.diffusion.schedules.elsewhere.NoSuchSchedule")
