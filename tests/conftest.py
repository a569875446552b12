"""One thread a process: two workers share two cores, and threads that fight are ten times slower."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch, tmp_path_factory):
    """Trackers and caches write to the test's own folders, never to the user's."""
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    for name in (
        "WANDB_DIR",
        "WANDB_DATA_DIR",
        "WANDB_CACHE_DIR",
        "WANDB_CONFIG_DIR",
        "MPLCONFIGDIR",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.setenv(name, str(home))
