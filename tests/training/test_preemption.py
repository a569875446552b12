"""The vote of several ranks goes through a group that gives a silent rank up when the settings say."""

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from torch import distributed

from mezzotint.training import Preemption


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process only."""
    distributed.init_process_group(
        "gloo", store=distributed.HashStore(), rank=0, world_size=1, timeout=timedelta(seconds=17)
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("backend", ["gloo", "nccl"])
def test_the_vote_is_bounded_in_time_on_any_backend(alone: None, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    monkeypatch.setattr(distributed, "get_backend", lambda: backend)
    vote = Preemption()
    run = SimpleNamespace(world=2, timeout=17.0)
    vote.start(run)
    try:
        assert (vote.group is distributed.group.WORLD) == (backend == "gloo")
        assert vote.group._get_backend(torch.device("cpu")).options._timeout == timedelta(seconds=17)
        assert vote.vote(None) is None
        assert vote.vote("SIGUSR1") == "SIGUSR1"
    finally:
        vote.close(run, None)
