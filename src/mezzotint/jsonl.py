"""Logs of one JSON object a line."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mezzotint.whole import write_text


def parsed(texts: Iterable[bytes]) -> list[dict[str, Any]]:
    """Those that are whole objects; one that is being written, or was when its writer died, is not."""
    found = []
    for text in texts:
        with suppress(ValueError):
            found.append(json.loads(text))
    return [each for each in found if isinstance(each, dict)]


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a log; none where it is not there."""
    return parsed(file.read_bytes().splitlines()) if file.is_file() else []


def truncate(file: Path, step: int) -> list[dict[str, Any]]:
    """Cut a log back to the lines up to a step, whole lines only; returns them."""
    lines = [line for line in read_lines(file) if line["step"] <= step]
    write_text(file, "".join(json.dumps(line) + "\n" for line in lines))
    return lines
