"""The hooks by which a run reports to its trackers. Imports neither torch nor lightning."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mezzotint.finite import Finite

STATES = {0: "finished", 130: "preempted"}  # by exit code; every other is "failed"


@dataclass(frozen=True)
class RunInfo:
    """The description of a run that a tracker receives when it starts.

    Args:
        config: of the run, as plain data.
        images: seen before this start.
        name: of the run among others; by default that of its folder.
        group: common to runs that differ in the seed alone; by default the name.
        environment: the machine, versions and commit that the run uses.
        past: the run has ended, perhaps on another machine: nothing of this process belongs to it.
        own: a Trainer of one's own logs, in Lightning's steps; no log and no config of a run exist.
    """

    directory: Path
    config: dict[str, Any] = field(default_factory=dict)
    images: int = 0
    name: str = ""
    group: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    past: bool = False
    own: bool = False

    @property
    def axis(self) -> str:
        """The name of the x axis."""
        return "trainer/global_step" if self.own else "images"


class TrackerHooks(metaclass=Finite):
    """The hooks of a tracker, all optional. Only rank 0 calls them, `start` first; `images` is the x axis."""

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        """`lines` are those of the log so far, for a tracker that is written anew."""

    def log(self, images: int, values: dict[str, Any]) -> None:
        """One line of the log, nested numbers named with slashes."""

    def picture(self, images: int, name: str, file: Path) -> None:
        """A picture that has been written: PNG or animated GIF."""

    def histogram(self, images: int, name: str, counts: Sequence[int], low: float, high: float) -> None:
        """A histogram: `counts` in as many bins of equal width from `low` to `high`."""

    def table(self, images: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A complete table."""

    def summarise(self, values: dict[str, float]) -> None:
        """Numbers that characterise the run."""

    def evaluated(self, images: int, found: dict[str, dict[str, Any]]) -> None:
        """The run's evaluations by name, oldest first, each with its values and protocol.

        Of several values under one name the first is the run's: it was measured at the end of training, by the config.
        """
        names = list(dict.fromkeys(name for one in found.values() for name in one["values"]))
        own: dict[str, float] = {}
        for one in found.values():
            own = {f"evaluation/{name}": value for name, value in one["values"].items()} | own
        rows = [
            [name, *(one["values"].get(value) for value in names), json.dumps(one["protocol"])]
            for name, one in found.items()
        ]
        self.summarise(own)
        self.table(images, "evaluations", ["evaluation", *names, "protocol"], rows)

    def keep(self) -> None:
        """The run is done; a tracker that stores checkpoints finds them in its directory."""

    def finish(self, code: int) -> None:
        """The end, with an exit code: 0 for success, 130 for an interruption."""


def edges(bins: int, low: float, high: float) -> list[float]:
    """Return the `bins + 1` edges of bins of equal width from `low` to `high`."""
    return [low + (high - low) * i / bins for i in range(bins + 1)]
