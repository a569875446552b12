"""One thread a process: two workers share two cores, and threads that fight are ten times slower."""

import gc
import os
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")  # how long an example takes is the machine's affair
for name in [name for name in os.environ if name.startswith(("MEZZOTINT_", "SLURM_"))]:
    del os.environ[name]  # what the shell says that tests are started from, of its runs and its job

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # what tests of several rooms share
QUICK = ("data", "diffusion", "figures", "generation")  # their tests neither train nor start commands


def room(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the files of long tests out in turn, so that each worker begins with its share of them.

    pytest-xdist gives every worker one piece of the list, and later moves the ends of pieces to whoever is idle: short
    tests should lie there, of files that may be cut in two without making what their tests share twice.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    files = [list(tests) for _, tests in groupby(items, lambda item: item.path)]
    long = [file for file in files if room(file[0]) not in QUICK]
    short = [item for file in files if room(file[0]) in QUICK for item in file]
    dealt: list[pytest.Item] = []
    for worker in range(workers):
        dealt += [item for file in long[worker::workers] for item in file]
        until = max(0, len(items) * (worker + 1) // workers - len(dealt))
        dealt, short = dealt + short[:until], short[until:]
    items[:] = dealt


def pytest_collection_finish() -> None:
    gc.freeze()  # thousands of tests that stay: the collector would look through them again and again


@pytest.fixture(scope="session", autouse=True)
def _no_leftovers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trackers and caches write to the tests' own folders, never to the user's."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "WANDB_DIR",
            "WANDB_DATA_DIR",
            "WANDB_CACHE_DIR",
            "WANDB_CONFIG_DIR",
            "MPLCONFIGDIR",
            "XDG_CACHE_HOME",
        ):
            patch.setenv(name, str(home))
        yield
