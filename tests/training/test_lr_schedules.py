"""Learning-rate schedules against their formulas, and the cool-down of a plateau against the planned run."""

import math
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import tiny
import torch

from mezzotint.training import (
    AdamW,
    Checkpoints,
    ConstantLR,
    CosineLR,
    InverseSqrtLR,
    LinearLR,
    LRSchedule,
    TorchOptimizer,
    WarmupStableDecayLR,
)

IMAGES = [0, 1, 64, 999, 1000, 1001, 5000, 99_999, 10**9]


def rate(schedule: LRSchedule | str, images: int, warmup: float = 0, budget: int = 10**9) -> float:
    return AdamW(lr=1e-2, warmup=warmup, decay=schedule).rate(images, 64, budget)


@pytest.mark.parametrize("images", IMAGES)
def test_the_inverse_square_root_is_that_of_edm2(images: int) -> None:
    """alpha_ref / sqrt(max(t / t_ref, 1)) with steps t = images / 64 and t_ref = 1000 steps, after a linear warm-up."""
    t, ref = Fraction(images, 64), Fraction(1000)
    expected = 1e-2 / math.sqrt(max(t / ref, 1)) * min(1.0, (images + 64) / 6400)
    assert rate(InverseSqrtLR(64_000), images, 6400) == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("images", IMAGES)
def test_a_schedule_is_the_decay_of_its_name(name: str, images: int) -> None:
    schedule = {"constant": ConstantLR(), "linear": LinearLR(), "cosine": CosineLR()}[name]
    assert rate(schedule, images, 0.1, 100_000) == rate(name, images, 0.1, 100_000)


@pytest.mark.parametrize(("shape", "half"), [("linear", 0.5), ("sqrt", 1 - math.sqrt(0.5)), ("cosine", 0.5)])
@pytest.mark.parametrize("cooldown", [0.2, 200])
def test_a_cooldown_ends_with_the_budget(shape: str, half: float, cooldown: float) -> None:
    schedule = WarmupStableDecayLR(cooldown, shape)
    factors = [schedule.factor(images, 1000) for images in (0, 500, 800, 900, 1000, 2000)]
    assert factors == pytest.approx([1, 1, 1, half, 0, 0], abs=1e-12)
    assert schedule.factor(800, 1000) == 1.0


def test_before_the_cooldown_the_budget_is_of_no_importance() -> None:
    schedule = WarmupStableDecayLR(0.2)
    assert {schedule.factor(images, budget) for images in range(0, 800, 64) for budget in (1000, 5000, 10**9)} == {1.0}


def test_a_cooldown_from_the_plateau_is_the_planned_run(tmp_path: Path) -> None:
    """A run of 100 steps is stopped on its plateau; a copy of it is cooled down to the end of 40 steps."""
    optimizer = TorchOptimizer(torch.optim.NAdam, warmup=5 * tiny.BATCH, decay=WarmupStableDecayLR(0.25))
    saving = {"checkpoints": Checkpoints(every=7 * tiny.BATCH)}
    settings = {"optimizer": optimizer, "ema": None}
    tiny.train(tmp_path / "planned", steps=40, callbacks=saving, **settings)
    with pytest.raises(tiny.Killed):
        tiny.train(tmp_path / "plateau", steps=100, callbacks=saving | {"kill": tiny.Kill(30)}, **settings)
    shutil.copytree(tmp_path / "plateau", tmp_path / "cooled")
    tiny.train(tmp_path / "cooled", steps=40, callbacks=saving, **settings)
    planned, cooled = (tiny.weights(tmp_path / name) for name in ("planned", "cooled"))
    for part in ("state_dict", "optimizer_states"):
        found, expected = (dict(tiny.entries(run[part])) for run in (cooled, planned))
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value, name


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: InverseSqrtLR(0), "images=0 must be above 0"),
        (lambda: WarmupStableDecayLR(0.0), "cooldown"),
        (lambda: AdamW(decay="stairs"), "Choose linear, cosine, constant, or an lr_schedule"),
    ],
)
def test_settings_that_cannot_be(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
