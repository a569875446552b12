"""The files of `edit`: results named as the given examples, a comparison sheet, and numbers."""

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mezzotint.app.config.job import Job
from mezzotint.app.results.run_folders import mark, writable
from mezzotint.app.results.samples import name
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path, write_text
from mezzotint.data import Codec
from mezzotint.errors import ConfigError
from mezzotint.figures import as_images, grid
from mezzotint.generation import Edits
from mezzotint.reading import Damaged, read_json
from mezzotint.runs import RunDir

SHOWN = 12  # examples of the sheet
KEPT = ("images", "task", "method", "sampler", "grid", "guidance", "seed", "n", "label", "condition", "weights")
ENDINGS = (".json", ".png", ".npz", ".npy", ".gif", ".jpg")


@dataclass(frozen=True)
class EditPlace:
    """The files of one call: results in the folder `stem` or the file stem.npz, stem.png and stem.json beside.

    Args:
        stem: the common part of their paths.
        request: a hash of what was asked for, by which a repetition is recognised.
    """

    stem: Path
    request: str

    @property
    def sheet(self) -> Path:
        return self.beside(".png")

    @property
    def numbers(self) -> Path:
        return self.beside(".json")

    def beside(self, ending: str) -> Path:
        """Return the file beside the results with this ending."""
        return self.stem.with_name(f"{self.stem.name}{ending}")

    def made_before(self) -> dict[str, Any] | None:
        """Return the numbers of the same request, if it was answered before.

        Raises:
            ConfigError: the place holds something else.
        """
        there = [file for file in (self.stem, self.beside(".npz"), self.sheet, self.numbers) if file.exists()]
        if not there:
            return None
        try:
            found = read_json(self.numbers, self.numbers.parent, dict)
        except (FileNotFoundError, Damaged):
            found = {}
        if found.get("request") == self.request:
            return found
        raise ConfigError(f"{display_path(there[0])} already exists, from another request: give another out=FOLDER")


def place(directory: Path, job: Job, examples: str) -> EditPlace:
    """Return where the results of a job go.

    Args:
        examples: a hash of the given examples.

    Raises:
        ConfigError: that cannot be written.
    """
    config = job.as_dict() | {"examples": examples, "step": job.checkpoint or RunDir(directory).newest_step()}
    request = mark(config, (*KEPT, "examples", "step"))
    if job.out is None:
        run = RunDir(directory)
        run.check_links()
        kinds = [str((node or {}).get("_target_", "")).rpartition(".")[2].lower() for node in (job.task, job.method)]
        stem = run.edits / "-".join([*filter(None, kinds), name(job), request])
    else:
        stem = Path(job.out).expanduser()
        if stem.suffix.lower() in ENDINGS:
            raise ConfigError(f"out={job.out}: give a folder; the sheet and the numbers are written beside it")
    writable(stem.parent)
    return EditPlace(stem, request)


@dataclass
class EditFiles:
    """Writers of the results: complete when the context ends without an error.

    Args:
        place: the files.
        names: of the given examples.
        codec: of the examples.
        image: whether they are images, which become one PNG file each.
    """

    place: EditPlace
    names: tuple[str, ...]
    codec: Codec
    image: bool
    shown: list[list[Tensor]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    arrays: dict[str, list[Tensor]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.stack = ExitStack()
        self.place.stem.parent.mkdir(parents=True, exist_ok=True)
        if self.image:
            self.folder = self.stack.enter_context(atomic_path(self.place.stem))
            self.folder.mkdir()
        return self

    def add(self, index: Tensor, given: Tensor, edits: Edits) -> None:
        """Write the edits of a batch.

        Args:
            index: their numbers (B,).
            given: the given examples as they are stored.
        """
        for i, row in enumerate(index.tolist()):
            if self.image:
                self.write_images(self.names[row], edits.results[i])
            if row < SHOWN:
                self.show(given[i], i, edits)
        if not self.image:
            self.arrays.setdefault("data", []).append(edits.results.squeeze(1))
        for kind, values in edits.arrays.items():
            self.arrays.setdefault(kind, []).append(values)

    def write_images(self, named: str, results: Tensor) -> None:
        from PIL import Image

        for k, result in enumerate(results.permute(0, 2, 3, 1).squeeze(-1).numpy()):
            file = self.folder / f"{named}{f'-{k}' if len(results) > 1 else ''}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(result).save(file)

    def show(self, given: Tensor, i: int, edits: Edits) -> None:
        """Keep a row of the sheet: given unless it is the truth, measured, results, truth."""
        measured, truth = (None if each is None else each[i] for each in (edits.measured, edits.truth))
        several = len(edits.results[i]) > 1
        row = [("given", given)] if truth is None and given.shape == edits.results.shape[2:] else []
        row += [] if measured is None else [("measured", measured)]
        row += [(f"result {k}" if several else "result", one) for k, one in enumerate(edits.results[i])]
        row += [] if truth is None else [("truth", truth)]
        self.heads = [head for head, _ in row]
        self.shown.append([image.cpu() for _, image in row])

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        if kind is None:
            self.write_arrays()
        self.stack.__exit__(kind, *raised)
        if kind is None:
            self.write_sheet()

    def write_arrays(self) -> None:
        """Write examples that are no images, and further results such as noises, to stem.npz."""
        import numpy as np

        if not self.arrays:
            return
        found: dict[str, Any] = {kind: torch.cat(parts).numpy() for kind, parts in self.arrays.items()}
        found["names"] = np.array(self.names[: len(next(iter(found.values())))])
        with atomic_path(self.place.beside(".npz")) as part:
            np.savez_compressed(part, **found)

    def write_sheet(self) -> None:
        columns = len(self.heads)
        table = as_images(torch.stack([image for row in self.shown for image in row]), self.codec)
        with atomic_path(self.place.sheet) as part:
            grid(table, columns=columns, heads=self.heads).save(part)

    @property
    def paths(self) -> list[Path]:
        """The files that were written, results first."""
        found = [self.place.stem, self.place.beside(".npz"), self.place.sheet, self.place.numbers]
        return [path for path in found if path.exists()]


def write_numbers(place: EditPlace, values: dict[str, Any], each: dict[str, dict[str, float]], made: dict) -> None:
    """Write the numbers: of all examples together, of each, and how they were made."""
    content = {"values": values, "each": each, "protocol": made, "request": place.request}
    write_text(place.numbers, json.dumps(content, indent=1))
