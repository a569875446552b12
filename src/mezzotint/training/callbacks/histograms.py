"""Histograms of weights and gradients, off by default."""

import json
from typing import Any

import torch
from torch import Tensor

from mezzotint.runs import RunDir
from mezzotint.training.callbacks.base import PeriodicCallback
from mezzotint.training.hardware.sharding import full_tensor
from mezzotint.training.training_run import TrainingRun


class Histograms(PeriodicCallback):
    """Histograms of every weight of the network and of its last gradient, in histograms.jsonl and in the trackers.

    Off by default: a look takes a pass over all weights and waits for the device.

    Args:
        every: images between two looks, or below 1 the share of the budget; the end is always looked at.
        bins: of equal width between the lowest and the highest value.
    """

    order = 10

    def __init__(self, every: float = 0.1, bins: int = 64) -> None:
        if every <= 0 or bins < 1:
            raise ValueError(f"every={every}, bins={bins}: both must be above 0")
        self.every, self.bins = every, bins

    def start(self, run: TrainingRun) -> None:
        if run.rank == 0:
            files = RunDir(run.directory)
            files.truncate(files.histograms_file, run.step)

    def on_interval(self, run: TrainingRun) -> None:
        found = []
        for name, weight in run.module.denoiser.network.named_parameters():
            for kind, values in (("weights", weight.detach()), ("gradients", weight.grad)):
                counted = (
                    None if values is None else count(full_tensor(values), self.bins)
                )  # on all ranks, if it is cut
                if counted:
                    found.append({"images": run.images, "name": f"{kind}/{name}", **counted})
        if run.rank:
            return
        with open(RunDir(run.directory).histograms_file, "a") as out:
            out.writelines(json.dumps({"step": run.step, **one}) + "\n" for one in found)
        for logger in run.loggers:
            for one in found:
                logger.histogram(**one)


def count(values: Tensor, bins: int) -> dict[str, Any] | None:
    """counts of the finite values between low and high; None where there is none."""
    values = values.float()
    values = values[values.isfinite()]
    if not len(values):
        return None
    low, high = values.min().item(), values.max().item()
    if low == high:  # such as the zeros that a network starts from
        low, high = low - 0.5, high + 0.5
    return {"counts": torch.histc(values, bins, low, high).long().tolist(), "low": low, "high": high}
