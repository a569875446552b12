"""The module and the data module in a Trainer of one's own: the same numbers as a run, whatever the Trainer is told."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from tiny import BATCH, Noise, denoiser, train, weights

from mezzotint.data import DataModule
from mezzotint.diffusion import ImportanceWeight, LogNormalTimes, Objective
from mezzotint.errors import ConfigError, DataError
from mezzotint.training import AdamW, Checkpoints, DiffusionModule
from mezzotint.training.fixed_draws import APART, FixedDraws

pytestmark = pytest.mark.filterwarnings("ignore:You have overridden `transfer_batch_to_device`")

STEPS = 6
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
State = dict[str, torch.Tensor]


def module(objective: Objective | None = None) -> DiffusionModule:
    objective = objective or Objective(label_dropout=0.2)
    return DiffusionModule(
        denoiser(), objective, AdamW(warmup=5 * BATCH), seed=1, budget=STEPS * BATCH, batch_size=BATCH
    )


def fitted(start: Path | None = None, save: Path | None = None, **told: object) -> DiffusionModule:
    """Trained in a Trainer that is told so."""
    trainer = pl.Trainer(accelerator="cpu", **{**QUIET, "max_steps": STEPS, **told})
    trained = module()
    trainer.fit(trained, DataModule(Noise(), BATCH, seed=1), ckpt_path=start, weights_only=True)
    if save:
        trainer.save_checkpoint(save)
    return trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> State:
    """What a run of so many steps learns."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    train(directory, steps=STEPS, ema=None, callbacks={"checkpoints": Checkpoints()})
    return weights(directory)["state_dict"]


def assert_equal(one: State, two: State) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.parametrize(
    "told",
    [{}, {"max_steps": -1, "max_epochs": 3, "limit_train_batches": 2}, {"limit_val_batches": 0}],
    ids=["steps", "epochs", "unvalidated"],
)
def test_it_learns_what_a_run_does(run: State, told: dict[str, object]) -> None:
    trained = fitted(**told)
    assert_equal(trained.state_dict(), run)
    assert [len(losses) for losses in trained.losses] == [BATCH]  # of the last step alone


def test_micro_batches_share_the_batch(run: State) -> None:
    trained = fitted(accumulate_grad_batches=4)
    assert torch.cat(trained.index).tolist() == list(range((STEPS - 1) * BATCH, STEPS * BATCH))
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(value, run[name], rtol=1e-5, atol=1e-6)


def test_it_goes_on_from_a_checkpoint(run: State, tmp_path: Path) -> None:
    fitted(save=tmp_path / "half.ckpt", max_steps=2)
    assert_equal(fitted(start=tmp_path / "half.ckpt").state_dict(), run)


def test_the_same_batches_are_seen_again_where_that_is_asked_for() -> None:
    trained = fitted(overfit_batches=1)
    assert trained.index[0].tolist() == list(range(BATCH))
    assert fitted(fast_dev_run=True).index[0].tolist() == list(range(BATCH))


@pytest.mark.parametrize("how", ["norm", "value"])
def test_a_trainer_that_clips_is_heeded(how: str) -> None:
    trained = fitted(gradient_clip_val=1e-3, gradient_clip_algorithm=how)
    gradients = torch.cat([p.grad.flatten() for p in trained.parameters() if p.grad is not None])
    clipped = gradients.norm() if how == "norm" else gradients.abs().max()
    assert float(clipped) == pytest.approx(1e-3, rel=1e-3)
    assert trained.grad_norm > 1e-2


def test_validation_is_the_same_every_time() -> None:
    trainer, trained = pl.Trainer(accelerator="cpu", **QUIET), module()
    data = DataModule(Noise(), BATCH, seed=1)
    (once,), (again,) = (trainer.validate(trained, data, verbose=False) for _ in range(2))
    assert once == again
    pixels, labels = Noise().split("test").batch(torch.arange(100))
    batch = {"image": pixels, "label": labels, "index": torch.arange(100)}
    with torch.no_grad():
        losses = trained.eval().example_losses(trained.denoiser, batch, FixedDraws(0, batch["index"] + APART))
    assert once["validation/loss"] == pytest.approx(float(losses.mean()), rel=1e-5)


def test_tables_of_a_sanity_check_serve_training() -> None:
    """They are made under Lightning's inference mode, whose tensors no backward pass may meet."""
    weighted = module(Objective(times=LogNormalTimes(mean=-1.1), weight=ImportanceWeight()))
    trainer = pl.Trainer(accelerator="cpu", max_steps=2, **QUIET)
    trainer.fit(weighted, DataModule(Noise(), BATCH, seed=1))
    assert trainer.global_step == 2


@pytest.mark.parametrize(
    ("batch", "said"), [([torch.zeros(4)], "is a list"), ({"image": torch.zeros(4), "label": 1}, "holds image, label")]
)
def test_a_batch_of_another_make_is_told_what_one_is(batch: Any, said: str) -> None:
    with pytest.raises(DataError, match=rf"a batch is a dict of image, .* this one {said}\. "):
        module().transfer_batch_to_device(batch, torch.device("cpu"), 0)


def test_processes_and_micro_batches_are_the_trainers() -> None:
    def part(rank: int, batch_size: int = BATCH) -> DataModule:
        data = DataModule(Noise(), batch_size, seed=1)
        data.trainer = SimpleNamespace(
            world_size=2, global_rank=rank, accumulate_grad_batches=4, global_step=3, overfit_batches=0
        )
        data.setup()
        return data

    seen = []
    for rank in range(2):
        loader = iter(part(rank).train_dataloader())
        seen += [next(loader)["index"] for _ in range(4)]
    assert torch.cat(seen).sort().values.tolist() == list(range(3 * BATCH, 4 * BATCH))
    with pytest.raises(ConfigError, match="must be a multiple of 8"):
        part(0, batch_size=12)
