"""The moments of a trained run that are judged with all samples: its end, and the best one that it kept."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.app.assembly.evaluation_share import final
from mezzotint.app.assembly.parts import build_metrics
from mezzotint.app.commands import evaluate
from mezzotint.app.config.job import Job
from mezzotint.app.results.classes import opened
from mezzotint.app.terminal import display_path
from mezzotint.runs import RunDir
from mezzotint.runs.checkpoints import best
from mezzotint.runs.score import Score

if TYPE_CHECKING:
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


def judge_moments(directory: Path, job: Job) -> list[CheckpointEvaluation]:
    """The last checkpoint, then the best one; nothing where there is nothing to compute. Every rank does its share."""
    dataset = opened(directory, job)[0]
    metrics = build_metrics(job, dataset.shape)
    if not metrics:
        return []
    job = final(job).limit(job)
    score = best(RunDir(directory).checkpoints)
    steps = {None: None} | ({score.step: score} if score else {})
    return [
        CheckpointEvaluation(*evaluate.judge(directory, replace(job, checkpoint=step), metrics, dataset), why)
        for step, why in steps.items()
    ]


def rows(moments: list[CheckpointEvaluation]) -> list[tuple[str, str]]:
    """For people: the last one in full, of the best one what differs."""
    found = []
    for moment in moments:
        if moment.score is None:
            found += [*evaluate.rows(moment.found), ("evaluation", display_path(moment.path))]
            continue
        where = "the last one" if moment.path == moments[0].path else f"after {moment.score.images:,} images"
        found.append(("best checkpoint", f"{where}, where {moment.score.name} was {moment.score.value:.4g}"))
        if moment.path != moments[0].path:
            of_last = evaluate.rows(moments[0].found)
            found += [
                (f"{name}, best", value) for name, value in evaluate.rows(moment.found) if (name, value) not in of_last
            ]
            found.append(("evaluation, best", display_path(moment.path)))
    return found


def record(directory: Path, moments: list[CheckpointEvaluation]) -> None:
    """Tell the best one in status.json."""
    for moment in moments:
        if moment.score:
            told = asdict(moment.score) | {"values": moment.found.values, "evaluation": moment.path.name}
            RunDir(directory).update_status(best=told)
