"""A check before the first step that all ranks have the same config, code and step."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

from mezzotint.errors import TrainingError
from mezzotint.training.training_run import TrainingRun


def check_ranks_agree(run: TrainingRun) -> None:
    """Refuse to train unless all ranks start from the same config and code at the same step.

    Raises:
        TrainingError: on every rank.
    """
    if run.world == 1:
        return
    mine = {
        "step": run.step,
        "seed": run.seed,
        "budget": run.budget,
        "batch_size": run.batch_size,
        "config": json.dumps(run.config, sort_keys=True, default=str),
        "code": code(),
        "torch": torch.__version__,
    }
    theirs: list[Any] = [None] * run.world
    torch.distributed.all_gather_object(theirs, mine)
    if others := [rank for rank, other in enumerate(theirs) if other != theirs[0]]:
        what = [name for name, value in theirs[0].items() if theirs[others[0]][name] != value]
        raise TrainingError(
            f"Rank {others[0]} disagrees with rank 0 about {', '.join(what)}. Start all ranks on one config.yaml and "
            "one installation, in folders that every node sees."
        )


@cache
def code() -> str:
    """Digest of this package's source files."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()
