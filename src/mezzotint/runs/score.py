"""The score by which the checkpoints of a run are ranked, and best.json, which names the best one."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from mezzotint.atomic import write_text
from mezzotint.reading import Damaged, read_json
from mezzotint.runs.formats import SCORE


@dataclass(frozen=True)
class Score:
    """A number that ranks the checkpoints of a run, and the step at which it was measured."""

    step: int
    images: int
    name: str
    value: float
    higher_is_better: bool = False

    def beats(self, other: "Score | None") -> bool:
        """Return whether this is the better score. A score of another name, such as of more samples, starts anew."""
        if math.isnan(self.value):
            return False
        if other is None or other.name != self.name:
            return True
        return self.value > other.value if self.higher_is_better else self.value < other.value


def read_best(checkpoints: Path) -> Score | None:
    """Read the score of the best checkpoint in a folder of checkpoints; None where it is missing or damaged."""
    try:
        found = read_json(best_file(checkpoints), checkpoints.parent, SCORE)
    except (FileNotFoundError, Damaged):
        return None
    return Score(**{key: found[key] for key in Score.__dataclass_fields__ if key in found})


def write_best(checkpoints: Path, score: Score | None) -> None:
    """Record the score of the best checkpoint; None removes the record."""
    if score is None:
        best_file(checkpoints).unlink(missing_ok=True)
    else:
        write_text(best_file(checkpoints), json.dumps(asdict(score), indent=1))


def best_file(checkpoints: Path) -> Path:
    return checkpoints / "best.json"
