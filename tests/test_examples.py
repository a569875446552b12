"""The programs in examples/ run."""

import json
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mezzotint.training import DiffusionModule

ROOT = Path(__file__).parents[1]


@pytest.mark.filterwarnings("ignore:You have overridden `transfer_batch_to_device`")
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
@pytest.mark.filterwarnings("ignore:.*in module <module>")
def test_a_lightning_program_trains_stops_goes_on_and_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")
    import plain_lightning

    made: list[pl.Trainer] = []
    make = plain_lightning.trainer
    monkeypatch.setattr(plain_lightning, "trainer", lambda *given: kept(made, make(*given)))
    loaded = plain_lightning.main()
    assert isinstance(loaded, DiffusionModule)
    first, second = made
    assert first.current_epoch < first.max_epochs == 60  # stopped early
    saved = torch.load("plain/best.ckpt", weights_only=True)
    assert 0 < saved["global_step"] <= first.global_step
    assert second.global_step > saved["global_step"]  # resumed
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, saved["state_dict"][name])
    averages = saved["callbacks"]["EMA"]["0.05"]
    assert averages.keys() == {name for name, _ in loaded.named_parameters()}
    assert list(Path("plain/samples").glob("step-*.png"))
    assert {"loss", "lr-AdamW", "sample_metrics/fd_digits_200"} <= inspect(next(Path("plain/wandb").glob("offline-*")))


def kept(made: list[pl.Trainer], trainer: pl.Trainer) -> pl.Trainer:
    made.append(trainer)
    return trainer


def inspect(part: Path) -> set[str]:
    """The names that an offline run of W&B has logged, by W&B's own reader."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(next(part.glob("*.wandb")))]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    return set(json.loads(done.stdout)["summary"])


def test_the_lightning_program_is_short() -> None:
    lines = (ROOT / "examples/plain_lightning.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 40


FOREIGN = """
module:
  _target_: mezzotint.training.DiffusionModule
  denoiser:
    _target_: mezzotint.diffusion.Denoiser
    network: {_target_: mezzotint.networks.MLP, shape: [1, 4, 4], width: 8}
    schedule: {_target_: mezzotint.diffusion.CosineSchedule}
    target: {_target_: mezzotint.diffusion.Velocity}
  objective: {_target_: mezzotint.diffusion.Objective}
  optimizer: {_target_: mezzotint.training.AdamW}
callbacks:
  - _target_: mezzotint.training.EMA
    halflife: [0.05, 0.1]
  - _target_: mezzotint.training.Preview
    images: 4
    sampling:
      _target_: mezzotint.generation.SamplingRecipe
      sampler: {_target_: mezzotint.diffusion.DDIM}
      grid: {_target_: mezzotint.diffusion.Trailing, steps: 3}
  - {_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: loss, check_on_train_epoch_end: true}
trainer:
  _target_: lightning.pytorch.Trainer
  max_epochs: 1
  accelerator: cpu
  logger: false
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_another_programs_hydra_config_names_them(tmp_path: Path) -> None:
    config = OmegaConf.create(FOREIGN)
    callbacks = list(instantiate(config.callbacks))
    trainer: pl.Trainer = instantiate(config.trainer, callbacks=callbacks, default_root_dir=str(tmp_path))
    module = instantiate(config.module)
    trainer.fit(module, torch.utils.data.DataLoader(torch.rand(32, 1, 4, 4) * 2 - 1, batch_size=8))
    assert (tmp_path / "samples/step-00000004.png").is_file()
    assert trainer.callback_metrics["loss"] > 0
