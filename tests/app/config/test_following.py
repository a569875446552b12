"""grid=auto is written out as the grid that it takes: a run says which, and is the run of one that named it."""

from pathlib import Path

import pytest
import yaml

from mezzotint.app.config.following import write_out
from mezzotint.app.config.job import digest
from mezzotint.build import build
from mezzotint.diffusion import Auto

CONFIGS = Path(__file__).parents[3] / "configs"
SCHEDULES = sorted(file.stem for file in (CONFIGS / "schedule").glob("*.yaml"))


def node(group, name):
    return yaml.safe_load((CONFIGS / group / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_written_is_what_the_grid_finds_by_itself(name):
    config = {"schedule": node("schedule", name), "grid": node("grid", "auto") | {"steps": 20}}
    write_out(config)
    assert build(config["grid"]) == Auto(20).choose(build(config["schedule"]))


@pytest.mark.parametrize(("schedule", "named"), [("cosine", "trailing"), ("edm", "karras"), ("laplace", "karras")])
def test_it_is_the_run_of_one_that_names_the_grid(schedule, named):
    auto = {"schedule": node("schedule", schedule), "grid": node("grid", "auto")}
    other = auto | {"grid": node("grid", named) | {"steps": 50}}
    write_out(auto)
    write_out(other)
    assert auto == other
    assert digest(auto) == digest(other)


def test_a_schedule_of_ones_own_is_asked_later():
    config = {"schedule": {"_target_": "mine.Mine"}, "grid": node("grid", "auto")}
    write_out(config)
    assert config["grid"]["_target_"] == "mezzotint.diffusion.Auto"
