"""Samples judged while a run trains: the same numbers as afterwards, and the best checkpoint stays."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import BATCH, Kill, Killed, Noise, denoiser, entries, judging, lines, train, weights

from mezzotint.diffusion import DDIM, Restart, Trailing
from mezzotint.errors import ConfigError
from mezzotint.generation import SampleGenerator, SamplingRecipe
from mezzotint.metrics import evaluate
from mezzotint.runs import checkpoints
from mezzotint.training import Callback, Checkpoints, SampleMetrics, Score, TrainingRun


def kept(directory: Path) -> list[int]:
    return [checkpoints.step_of(file) for file in sorted((directory / "checkpoints").glob("step-*.ckpt"))]


def scores(directory: Path) -> dict[int, float]:
    return {
        line["step"]: line["sample_metrics"]["fd_pixels_80"] for line in lines(directory) if "sample_metrics" in line
    }


def settings(**judge: float) -> dict[str, Callback]:
    return {
        "sample_metrics": SampleMetrics(**({"every": 10 * BATCH, "n": 80} | judge)),
        "checkpoints": Checkpoints(20 * BATCH, keep=1),
    }


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Path:
    """Judged every 10 steps and saved every 20."""
    directory = tmp_path_factory.mktemp("runs") / "judged"
    train(directory, extra=settings())
    return directory


def test_the_numbers_are_those_of_the_checkpoint_evaluated_alone(judged):
    average = weights(judged)["ema"]["0.1"]
    alone = denoiser().eval()
    alone.load_state_dict({key.removeprefix("denoiser."): value for key, value in average.items()})
    generator = SampleGenerator(alone, DDIM(), Trailing(3), (1, 4, 4), seed=1, classes=2)
    metrics = {"frechet": judging().metrics()["frechet"]}
    found = evaluate(generator.batches(0, 80), Noise().split("train"), metrics, 80)
    assert found.values == {"fd_pixels_80": scores(judged)[50]}


def test_judging_changes_nothing_of_the_training(judged, tmp_path):
    train(tmp_path, extra={"sample_metrics": Callback()})
    ours, theirs = (dict(entries(weights(directory)["state_dict"])) for directory in (judged, tmp_path))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_best_stays_beside_the_newest_and_is_saved_when_it_is_found(judged, tmp_path):
    """Early samples are nearer to these random images than later ones: the best step is no multiple of 20."""
    found = scores(judged)
    best = min(found, key=lambda step: found[step])
    assert list(found) == [10, 20, 30, 40, 50]
    assert kept(judged) == sorted({best, 50})
    assert checkpoints.best(judged / "checkpoints") == Score(best, best * BATCH, "fd_pixels_80", found[best])
    assert checkpoints.choose(judged / "checkpoints", "best") == judged / f"checkpoints/step-{best:08d}.ckpt"


class Told(Callback):
    """Says what the score of each step is, as a judge with a mind of its own."""

    order = 15

    def __init__(self, values: list[float], higher: bool = False) -> None:
        self.values, self.higher = values, higher

    def step(self, run: TrainingRun) -> None:
        if run.step <= len(self.values):
            value = self.values[run.step - 1]
            run.scores["sample_metrics"] = Score(run.step, run.images, "told", value, self.higher)


@pytest.mark.parametrize(
    ("values", "higher", "best"),
    [([3.0, 1.0, 2.0], False, 2), ([3.0, 1.0, 2.0], True, 1), ([float("nan"), 5.0, 5.0], False, 2)],
)
def test_the_best_is_the_first_of_the_lowest_or_highest(tmp_path, values, higher, best):
    train(tmp_path, steps=6, extra={"sample_metrics": Told(values, higher), "checkpoints": Checkpoints(1000, keep=1)})
    assert kept(tmp_path) == [best, 6]
    assert json.loads((tmp_path / "checkpoints/best.json").read_text())["step"] == best


@pytest.mark.parametrize(("step", "order"), [(10, 200), (14, -50), (30, 50), (31, -50), (50, 90)])
def test_the_best_survives_a_kill(judged, tmp_path, step, order):
    with pytest.raises(Killed):
        train(tmp_path, extra=settings() | {"kill": Kill(step, order)})
    train(tmp_path, extra=settings())
    assert lines(tmp_path) == lines(judged)
    assert kept(tmp_path) == kept(judged)
    names = [(directory / "checkpoints/best.json").read_text() for directory in (judged, tmp_path)]
    assert names[0] == names[1]
    one, two = (dict(entries(weights(directory))) for directory in (judged, tmp_path))
    assert one["/best/step"] == two["/best/step"]


def test_a_best_checkpoint_that_is_gone_is_not_named(judged, tmp_path):
    train(tmp_path, steps=6, extra={"sample_metrics": Told([1.0, 2.0]), "checkpoints": Checkpoints(1000, keep=1)})
    (tmp_path / "checkpoints/step-00000001.ckpt").unlink()
    assert checkpoints.best(tmp_path / "checkpoints") is None
    train(tmp_path, steps=9, extra={"sample_metrics": Told([]), "checkpoints": Checkpoints(1000, keep=1)})
    assert not (tmp_path / "checkpoints/best.json").exists()


def test_the_best_may_be_that_of_the_held_out_loss(tmp_path):
    train(tmp_path, extra={"checkpoints": Checkpoints(every=10 * BATCH, keep=2, best="validation")})
    losses = {line["step"]: line["validation"]["loss"] for line in lines(tmp_path) if "validation" in line}
    assert checkpoints.best(tmp_path / "checkpoints").step == min(losses, key=lambda step: losses[step])


def test_another_yardstick_begins_anew():
    score = Score(10, 160, "fd_pixels_80", 1.0)
    assert replace(score, value=0.5).beats(score)
    assert not replace(score, value=1.5).beats(score)
    assert replace(score, name="fd_pixels_500", value=1.5).beats(score)


def test_fewer_steps_of_the_same_grid(judged, tmp_path):
    train(tmp_path, extra=settings(steps=3))
    assert scores(tmp_path) == scores(judged)
    train(tmp_path / "fewer", extra=settings(steps=2))
    assert scores(tmp_path / "fewer")[50] != scores(judged)[50]
    with pytest.raises(ConfigError, match="steps=2: Restart has no such number"):
        train(
            tmp_path / "none", extra=settings(steps=2), sampling=SamplingRecipe(DDIM(), Restart(Trailing(3), 0.1, 1.0))
        )


def test_nothing_to_judge_by_is_said_before_the_first_step(tmp_path):
    alone = replace(judging(), metrics=lambda: {"halves": judging().metrics()["halves"]})
    with pytest.raises(ConfigError, match="nothing to judge samples by"):
        train(tmp_path, judging=alone)
    with pytest.raises(ConfigError, match=r"halves.*not among.*: frechet"):
        train(tmp_path, extra={"sample_metrics": SampleMetrics(metrics=["halves"])})
    with pytest.raises(ConfigError, match="judging="):
        train(tmp_path, judging=None)
    assert not (tmp_path / "checkpoints").exists()


def test_several_numbers_of_steps_are_each_evaluated(judged, tmp_path):
    """The first as alone, and the others under names of their own; the score is that of the first."""
    train(tmp_path / "two", extra=settings(steps=2))
    train(tmp_path / "both", extra=settings(steps=[2, 1]))
    alone, both = (
        [line["sample_metrics"] for line in lines(tmp_path / name) if "sample_metrics" in line]
        for name in ("two", "both")
    )
    assert len(alone) == len(both) > 0
    for one, several in zip(alone, both, strict=True):
        assert {f"{name}_2_steps": value for name, value in one.items()}.items() <= several.items()
        assert {name.removesuffix("_1_steps") for name in several if name.endswith("_1_steps")} == set(one)
    with pytest.raises(ValueError, match="a number of 1 or more"):
        settings(steps=[2, 0])
