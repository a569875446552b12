"""The formats of a run's files: the shape of each, and validating readers.

A reader takes a file and the run that it belongs to, and returns checked plain data or raises `Damaged`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mezzotint import reading
from mezzotint.instantiate import renamed
from mezzotint.instantiate.trust import NEEDED
from mezzotint.plain_data import (
    ANY,
    DEEPEST,
    MOST_VALUES,
    NUMBER,
    NUMBER_OR_NONE,
    TEXT_OR_NONE,
    mismatch,
    not_plain,
    parse,
)
from mezzotint.reading import Damaged, damaged, read_json

Node = dict[str, Any]

VALIDATION_LOSS, TRAINING_LOSS = "validation loss", "training loss"  # the objectives of runs without metrics
ANEW = "remove it, and `mezzotint evaluate` makes it anew"
MOST_OF_CONFIG = 1 << 20  # bytes
NODE = (dict, type(None))
CONFIG = {f"{key}?": NODE for key in NEEDED}
COUNT = (int, type(None))
STATUS = {
    "state?": str,
    "error?": TEXT_OR_NONE,
    "host?": TEXT_OR_NONE,
    "pid?": COUNT,
    **{f"{key}?": COUNT for key in ("budget", "images", "steps")},
    **{f"{key}?": NUMBER_OR_NONE for key in ("started", "time", "seconds", "objective")},
    "meeting?": {"of": str, "host": str, "port": int},
    "best?": dict,
    "spent?": {...: NUMBER_OR_NONE},
    "measure?": {"name": str, "higher_is_better?": bool},
    "early_stop?": NODE,
}
EARLY_STOP = {"by": [str], "images": int, "budget": int, "reason?": str}
DATA = {"classes": [str], "counts": [int], "images": int, "content": str}
SCORE = {"step": int, "images": int, "name": str, "value": NUMBER, "higher_is_better?": bool}
METRIC = {
    "values?": [str],
    "higher_is_better?": (bool, type(None)),
    "metric?": str,
    "compared?": str,
    "of_reference?": bool,
}
EVALUATION = {
    "values": {...: NUMBER_OR_NONE},
    "errors?": {...: NUMBER_OR_NONE},
    "notes?": [str],
    "protocol": {
        "n": int,
        "metrics?": {...: METRIC},
        "versions?": {...: ANY},
        "each?": [{...: ANY}],
        "calls?": NUMBER,
        "date?": str,
    },
}
PROTOCOL = {  # the part of the protocol by which evaluations are compared
    "reference": {"count": NUMBER, "sha256": str},
    "extractors?": [{"name": str, "sha256": str}],
    "judged?": dict,
}
OF_RUN = {  # further entries of the protocol where the samples of a run were evaluated
    "run": str,
    "step": (int, type(None)),
    "weights": (str, int, float),
    "seeds": [int],
    **{f"{group}?": (dict, type(None)) for group in ("sampler", "grid", "guidance")},
}
LINE = {"step?": int, "images": int, "time?": dict, "validation?": dict, "sample_metrics?": dict}
HISTOGRAM = {"name": str, "counts": [NUMBER], "low": NUMBER, "high": NUMBER}
TRACKED = {
    "id": str,
    "starts?": int,
    "resumed_from?": [int],
    "images?": int,
    "state?": str,
    "files?": [str],
    "url?": TEXT_OR_NONE,
}


def status(file: Path, run: Path) -> Node:
    """Read status.json; {} where there is none.

    Raises:
        Damaged: it does not have the shape that a run writes.
    """
    cure = "it is written anew when the run goes on"
    try:
        found = read_json(file, run, STATUS, cure)
    except FileNotFoundError:
        return {}
    for key in ("started", "time", "seconds", "budget", "images", "steps"):
        if not 0 <= (found.get(key) or 0) < float("inf"):
            raise damaged(file, f"{key} is {found[key]}", cure)
    return {key: value for key, value in found.items() if value is not None or key == "error"}


def config(file: Path, run: Path) -> Node:
    """Read a run's config as plain data.

    Raises:
        FileNotFoundError: it is missing. Damaged: it is not a config.
    """
    import yaml

    text = reading.read_text(file, run, MOST_OF_CONFIG)
    try:
        if too_deep(yaml.parse(text, reader := getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            raise ValueError("it is too deep or too long, or merges parts of itself by <<")
        found = yaml.load(text, reader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise damaged(file, f"it is not YAML ({reading.reason(error)})") from error
    if isinstance(found, dict) and "network" not in found:
        raise Damaged(
            f"{run} is not a run: its {file.name} is not the config of a run; `mezzotint runs` lists those that exist"
        )
    if why := not_plain(found):
        raise damaged(file, why)
    found = renamed.modern(found)
    if why := mismatch(found, CONFIG):
        raise damaged(file, why)
    return found


def too_deep(events: Iterable[Any]) -> bool:
    """Return whether a YAML text nests deeper, or holds more values, than any config, or merges mappings by <<."""
    deep = 0
    for count, event in enumerate(events):
        name = type(event).__name__
        deep += name.endswith("StartEvent") - name.endswith("EndEvent")
        merges = name == "ScalarEvent" and event.value == "<<"  # merges of merges grow exponentially
        if deep > DEEPEST or count > MOST_VALUES or merges:
            return True
    return False


def data(file: Path, run: Path) -> Node | None:
    """Read the record of a run's training data; None where the run has none.

    Raises:
        Damaged: it does not have the shape that a run writes.
    """
    cure = "restore it, or remove it to skip the comparison of class names"
    try:
        found = read_json(file, run, DATA, cure)
    except FileNotFoundError:
        return None
    if min([found["images"], *found["counts"]]) < 0 or len(found["classes"]) not in (0, len(found["counts"])):
        raise damaged(file, "its counts do not fit its classes", cure)
    return found


def evaluation(file: Path, run: Path) -> Node:
    """Read an evaluation: its values, and the protocol by which they were measured.

    Raises:
        FileNotFoundError: it is missing. Damaged: it does not have the shape of an evaluation.
    """
    return renamed.evaluation(read_json(file, run, EVALUATION, ANEW))


def comparable(file: Path, run: Path) -> Node:
    """Read an evaluation whose protocol is complete enough to compare it with others. Raises as `evaluation` does."""
    found = evaluation(file, run)
    made = found["protocol"]
    if why := mismatch(made, PROTOCOL | (OF_RUN if "run" in made else {}), "protocol"):
        raise damaged(file, why, ANEW)
    return found


def value_named(evaluation: Node, value: float) -> Node | None:
    """Return name and direction of the first value of an evaluation that equals this one; None where none does."""
    name = next((name for name, found in evaluation["values"].items() if found == value), None)
    if not name:
        return None
    metrics = evaluation["protocol"].get("metrics", {}).values()
    higher = any(of.get("higher_is_better") and name in of.get("values", ()) for of in metrics)
    return {"name": name, "higher_is_better": higher}


def lines(texts: Iterable[bytes]) -> list[Node]:
    """Return the complete lines of a log. A line that is being written, or was when its writer died, is left out."""
    found = []
    for text in texts:
        try:
            value = parse(text)
        except ValueError:
            continue
        value = renamed.line(value)
        if not mismatch(value, LINE) and min(value["images"], value.get("step", 1)) >= 0:
            found.append(value)
    return found
