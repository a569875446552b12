"""grid=auto is written out as the grid that it takes: a run says which, and is the run of one that named it."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mezzotint.app.config.derived import as_before, bounded, shrink_network, with_grid
from mezzotint.app.config.job import Job, digest
from mezzotint.diffusion import AutoSpacing
from mezzotint.instantiate.build import build

CONFIGS = Path(__file__).parents[3] / "configs"
SCHEDULES = sorted(file.stem for file in (CONFIGS / "schedule").glob("*.yaml"))


def node(group, name):
    return yaml.safe_load((CONFIGS / group / f"{name}.yaml").read_text())


EXPERIMENTS = sorted(file.stem for file in (CONFIGS / "experiment").glob("*.yaml"))


UNUSED = ("data", "network", "schedule", "target", "objective", "time_distribution", "loss", "sampler", "grid")


def job(budget, batch_size=64, callbacks="default", optimizer="adamw"):
    return Job(
        **{group: {} for group in (*UNUSED, "hardware", "paths")},
        name="a",
        budget=budget,
        batch_size=batch_size,
        optimizer=node("optimizer", optimizer),
        callbacks={name: part for name, part in node("callbacks", callbacks).items() if name != "defaults"},
    )


def of_schedule(schedule, grid):
    return replace(job(100), schedule=schedule, grid=grid)


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_written_is_what_the_grid_finds_by_itself(name):
    found = with_grid(of_schedule(node("schedule", name), node("grid", "auto") | {"steps": 20}))
    assert build(found.grid) == AutoSpacing(20).choose(build(found.schedule))


@pytest.mark.parametrize(("schedule", "named"), [("cosine", "trailing"), ("edm", "karras"), ("laplace", "karras")])
def test_it_is_the_run_of_one_that_names_the_grid(schedule, named):
    auto = with_grid(of_schedule(node("schedule", schedule), node("grid", "auto")))
    other = with_grid(of_schedule(node("schedule", schedule), node("grid", named) | {"steps": 50}))
    assert auto == other
    assert digest(auto.as_dict()) == digest(other.as_dict())


def test_a_schedule_of_ones_own_is_asked_later():
    found = with_grid(of_schedule({"_target_": "mine.Mine"}, node("grid", "auto")))
    assert found.grid["_target_"] == "mezzotint.diffusion.AutoSpacing"


@pytest.mark.parametrize(
    ("network", "given", "small"),
    [
        ({"_target_": "mine.Mine", "width": 64, "depth": 3}, (), {"_target_": "mine.Mine", "width": 8, "depth": 3}),
        ({"_target_": "mine.Mine", "layers": 3}, (), {"_target_": "mine.Mine", "layers": 3}),
        ({"_target_": "mine.Mine", "width": 16}, ("network.width",), {"_target_": "mine.Mine", "width": 16}),
    ],
)
def test_debug_sizes_apply_to_the_arguments_that_a_network_lists(network, given, small):
    config = {"network": network, "tiny": {"width": 8}}
    shrink_network(config, given)
    assert config == {"network": small}


LONG = [name for name in EXPERIMENTS if node("experiment", name)["budget"] >= 64_000]  # shorter ones warm up for less


@pytest.mark.parametrize("name", LONG)
def test_experiments_at_their_own_budgets_are_what_they_were(name):
    said = node("experiment", name)
    adam = any(choice == {"override /optimizer": "adam"} for choice in said["defaults"])
    asked = job(said["budget"], said["batch_size"], optimizer="adam" if adam else "adamw")
    assert bounded(asked) == as_before(asked)
    assert digest(bounded(asked).as_dict()) == digest(as_before(asked).as_dict())
    assert bounded(asked).optimizer["warmup"] == (640_000 if adam else 6_400)


@pytest.mark.parametrize(
    ("budget", "batch_size", "warmup", "every"),
    [(2_000, 64, 200, 2), (64, 16, 6, 1), (5, 1, 1, 1), (63_990, 64, 6_399, 50), (64_000, 64, 6_400, 50)],
)
@pytest.mark.parametrize("callbacks", ["default", "minimal"])
def test_amounts_shrink_with_the_budget(budget, batch_size, warmup, every, callbacks):
    found = bounded(job(budget, batch_size, callbacks))
    assert found.optimizer["warmup"] == warmup
    assert [found.callbacks[name]["every"] for name in ("log", "nan_guard")] == [every, every]
    assert found.callbacks["preemption"]["every"] == 10
    settled, several = build(found.optimizer), build(job(budget).optimizer)
    images = range(0, budget, batch_size)
    assert [settled.rate(n, batch_size, budget) for n in images] == [
        several.rate(n, batch_size, budget) for n in images
    ]


@pytest.mark.parametrize("given", [3_000, 0.3, 0, [], ["a"], [0.1, -1], [True], None])
def test_what_is_one_amount_or_none_stays_as_it_is(given):
    asked = job(2_000)
    asked = replace(asked, optimizer=asked.optimizer | {"warmup": given})
    assert bounded(asked).optimizer["warmup"] == given


def test_a_saved_amount_stays_when_the_budget_is_raised():
    saved = replace(bounded(job(2_000)), budget=96_000)
    assert bounded(saved) == saved
