"""A parameter that the loss does not reach is named before several processes would wait for its gradient."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mezzotint.app.assembly.dry_run import dry_run_without_data
from mezzotint.app.assembly.gradients import unreached
from mezzotint.app.config import arguments
from mezzotint.app.config.resolve import resolve
from mezzotint.app.help import choices, config_dir

from ..conftest import Command

ROOT = config_dir()
TWO = ("hardware=cpu", "hardware.devices=2", "hardware.timeout=60")
TINY = ("batch_size=16", "budget=64", "grid.steps=2", "n=4", "metrics=[]", "callbacks=minimal")
OWN = '''
import torch
from mezzotint.networks import MLP

class Idle(MLP):
    """With a branch that is switched off."""
    def __init__(self, shape, classes=0, frozen=False):
        super().__init__(shape, classes, width=16)
        self.side = torch.nn.Linear(3, 3).requires_grad_(not frozen)

class Blind(Idle):
    """Looks at a number, which tensors without memory do not have."""
    def forward(self, x, time, label=None):
        assert float(x.square().mean()) >= 0
        return super().forward(x, time, label)
'''


@pytest.fixture
def own(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = home.parent / "code"
    folder.mkdir()
    (folder / "idle_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    return folder


def network(name: str, *more: str) -> tuple[str, ...]:
    return ("network=mlp", f"network._target_=idle_networks.{name}", "~network.width", "~network.layers", *more)


@pytest.mark.parametrize("command", ["check", "train"])
def test_several_processes_refuse_an_idle_parameter(command: str, mezzotint: Command, own: Path, home: Path) -> None:
    done = mezzotint(command, *network("Idle"), *TINY, *TWO)
    assert done.code == 2
    said = "network.side.weight gets no gradient from the loss (nor do 1 more), and 2 processes would wait for it. "
    assert done.err.splitlines()[-1].startswith(f"mezzotint {command}: {said}")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "more", [network("Idle", "+network.frozen=true"), (*network("Idle"), "hardware.strategy=fsdp")]
)
def test_what_is_frozen_or_in_shards_is_no_fault(more: tuple[str, ...], mezzotint: Command, own: Path) -> None:
    assert mezzotint("check", *TINY, *TWO, *more).code == 0


def test_one_process_says_so_and_trains(mezzotint: Command, own: Path) -> None:
    said = "network.side.weight gets no gradient from the loss (nor do 1 more)"
    looked = mezzotint("check", *network("Idle"), *TINY, "hardware=cpu")
    assert looked.code == 0
    assert said in looked.out
    done = mezzotint("train", *network("Idle"), *TINY, "hardware=cpu")
    assert done.code == 0
    assert f"{said}: it keeps its initial value\n" in done.err


def test_what_could_not_be_rehearsed_ends_in_one_line(process: Command, own: Path) -> None:
    done = process("train", *network("Blind"), *TINY, *TWO, "name=a")
    assert done.code in (1, 2)
    assert "network.side.weight got no gradient in a step" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


AUTOENCODER = {"_class_name": "AutoencoderKL", "block_out_channels": [4] * 4, "latent_channels": 4, "in_channels": 3}
TEACHER = f"objective.teacher.directory={Path(__file__).parents[2] / 'old_runs/runs/finished'}"
WORDS = [
    *([f"experiment={name}"] for name in choices(ROOT / "experiment")),
    *(["schedule=learned", f"loss={name}"] for name in choices(ROOT / "loss") if name != "hybrid"),
    *(["schedule=learned", f"target={name}"] for name in choices(ROOT / "target")),
    *([f"objective={name}"] for name in ("simple", "offset_noise", "ot_paired_noise")),
    ["objective=consistency", "sampler=lcm", "grid.steps=1"],
    ["objective=continuous_consistency", "sampler=lcm", "grid.steps=1", "schedule=trigflow", "target=edm"],
    ["objective=consistency_distillation", "sampler=lcm", "grid.steps=1", TEACHER],
    ["objective=mean_flow", "schedule=rectified", "target=flow", "sampler=mean_flow"],
    *([f"objective={name}", TEACHER] for name in ("reflow", "progressive_distillation")),
    ["objective=augmented", "network.augmentation=9"],
    ["loss=hybrid", "network.learned_variance=true"],
    [
        "loss=variational",
        "network.learned_variance=true",
        "loss.variance._target_=mezzotint.diffusion.LearnedRangeVariance",
    ],
    ["objective.self_conditioning=0.5", "network.self_conditioning=true", "guidance=self_conditioned"],
    ["data.classes=0"],
    ["network.classes=20"],
    ["network.scale_shift=true", "network.resample=residual"],
    ["hardware.checkpointing=true"],
    ["network=mlp"],
    ["time_distribution=loss_aware"],
    ["loss_weight=uncertainty"],
]


def test_every_objective_is_tried() -> None:
    tried = {word.partition("=")[2] for words in WORDS for word in words if word.startswith("objective=")}
    assert tried == {*choices(ROOT / "objective")} - {"autoencoder"}  # which experiment=emoji_autoencoder has


@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(words).replace(TEACHER, "teacher"))
def test_all_that_is_ours_is_reached(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra import compose, initialize_config_dir

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sd-vae-ft-ema").mkdir()
    (tmp_path / "sd-vae-ft-ema" / "config.json").write_text(json.dumps(AUTOENCODER))
    own = tmp_path / "runs" / "emoji_autoencoder" / "autoencoder"
    own.mkdir(parents=True)
    (own / "config.json").write_text(json.dumps(AUTOENCODER | {"block_out_channels": [8] * 3}))
    if words[0].startswith("experiment=imagenet"):
        words = [*words, "data.classes=1000"]  # what its folder would say
    with initialize_config_dir(str(ROOT), version_base="1.3"):
        config = resolve(compose(arguments.CONFIG, [arguments.addable(word) for word in [*words, *TWO]]))
    assert dry_run_without_data(config).unreached == ()


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle, self.still = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.still.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x) + self.still(x)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_idle_one_is_named_and_no_gradient_is_left(device: str) -> None:
    module = Branches().to(device)
    parameters = dict(module.named_parameters())
    assert unreached(module(torch.ones(1, 2, device=device)), parameters) == ("idle.weight",)
    assert all(p.grad is None for p in parameters.values())
    assert unreached(torch.zeros(1), parameters) == ("used.weight", "idle.weight")


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_is_recomputed_is_reached(reentrant: bool) -> None:
    layer = nn.Linear(2, 2)
    result = checkpoint(layer, torch.ones(1, 2, requires_grad=True), use_reentrant=reentrant)
    assert unreached(result, dict(layer.named_parameters())) == ()
