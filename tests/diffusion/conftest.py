"""Whatever a config group offers is put through every law: a test that asks for `schedule` runs for each of them."""

from pathlib import Path

import pytest
import torch
import yaml

from mezzotint.diffusion import NoiseLevel, Schedule
from mezzotint.instantiate.build import build

CONFIGS = Path(__file__).parents[2] / "configs"
GROUPS = {
    "schedule": "schedule",
    "target": "target",
    "spacing": "grid",
    "times": "time_distribution",
    "weight": "loss_weight",
    "loss": "loss",
}


def choices(group: str) -> dict[str, object]:
    """name -> built object, for every file of a group."""
    files = sorted((CONFIGS / group).glob("*.yaml"))
    assert files, f"configs/{group} is empty: its laws would hold for nothing"
    return {file.stem: build(yaml.safe_load(file.read_text())) for file in files}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = set()
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0]
        given.update(name.strip() for name in (names.split(",") if isinstance(names, str) else names))
    for fixture, group in GROUPS.items():
        if fixture in metafunc.fixturenames and fixture not in given:
            found = choices(group)
            metafunc.parametrize(fixture, list(found.values()), ids=list(found))


def noisy_times(schedule: Schedule, n: int = 200) -> list[float]:
    """Float times from the first noisy one to the last, table entries among them."""
    first = 1.0 if schedule.steps else 1e-3 * schedule.t_max
    inside = [first + (schedule.t_max - first) * i / n for i in range(n)]
    return sorted({*inside, *([2.0, 10.0, schedule.t_max - 1] if schedule.steps else []), schedule.t_max})


def levels_close(a: NoiseLevel, b: NoiseLevel, rtol: float = 1e-12) -> None:
    for got, wanted in ((a.alpha, b.alpha), (a.sigma, b.sigma)):
        torch.testing.assert_close(
            torch.as_tensor(got, dtype=torch.float64),
            torch.as_tensor(wanted, dtype=torch.float64),
            rtol=rtol,
            atol=1e-15,
        )


@pytest.fixture(scope="session")
def configured():
    return choices


@pytest.fixture
def times_of():
    return noisy_times


@pytest.fixture
def same_level():
    return levels_close


@pytest.fixture(scope="session")
def golden() -> dict[str, dict]:
    import json

    return json.loads((Path(__file__).parent / "golden.json").read_text())
