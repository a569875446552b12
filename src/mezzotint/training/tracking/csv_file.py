"""A CSV file as a tracker."""

import csv
from pathlib import Path
from typing import Any

from mezzotint.runs import RunDir
from mezzotint.training.flat import flat
from mezzotint.training.tracking.hooks import RunInfo
from mezzotint.training.tracking.tracker import Tracker


class CSV(Tracker):
    """metrics.csv beside metrics.jsonl: one row a line, one column a number.

    Lightning's CSVLogger numbers folders and deletes what it finds in one; this file continues with its run.

    Args:
        save_dir: folder, in a Trainer of one's own; a run has its own.
    """

    def __init__(self, save_dir: str | Path = ".") -> None:
        self.folder = save_dir
        self.rows: list[dict[str, Any]] = []

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        self.own = subject.own
        self.file = RunDir(subject.directory).metrics_table_file
        self.rows = [flat(line) for line in lines] or self.rows
        self.columns: list[str] = []
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.write()

    def log(self, images: int, values: dict[str, Any]) -> None:
        row = {"step": images} | values if self.own else values
        if self.rows and self.rows[-1].get("step") == row.get("step", -1):
            self.rows[-1] |= row
            self.write()
        else:
            self.rows.append(row)
            self.append(row)

    def append(self, row: dict[str, Any]) -> None:
        if not set(row) <= set(self.columns):
            return self.write()
        with open(self.file, "a", newline="") as out:
            csv.DictWriter(out, self.columns).writerow(row)
        return None

    def write(self) -> None:
        """Write all rows, with a column for each name so far."""
        self.columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with open(self.file, "w", newline="") as out:
            writer = csv.DictWriter(out, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)
