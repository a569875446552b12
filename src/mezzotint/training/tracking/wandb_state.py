"""The upload state of a run at Weights & Biases, kept in the run."""

import os
import secrets
import string
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mezzotint.runs import RunDir


@dataclass
class WandbUploadState:
    """The content of a run's wandb/mezzotint.json.

    Args:
        id: of the run at the server, the same however often it is resumed.
        starts: how often the tracker was started on it.
        resumed_from: the images that had been seen at each start but the first.
        images: how far the lines of the log have arrived; -1 for not at all.
        state: of the run, that has arrived.
        files: names of the pictures and tables that have arrived.
        url: of the run's page.
    """

    id: str
    starts: int = 0
    resumed_from: list[int] = field(default_factory=list)
    images: int = -1
    state: str = ""
    files: list[str] = field(default_factory=list)
    url: str | None = None

    @classmethod
    def read(cls, directory: Path) -> "WandbUploadState":
        """That of a run; a new one where the run has none."""
        known = RunDir(directory).upload_state()
        return cls(**{key: known[key] for key in cls.__dataclass_fields__ if key in known}) if known else cls(new_id())

    def write(self, directory: Path) -> None:
        RunDir(directory).write_upload_state(asdict(self))


def new_id() -> str:
    """A new one, for a run that was deleted may be trained again; that of the W&B sweep that this process serves."""
    given = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
    return given or "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
