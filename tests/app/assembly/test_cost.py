"""The plan's remark on grids that draw near-means."""

import pytest
from hydra import compose, initialize_config_dir

from mezzotint.app.assembly.cost import shrunk
from mezzotint.app.assembly.parts import assemble
from mezzotint.app.config.resolve import resolve
from mezzotint.app.help import config_dir


def remark(*words: str) -> str:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return shrunk(assemble(resolve(compose("mezzotint", list(words))), "meta"))


@pytest.mark.parametrize("steps", [4, 8, 50])
def test_steps_in_time_on_the_edm_schedule_are_named_at_any_number(steps: int) -> None:
    assert "near-means" in remark("schedule=edm", "grid=trailing", f"grid.steps={steps}")


@pytest.mark.parametrize(
    "words",
    [
        ("schedule=edm", "grid.steps=4"),
        ("schedule=edm", "grid=karras", "grid.steps=8"),
        ("grid.steps=2",),
        ("experiment=digits_edm",),
        ("experiment=digits_flow", "grid.steps=3"),
    ],
)
def test_usual_grids_are_not_named_however_few_their_steps(words: tuple[str, ...]) -> None:
    assert remark(*words) == ""
