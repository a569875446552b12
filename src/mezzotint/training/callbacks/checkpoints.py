"""The callback that saves checkpoints."""

from collections.abc import Container
from dataclasses import asdict
from typing import Any, Literal

from mezzotint.atomic import remove_partials
from mezzotint.runs import RunDir, checkpoints
from mezzotint.runs.score import Score
from mezzotint.training.callbacks.base import Callback
from mezzotint.training.training_run import TrainingRun


class Checkpoints(Callback):
    """Saves every so many images and at the end, after everything else of the step has been done.

    Beside the newest few stays the best one by a score, which is saved in the step that found it. best.json names it;
    each checkpoint knows the best until then, so that a run that was killed finds the same one.

    Args:
        every: images between two checkpoints, or below 1 the share of the budget.
        keep: how many of the newest stay.
        best: whose score decides: "sample_metrics", where that callback runs; "validation", the loss on held-out
            images; None keeps no best one.
    """

    order = 100
    key = "best"

    def __init__(
        self, every: float = 0.1, keep: int = 3, best: Literal["sample_metrics", "validation"] | None = "sample_metrics"
    ) -> None:
        if every <= 0 or keep < 1:
            raise ValueError(f"every={every}, keep={keep}: both must be above 0")
        if best not in ("sample_metrics", "validation", None):
            raise ValueError(f"best={best!r}: choose 'sample_metrics', 'validation' or null")
        self.every, self.keep, self.best = every, keep, best
        self.record: Score | None = None
        self.loaded: Score | None = None

    def start(self, run: TrainingRun) -> None:
        self.record, self.loaded = self.loaded, None
        if run.rank == 0:
            folder = RunDir(run.directory).checkpoints
            remove_partials(folder)  # of what was being written when the run died
            checkpoints.write_best(folder, self.record)

    def step(self, run: TrainingRun) -> None:
        if (run.due(self.every) or run.stopped or self.better(run)) and not run.finished:
            self.write(run)

    def finish(self, run: TrainingRun) -> None:
        self.write(run)

    def checkpoints(self, budget: int, others: Container[str]) -> int:
        """The newest, the best, and one that is being written."""
        every = self.every * budget if self.every < 1 else self.every
        return min(self.keep, max(1, round(budget / every))) + (self.best in others) + 1

    def better(self, run: TrainingRun) -> Score | None:
        """The score of the step just done, if it beats all before."""
        score = run.scores.get(self.best or "")
        return score if score and score.step == run.step and score.beats(self.record) else None

    def write(self, run: TrainingRun) -> None:
        self.record = self.better(run) or self.record
        folder = RunDir(run.directory).checkpoints
        run.save(checkpoints.named(folder, run.step))
        if run.rank == 0:
            checkpoints.write_best(folder, self.record)
            steps = map(checkpoints.step_of, checkpoints.every(folder))
            reached = [step for step in steps if step <= run.step]  # later ones are damaged
            for step in reached[: -self.keep]:
                if not (self.record and step == self.record.step):
                    checkpoints.named(folder, step).unlink()

    def state_dict(self) -> dict[str, Any]:
        """The best score so far; empty before the first one."""
        return asdict(self.record) if self.record else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded = Score(**state_dict) if state_dict else None
