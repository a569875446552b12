"""The time of a training command by phase, for its last line and for status.json."""

from dataclasses import asdict, dataclass

from mezzotint.app.assembly.duration import spoken

QUARTER = 0.25


@dataclass
class TimeSpent:
    """Seconds of one start of a run, by phase.

    Args:
        start: from the command's first line to the first step: imports, checks, data and metrics of the real images.
        training: the steps, with logging and checkpoints.
        looking: what periodic callbacks compute during training: validation, previews, metrics of samples.
        sampling: the grid of samples at the end.
        evaluation: the final evaluation.
    """

    start: float = 0.0
    training: float = 0.0
    looking: float = 0.0
    sampling: float = 0.0
    evaluation: float = 0.0

    def evaluation_remark(self, share: float, limit: float | None) -> str | None:
        """Return why sampling and evaluation took more than a quarter of the training's time; None if they did not.

        Args:
            share: of the training's arithmetic, as counted before the run; 0 if it could not be counted.
            limit: that share at most, evaluation_share=; None for no limit.
        """
        took, training = self.sampling + self.evaluation, self.training + self.looking
        if took <= QUARTER * training:
            return None
        said = f"sampling and evaluation took {took / max(training, 1e-9):.0%} of the training's time"
        if limit is None:
            return f"{said}: n= or evaluation_share=null sets no limit"
        if limit > QUARTER and share > QUARTER:
            allowed = f"evaluation_share={limit:g} allows {limit:.0%} of its arithmetic"
            return f"{said}: {allowed}; evaluation_share=0.25 is less"
        if not share:
            return f"{said}: the operations of this network cannot be counted, so nothing limits them"
        return f"{said}, but {share:.0%} of its arithmetic: loading and small batches are not counted"

    @property
    def total(self) -> float:
        return sum(asdict(self).values())

    def as_dict(self) -> dict[str, float]:
        return {phase: round(seconds, 3) for phase, seconds in asdict(self).items()}

    def __str__(self) -> str:
        words = {"looking": "validation and previews"}
        parts = (
            f"{seconds / max(self.total, 1e-9):.0%} {words.get(phase, phase)}"
            for phase, seconds in asdict(self).items()
        )
        return f"{spoken(self.total)}: {', '.join(parts)}"
