"""Callbacks of ours, and Lightning's beside them, in a Trainer of one's own, with data and loggers of one's own."""

import csv
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from board import inspect
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, Timer
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from tiny import BATCH, Noise, Pixels, denoiser, entries
from torch.utils.data import DataLoader, TensorDataset

from mezzotint.data import DataModule
from mezzotint.diffusion import DDIM, Objective, Trailing
from mezzotint.errors import ConfigError
from mezzotint.generation import SamplingRecipe
from mezzotint.metrics import FrechetDistance
from mezzotint.training import (
    CSV,
    EMA,
    AdamW,
    Callback,
    Checkpoints,
    DiffusionModule,
    Histograms,
    Log,
    NaNGuard,
    Preemption,
    Preview,
    Progress,
    SampleMetrics,
    TensorBoard,
    TrainingRun,
    Validation,
    WandB,
)

STEPS = 6
# of the tests' quiet loaders, and of a data module that trains without held-out images
pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
    pytest.mark.filterwarnings("ignore:You have overridden `transfer_batch_to_device`"),
]


class Pairs(pl.LightningDataModule):
    """Images as floats in [-1, 1] with their labels, from torch's own loader."""

    def __init__(self, labelled: bool = True) -> None:
        super().__init__()
        pixels, labels = Noise().split("train").batch(torch.arange(96))
        images = pixels / 127.5 - 1
        self.set = TensorDataset(images, labels) if labelled else TensorDataset(images)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.set, BATCH, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.set, BATCH)


def module(**more: Any) -> DiffusionModule:
    return DiffusionModule(denoiser(), Objective(label_dropout=0.2), AdamW(warmup=5 * BATCH), seed=1, **more)


def trainer(directory: Path, *callbacks: Any, **more: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "max_steps": STEPS}
    quiet |= {"enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks)}
    return pl.Trainer(accelerator="cpu", default_root_dir=directory, callbacks=list(callbacks), **(quiet | more))


def sample_metrics(**more: Any) -> SampleMetrics:
    return SampleMetrics(
        n=20,
        metrics={"fid": FrechetDistance(Pixels())},
        sampling=SamplingRecipe(DDIM(), Trailing(3)),
        reference=Noise().split("train"),
        **more,
    )


ALONE = [
    EMA,
    Validation,
    sample_metrics,
    lambda: Preview(images=4, sampling=SamplingRecipe(DDIM(), Trailing(3))),
    Progress,
    Histograms,
    NaNGuard,
    Preemption,
    Checkpoints,
    Log,
]


@pytest.mark.parametrize("make", ALONE)
def test_each_callback_works_alone(make: Any, tmp_path: Path) -> None:
    callback, trained = make(), module()
    assert isinstance(callback, pl.Callback)
    own = trainer(tmp_path, callback)
    own.fit(trained, Pairs())
    assert own.global_step == STEPS
    written = {file.name for file in tmp_path.rglob("*") if file.is_file()}
    expected = {
        Preview: {"step-00000006.png"},
        Histograms: {"histograms.jsonl"},
        Checkpoints: {"step-00000006.ckpt"},
        Log: {"metrics.jsonl"},
    }
    assert expected.get(type(callback), set()) <= written
    found = {Validation: "validation/loss", SampleMetrics: "sample_metrics/fd_pixels_20"}
    assert found.get(type(callback), "loss") in own.callback_metrics


def test_the_average_is_that_of_a_run_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    def averaged(*callbacks: Any, start: Path | None = None, **more: Any) -> EMA:
        ema = EMA(0.5)
        own = trainer(tmp_path, *callbacks, ema, **more)
        data = DataModule(Noise(), BATCH, seed=1)
        own.fit(module(budget=STEPS * BATCH, batch_size=BATCH), data, ckpt_path=start, weights_only=True)
        own.save_checkpoint(tmp_path / "last.ckpt")
        return ema

    class Look(Callback):
        def finish(self, run: TrainingRun) -> None:
            self.seen = {name: p.clone() for name, p in run.average().named_parameters()}

    look = Look()
    whole = averaged(look)  # is listed before the average, and sees that of the last step
    for name, p in whole.denoiser().named_parameters():
        assert torch.equal(p, look.seen[name])
    averaged(max_steps=2)
    resumed = averaged(start=tmp_path / "last.ckpt")
    one, two = (dict(entries(ema.state_dict())) for ema in (whole, resumed))
    # the half-life is a share of the steps that a Trainer plans, of which the first had fewer
    assert one.keys() == two.keys()
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert all(torch.equal(value, two[name]) for name, value in entries(saved["callbacks"]["EMA"]))


def test_lightnings_callbacks_and_loggers_find_what_they_look_at(tmp_path: Path) -> None:
    best, timer = ModelCheckpoint(monitor="sample_metrics/fd_pixels_20"), Timer()
    callbacks = [sample_metrics(every=2 * BATCH), EMA(), best, LearningRateMonitor(), timer]
    logger = CSVLogger(tmp_path / "csv")
    own = trainer(tmp_path, *callbacks, logger=logger, log_every_n_steps=1, profiler="simple")
    own.fit(module(), Pairs())
    with open(Path(logger.log_dir) / "metrics.csv", newline="") as file:
        columns = set(csv.DictReader(file).fieldnames or ())
    assert {"loss", "grad_norm", "lr", "lr-AdamW", "validation/loss", "sample_metrics/fd_pixels_20"} <= columns
    assert best.best_model_score is not None
    assert timer.time_elapsed() > 0


def logged(directory: Path, logger: Any) -> pl.Trainer:
    """A Trainer that has trained with a logger of ours, a preview and histograms."""
    preview = Preview(images=4, sampling=SamplingRecipe(DDIM(), Trailing(3)))
    own = trainer(directory, preview, Histograms(), logger=logger, log_every_n_steps=1)
    own.fit(module(), Pairs())
    return own


def test_our_csv_logs_in_any_trainer(tmp_path: Path) -> None:
    own = logged(tmp_path, CSV(tmp_path / "log"))
    with open(tmp_path / "log/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(STEPS))
    assert float(rows[-1]["loss"]) == pytest.approx(float(own.callback_metrics["loss"]))
    assert float(rows[-1]["validation/loss"]) == pytest.approx(float(own.callback_metrics["validation/loss"]))


def test_our_tensorboard_logs_in_any_trainer(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoard(tmp_path)
    assert isinstance(logger, pl.loggers.TensorBoardLogger)
    logged(tmp_path, logger)
    events = event_accumulator.EventAccumulator(logger.log_dir)
    events.Reload()
    assert logger.log_dir == str(tmp_path / "tensorboard")
    assert [event.step for event in events.Scalars("loss")] == list(range(STEPS))
    assert events.Images("samples")[-1].step == STEPS - 1
    assert events.Tags()["histograms"]
    assert events.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams"


def test_our_wandb_logs_in_any_trainer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logger = WandB(mode="offline", save_dir=tmp_path)
    assert isinstance(logger, pl.loggers.WandbLogger)
    logged(tmp_path, logger)
    assert f"`wandb sync {tmp_path}/wandb/offline-run-*` uploads it" in capfd.readouterr().err
    (piece,) = (tmp_path / "wandb").glob("offline-run-*")
    told = inspect(piece)
    assert told["exit_code"] == 0
    assert told["config"]["seed"] == 1
    assert told["summary"]["loss"] > 0
    assert told["summary"]["trainer/global_step"] == STEPS - 1
    assert list(piece.rglob("media/images/samples*.png"))


def test_early_stopping_ends_it_and_the_end_is_looked_at(tmp_path: Path) -> None:
    stop = EarlyStopping("validation/loss", min_delta=1e9, patience=1)
    own = trainer(tmp_path, stop, Log(), Checkpoints(), max_epochs=9, max_steps=-1)
    own.fit(module(), Pairs())
    assert own.global_step == 12  # two epochs of six steps
    assert (tmp_path / "checkpoints/step-00000012.ckpt").is_file()
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 12


def test_a_module_is_loaded_from_its_checkpoint_without_code(tmp_path: Path) -> None:
    trained, own = module(), trainer(tmp_path)
    own.fit(trained, Pairs())
    own.save_checkpoint(tmp_path / "last.ckpt")
    loaded = DiffusionModule.load_from_checkpoint(tmp_path / "last.ckpt")
    assert (loaded.seed, loaded.batch_size, loaded.budget) == (1, None, None)  # as they were given
    assert loaded.settings == trained.settings
    for name, value in trained.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    other = DiffusionModule.load_from_checkpoint(tmp_path / "last.ckpt", optimizer=AdamW(lr=1e-4), seed=2)
    assert (other.settings.lr, other.seed) == (1e-4, 2)


class Bare(torch.nn.Module):
    """A network that does not keep its argument."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(width, width)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.inner(x.flatten(1)).reshape(x.shape)


def test_a_network_that_cannot_be_described_is_given_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def bare() -> Any:
        made = denoiser()
        made.network = Bare(16)
        return made

    trained, own = DiffusionModule(bare(), Objective(), AdamW()), trainer(tmp_path)
    own.fit(trained, Pairs())  # whose labels the network does not take
    assert "denoiser is left out (Bare does not keep its argument 'width'" in capsys.readouterr().err
    own.save_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(ConfigError, match="does not say how to build denoiser"):
        DiffusionModule.load_from_checkpoint(tmp_path / "last.ckpt")
    loaded = DiffusionModule.load_from_checkpoint(tmp_path / "last.ckpt", denoiser=bare())
    assert torch.equal(loaded.denoiser.network.inner.weight, trained.denoiser.network.inner.weight)


@pytest.mark.parametrize("labelled", [True, False])
def test_examples_are_numbered_by_the_images_seen(labelled: bool, tmp_path: Path) -> None:
    trained = module()
    trainer(tmp_path, accumulate_grad_batches=2, max_steps=3).fit(trained, Pairs(labelled))
    assert trained.batch_size == 2 * BATCH
    assert torch.cat(trained.index).tolist() == list(range(2 * 2 * BATCH, 3 * 2 * BATCH))


def test_what_nothing_says_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size=None"):
        trainer(tmp_path).fit(module(), [[torch.zeros(2, 1, 4, 4)]])
    with pytest.raises(ConfigError, match="budget=None"):
        trainer(tmp_path, max_steps=-1, max_epochs=-1).fit(module(), Pairs())
    with pytest.raises(ConfigError, match="watch a DiffusionModule"):
        trainer(tmp_path, EMA()).fit(BoringModel())
