"""Validation, previews and sample metrics cost a share of the training, counted in forward passes."""

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
from tiny import BATCH, Kill, Killed, denoiser, lines, train
from torch import Tensor, nn

from mezzotint.diffusion import DDIM, Trailing
from mezzotint.generation import SamplingRecipe
from mezzotint.training import Log, Preview, SampleMetrics, Validation
from mezzotint.training.interval_plan import IntervalPlan, fewer_images, fewer_occasions, fewer_steps

BUDGETS = [2_000, 3_200, 30_000, 96_000, 10_000_000]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("steps", [1, 18, 50, 1000])
@pytest.mark.parametrize("calls", [1, 2])
def test_grids_cost_at_most_what_is_allowed_and_the_first_comes_early(budget: int, steps: int, calls: int) -> None:
    allowed = 0.03 * 3 * budget
    found = fewer_steps(allowed, IntervalPlan(11, 64, steps, calls, early=budget // 40), (20, 10))
    assert found.passes <= allowed
    assert found.early == budget // 40
    assert 4 <= found.images <= 64
    assert found.steps in {steps, 20, 10}


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("held_out", [20, 206, 297, 2048])
def test_images_are_fewer_before_occasions_are(budget: int, held_out: int) -> None:
    allowed = 0.02 * 3 * budget
    found = fewer_images(allowed, IntervalPlan(10, held_out), 256, 128)
    assert found.passes <= max(allowed, 128)
    assert found.count == 10 or found.images >= min(held_out, 256) or found.count == 1
    assert found.count == 10 or found.passes + min(held_out, 256) > allowed  # no more would fit


def test_plans_in_numbers() -> None:
    grids = IntervalPlan(11, 64, 50, early=1)
    assert fewer_steps(8_640, grids, (20, 10)) == IntervalPlan(11, 32, 20, early=1)  # 96,000 images
    assert fewer_steps(288, grids, (20, 10)) == IntervalPlan(3, 8, 10, early=1)  # 3,200 images
    assert fewer_steps(288, grids, ()).early is None  # one of 50 steps, and nothing is left for an early one
    assert fewer_steps(math.inf, grids, (20, 10)) == grids
    assert fewer_steps(1, grids, (20, 10)) == IntervalPlan(1, 4, 10)
    assert fewer_images(5_760, IntervalPlan(10, 2048), 256, 128) == IntervalPlan(10, 576)
    assert fewer_images(5_760, IntervalPlan(10, 297), 256, 128) == IntervalPlan(10, 297)
    assert fewer_images(1, IntervalPlan(10, 2048), 256, 128) == IntervalPlan(1, 128)
    assert fewer_occasions(90_000, IntervalPlan(10, 500, 50)) == IntervalPlan(3, 500, 50)
    assert fewer_occasions(1, IntervalPlan(10, 500, 50)) == IntervalPlan(1, 500, 50)
    assert fewer_occasions(math.inf, IntervalPlan(10, 500, 50)) == IntervalPlan(10, 500, 50)


def counted(directory: Path, **extra: Any) -> int:
    """Return the forward passes that callbacks make in a training of 100 steps."""
    passes, trained = [0], denoiser()

    def count(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not network.training and inputs[0].device.type != "meta":
            passes[0] += len(inputs[0])

    trained.network.register_forward_pre_hook(count)
    train(directory, steps=STEPS, denoiser=trained, callbacks={"log": Log(10)} | extra)
    return passes[0]


STEPS = 100
PASSES = 3 * STEPS * BATCH
RECIPE = SamplingRecipe(DDIM(), Trailing(50))


@pytest.mark.parametrize("share", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("callback", [Validation, Preview], ids=lambda kind: kind.__name__)
def test_a_run_costs_what_its_plan_says(tmp_path: Path, callback: Any, share: float) -> None:
    more = {"sampling": RECIPE} if callback is Preview else {}
    planned = callback(share=share, **more)
    made = counted(tmp_path, looks=planned)
    assert made == planned.planned[1].passes <= max(share * PASSES, 128)
    assert made >= 0.4 * min(share * PASSES, 10 * 64 * 50 if more else 10 * 128)


def test_sample_metrics_are_fewer_where_they_cost_more_than_their_share(tmp_path: Path) -> None:
    made = counted(tmp_path / "few", looks=SampleMetrics(n=80, share=0.2, sampling=SamplingRecipe(DDIM(), Trailing(3))))
    assert made == 4 * 80 * 3 <= 0.2 * PASSES
    found = [line["images"] for line in lines(tmp_path / "few") if "sample_metrics" in line]
    assert found == [400, 800, 1200, 1600]


def test_without_a_given_share_what_costs_next_to_nothing_is_not_limited(tmp_path: Path) -> None:
    wanted = 10 * 100 * 2 + 11 * 64 * 50  # 100 held-out images twice, so that each share of the times has 16
    assert counted(tmp_path, validation=Validation(), preview=Preview(sampling=RECIPE)) == wanted


def test_a_killed_run_looks_at_the_same_steps(tmp_path: Path) -> None:
    extra = {"preview": Preview(share=0.5), "validation": Validation(share=0.05)}
    train(tmp_path / "whole", extra=extra)
    with contextlib.suppress(Killed):
        train(tmp_path / "killed", extra=extra | {"kill": Kill(26)})
    train(tmp_path / "killed", extra=extra)
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    names, again = (
        {file.name: file.read_bytes() for file in (tmp_path / run / "samples").iterdir()} for run in ("whole", "killed")
    )
    assert names == again


@pytest.mark.parametrize("share", [0, -0.1, "none"])
@pytest.mark.parametrize("callback", [Validation, Preview, SampleMetrics], ids=lambda kind: kind.__name__)
def test_a_share_that_cannot_be_one_is_refused(callback: Any, share: Any) -> None:
    with pytest.raises(ValueError, match="share="):
        callback(share=share)
