"""Validation and previews cost at most 5 % of the training's arithmetic, whatever the budget and the network."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from mezzotint.app.assembly.dry_run import dry_run_without_data
from mezzotint.app.assembly.duration import callback_passes, described_callbacks, planned_run
from mezzotint.app.assembly.parts import Components
from mezzotint.app.config.resolve import resolve
from mezzotint.app.help import config_dir
from mezzotint.training import TrainingRun, Validation

HELD_OUT = {"digits": 297, "emoji": 206}  # of the others 10,000
EXPERIMENTS = ("digits_ddpm", "fashion_mnist_ddpm", "emoji_ddpm", "cifar10_ddpm", "cifar10_edm", "digits_meanflow")


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes of the test splits, without the data."""
    monkeypatch.setattr(Validation, "held_out", lambda _, run: held_out(type(run.dataset).__name__.lower()))


def held_out(name: str) -> int:
    return HELD_OUT.get(name, 10_000)


def planned(*words: str) -> tuple[TrainingRun, Components]:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        job = resolve(compose("mezzotint", list(words)))
    parts = dry_run_without_data(job).components
    module: Any = SimpleNamespace(denoiser=parts.denoiser)
    return planned_run(job, parts, module), parts


@pytest.mark.parametrize("budget", [3_200, 30_000, None])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_validation_and_previews_cost_at_most_a_twentieth(experiment: str, budget: int | None) -> None:
    run, parts = planned(f"experiment={experiment}", *([f"budget={budget}"] if budget else []))
    assert 0 < callback_passes(run, parts) <= 0.05 * 3 * run.budget
    intervals = parts.callbacks["preview"].intervals(run)
    assert intervals.early is not None
    assert intervals.early <= min(run.budget / 40, 6400)
    interval = max(run.count(parts.callbacks["preview"].every), intervals.interval(run.budget))
    assert run.budget / interval <= intervals.count


def test_sample_metrics_cost_at_most_as_much_as_the_training() -> None:
    run, parts = planned("callbacks=sample_metrics")
    assert "sample_metrics 10 times 500 images in 50 steps" in described_callbacks(run, parts)  # as README says
    run, parts = planned("callbacks=sample_metrics", "budget=30000")
    assert callback_passes(run, parts) <= 1.05 * 3 * run.budget
    assert "sample_metrics 3 times 500 images in 50 steps" in described_callbacks(run, parts)
    run, parts = planned("callbacks=sample_metrics", "+callbacks.sample_metrics.share=0.2")
    assert "sample_metrics 2 times 500" in described_callbacks(run, parts)


def test_the_digits_are_validated_on_all_held_out_images() -> None:
    run, parts = planned()
    assert (
        described_callbacks(run, parts) == " (validation 10 times 297 images, preview 11 times 32 images in 20 steps)"
    )


def test_limits_can_be_lifted() -> None:
    run, parts = planned("+callbacks.validation.share=null", "+callbacks.preview.share=null", "budget=3200")
    assert (
        described_callbacks(run, parts) == " (validation 10 times 297 images, preview 11 times 64 images in 50 steps)"
    )


def test_callbacks_without_passes_are_not_described() -> None:
    run, parts = planned("callbacks=minimal")
    assert callback_passes(run, parts) == 0
    assert not described_callbacks(run, parts)
    assert run.directory == Path()
