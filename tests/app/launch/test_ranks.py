"""What a launcher left in the environment, and what a rank has to say before it ends."""

import json
from pathlib import Path

import pytest

from mezzotint.app.launch import gpus, ranks, worker
from mezzotint.errors import ConfigError


def launched(monkeypatch: pytest.MonkeyPatch, **words: str) -> None:
    for key in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", ranks.STARTED):
        monkeypatch.delenv(key, raising=False)
    for key, word in words.items():
        monkeypatch.setenv(key, word)


@pytest.mark.parametrize("words", [{}, {"RANK": "0"}, {"RANK": "0", "WORLD_SIZE": "1"}, {"WORLD_SIZE": "4"}])
def test_a_process_alone_may_have_a_rank(words: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, **words)
    ranks.check_environment()


@pytest.mark.parametrize("world", ["4", "many", ""])
def test_a_rank_of_nobody_is_refused(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for three others at an address that nobody gave."""
    launched(monkeypatch, RANK="1", WORLD_SIZE=world)
    with pytest.raises(ConfigError, match="neither torchrun nor srun has started this process: unset them"):
        ranks.check_environment()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    ranks.check_environment()


@pytest.mark.parametrize(
    ("words", "follows"),
    [
        ({}, False),
        ({"RANK": "1"}, False),
        ({"RANK": "0", "TORCHELASTIC_RUN_ID": "a"}, False),
        ({"RANK": "1", "TORCHELASTIC_RUN_ID": "a"}, True),
        ({"RANK": "1", "TORCHELASTIC_RUN_ID": "a", ranks.STARTED: "7"}, False),
    ],
)
def test_only_later_ranks_of_a_cluster_wait_for_the_first(
    words: dict[str, str], follows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(monkeypatch, **words)
    assert ranks.follows() is follows


@pytest.mark.parametrize("text", ["\N{ROLLING ON THE FLOOR LAUGHING}", "\udc80", '"', "a\n"])
def test_a_long_error_in_any_script_fits_the_pipe(text: str) -> None:
    """A rank that wrote more than the pipe holds would never end, for it is read when all have ended."""
    told = worker.packed({"rank": 0} | worker.failure(99_999 * text))
    assert len(told) < 65_536
    assert len(json.loads(told)["error"]) == worker.ROOM


def test_a_part_of_a_gpu_has_a_name_that_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-1/2/3")
    assert gpus.take() == "MIG-GPU-1/2/3"
    (lock,) = tmp_path.iterdir()
    assert lock.name.endswith("-gpu-MIG-GPU-1-2-3.lock")
    gpus._held.pop().close()
