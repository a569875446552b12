"""Power-function averages of the weights, with snapshots from which any other length follows after training."""

from collections.abc import Sequence

from mezzotint.runs import RunDir, snapshots
from mezzotint.runs.power_average import decay, exponent
from mezzotint.training.amounts import several
from mezzotint.training.callbacks.ema import WeightAverages
from mezzotint.training.training_run import TrainingRun


class PowerEMA(WeightAverages):
    """Averages whose weights grow as a power of time: beta = (1 - B / images)^(gamma + 1), and their snapshots.

    An average is as wide as std times the images seen, so that no length has to be chosen for a budget. Snapshots in
    float16 lie in ema/ of the run; `mezzotint ema` and `ema.std=` make an average of any other length of them.
    Source: Karras et al. 2024, section 3, https://arxiv.org/abs/2312.02696

    Args:
        std: relative standard deviations; of a list the first is the main average. Lengths between the smallest and the
            largest are made well of snapshots.
        every: images between two snapshots, or below 1 the share of the budget.
    """

    def __init__(self, std: float | Sequence[float] = (0.05, 0.25), every: float = 0.0625) -> None:
        self.stds = several(std)
        for value in self.stds:
            exponent(value)
        names = [f"{value:g}" for value in self.stds]
        if not names or len(set(names)) < len(names) or every <= 0:
            raise ValueError(f"std={std}, every={every}: give different lengths, and a period above 0")
        self.every = every
        super().__init__(names)

    def betas(self, run: TrainingRun) -> list[float]:
        return [decay(std, run.images, run.batch_size) for std in self.stds]

    def start(self, run: TrainingRun) -> None:
        super().start(run)
        if run.rank == 0:
            files = snapshots.every(RunDir(run.directory).snapshots)
            for file in (file for step, file in files.items() if step > run.step):  # of a run that was killed later
                file.unlink()

    def step(self, run: TrainingRun) -> None:
        super().step(run)
        if run.due(self.every) and not run.finished:
            self.write(run)

    def finish(self, run: TrainingRun) -> None:
        self.write(run)

    def write(self, run: TrainingRun) -> None:
        """Write a snapshot of each average; shards are gathered on all ranks, and the first writes."""
        state = self.state_dict()
        if run.rank == 0:
            averages = {std: state[f"{std:g}"] for std in self.stds}
            snapshots.write(snapshots.named(RunDir(run.directory).snapshots, run.step), run.images, averages)
