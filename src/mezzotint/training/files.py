"""Small files: written as a whole or not at all, and logs of one JSON object a line. Imports no torch."""

import json
import os
from pathlib import Path
from typing import Any


def write(path: Path, text: str) -> None:
    """Write to a name of its own in the same folder, force it to the disk, then move it into place.

    The name is one that no other process has, on this machine or on another that sees the folder.
    """
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; none where it is not there, and not the one that was being written when a run died."""
    lines = []
    for text in file.read_text().splitlines() if file.is_file() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def truncate(file: Path, step: int) -> list[dict[str, Any]]:
    """Cut a log back to the lines up to a step, whole lines only; returns them."""
    lines = [line for line in read_lines(file) if line["step"] <= step]
    write(file, "".join(json.dumps(line) + "\n" for line in lines))
    return lines
