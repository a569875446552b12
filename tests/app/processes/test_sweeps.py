"""What Hydra hands a sweeper is put right before the first job."""

from typing import Any

import pytest

from mezzotint.app.processes.sweeps import name_plainly

WORDS = ["++optimizer.lr=interval(0.1,1)", "++network.new=interval(0,1)", "++ema.halflife=3", "++grid.new=3"]


def config(sweeper: str) -> Any:
    from omegaconf import OmegaConf

    hydra = {
        "sweeper": {"_target_": sweeper, "params": {"ema.halflife": "interval(1,2)"}},
        "overrides": {"task": WORDS},
    }
    made = OmegaConf.create({"hydra": hydra, "optimizer": {"lr": 0.1}, "ema": {"halflife": 1}, "grid": {"new": 3}})
    OmegaConf.set_readonly(made, True)
    return made


@pytest.mark.parametrize(
    ("sweeper", "plain"), [("plugins.optuna_sweeper.OptunaSweeper", (0, 2)), ("hydra.BasicSweeper", ())]
)
def test_optuna_hears_names_as_they_are_typed_where_a_file_has_them(sweeper: str, plain: tuple[int, ...]) -> None:
    """What is swept and known, or searched by the sweep itself; else the ++ is needed in each job."""
    made = config(sweeper)
    name_plainly(made)
    expected = [word.removeprefix("++") if i in plain else word for i, word in enumerate(WORDS)]
    assert list(made.hydra.overrides.task) == expected
