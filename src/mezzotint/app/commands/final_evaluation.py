"""The evaluation at the end of training: of the last checkpoint, and of the best one if the run kept it."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.app.commands.evaluate import evaluate_run
from mezzotint.app.config.job import Job
from mezzotint.app.launch.process_group import broadcast
from mezzotint.app.results.evaluation_table import rows as value_rows
from mezzotint.app.terminal import display_path
from mezzotint.data.dataset import Dataset
from mezzotint.runs import RunDir
from mezzotint.runs.checkpoints import best
from mezzotint.runs.score import Score

if TYPE_CHECKING:
    from mezzotint.metrics import Metric
    from mezzotint.metrics.evaluation import Evaluation


@dataclass(frozen=True)
class CheckpointEvaluation:
    """An evaluation of a checkpoint.

    Args:
        score: why it is the best one; None of the last.
    """

    path: Path
    found: "Evaluation"
    score: Score | None = None


def evaluate_checkpoints(
    directory: Path, job: Job, metrics: "dict[str, Metric]", dataset: Dataset
) -> list[CheckpointEvaluation]:
    """Evaluate the last checkpoint, then the best one; nothing without metrics. Every rank does its share."""
    if not metrics:
        return []
    score = broadcast(best(RunDir(directory).checkpoints))  # the first process wrote it, perhaps just now
    steps = {None: None} | ({score.step: score} if score else {})
    return [
        CheckpointEvaluation(*evaluate_run(directory, replace(job, checkpoint=step), metrics, dataset), why)
        for step, why in steps.items()
    ]


def rows(evaluated: list[CheckpointEvaluation]) -> list[tuple[str, str]]:
    """Return the rows of a table: the last evaluation in full, and the differences of the best one."""
    found = []
    for one in evaluated:
        if one.score is None:
            found += [*value_rows(one.found), ("evaluation", display_path(one.path))]
            continue
        where = "the last one" if one.path == evaluated[0].path else f"after {one.score.images:,} images"
        found.append(("best checkpoint", f"{where}, where {one.score.name} was {one.score.value:.4g}"))
        if one.path != evaluated[0].path:
            of_last = value_rows(evaluated[0].found)
            found += [(f"{name}, best", value) for name, value in value_rows(one.found) if (name, value) not in of_last]
            found.append(("evaluation, best", display_path(one.path)))
    return found


def record(directory: Path, evaluated: list[CheckpointEvaluation]) -> None:
    """Write the best checkpoint to status.json."""
    for one in evaluated:
        if one.score:
            entry = asdict(one.score) | {"values": one.found.values, "evaluation": one.path.name}
            RunDir(directory).update_status(best=entry)
