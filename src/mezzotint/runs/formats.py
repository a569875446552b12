"""The files of a run by name, each with the shape of what it holds."""

import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mezzotint import reading
from mezzotint.atomic import write_text
from mezzotint.errors import DataError
from mezzotint.instantiate import renamed
from mezzotint.reading import (
    ANY,
    DEEPEST,
    MOST_OF_LOG,
    MOST_VALUES,
    NUMBER,
    NUMBER_OR_NONE,
    TEXT_OR_NONE,
    Damaged,
    damaged,
    mismatch,
    obstacle,
    read_bytes,
    read_json,
)

Node = dict[str, Any]

HELD_OUT, TRAINING = "validation loss", "training loss"  # what an objective is where no samples are judged
ANEW = "remove it, and `mezzotint evaluate` makes it anew"
FOLDERS = ("checkpoints", "samples", "evaluation", "wandb", "tensorboard", "sweep")
FILES = ("config.yaml", "status.json", "train.log", "metrics.jsonl", "histograms.jsonl", "environment.json")
FILES += ("data.json",)

MOST_OF_CONFIG = 1 << 20  # bytes
NODE = (dict, type(None))
GROUPS = (
    "data",
    "network",
    "schedule",
    "target",
    "objective",
    "time_distribution",
    "loss",
    "optimizer",
    "sampler",
    "grid",
)
GROUPS += ("hardware", "paths", "c_noise", "c_in", "loss_weight", "ema", "guidance", "extractor")
GROUPS += ("metrics", "callbacks", "logger")
CONFIG = {f"{key}?": NODE for key in GROUPS}
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
    "measure?": {"name": str, "higher_is_better?": bool},
}
DATA = {"classes": [str], "counts": [int], "images": int, "content": str}
SCORE = {"step": int, "images": int, "name": str, "value": NUMBER, "higher_is_better?": bool}
METRIC = {"values?": [str], "higher_is_better?": (bool, type(None)), "metric?": str, "compared?": str}
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
PROTOCOL = {  # as far as evaluations are compared by it
    "reference": {"count": NUMBER, "sha256": str},
    "extractors?": [{"name": str, "sha256": str}],
    "judged?": dict,
}
OF_RUN = {  # what else the protocol of a run's samples says
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


def status(run: Path) -> Node:
    """What status.json says; {} where there is none.

    Raises:
        Damaged: it is not what a run writes.
    """
    try:
        found = read_json(run / "status.json", run, STATUS, "it is written anew when the run goes on")
    except FileNotFoundError:
        return {}
    for key in ("started", "time", "seconds", "budget", "images", "steps"):
        if not 0 <= (found.get(key) or 0) < float("inf"):
            raise damaged(run / "status.json", f"{key} is {found[key]}", "it is written anew when the run goes on")
    return {key: value for key, value in found.items() if value is not None or key == "error"}


def config(run: Path) -> Node:
    """The run's config, as plain data.

    Raises:
        FileNotFoundError, Damaged: it is not there, or no config.
    """
    import yaml

    file = run / "config.yaml"
    text = reading.read_text(file, run, MOST_OF_CONFIG)
    try:
        if too_deep(yaml.parse(text, reader := getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            raise ValueError("it is too deep or too long, or merges parts of itself by <<")
        found = yaml.load(text, reader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise damaged(file, f"it is not YAML ({reading.reason(error)})") from error
    if isinstance(found, dict) and "network" not in found:
        raise Damaged(f"{run} is not a run: its config.yaml is another thing; `mezzotint runs` lists those that exist")
    if why := reading.not_plain(found):
        raise damaged(file, why)
    found = renamed.modern(found)
    if why := mismatch(found, CONFIG):
        raise damaged(file, why)
    return found


def too_deep(events: Iterable[Any]) -> bool:
    """Whether a YAML text nests further than a config does, which no reader need survive, or says too much."""
    deep = 0
    for count, event in enumerate(events):
        name = type(event).__name__
        deep += name.endswith("StartEvent") - name.endswith("EndEvent")
        merges = name == "ScalarEvent" and event.value == "<<"  # which multiply, one after the other
        if deep > DEEPEST or count > MOST_VALUES or merges:
            return True
    return False


def environment(run: Path) -> Node:
    """What the run ran on; {} where it does not say."""
    try:
        return read_json(run / "environment.json", run, dict)
    except FileNotFoundError:
        return {}


def data(run: Path) -> Node | None:
    """The classes and images that the run was trained on; None of one that does not say.

    Raises:
        Damaged: it is not what a run writes.
    """
    cure = "put it back, or remove it, and what the labels stand for is no longer compared"
    try:
        found = read_json(run / "data.json", run, DATA, cure)
    except FileNotFoundError:
        return None
    if min([found["images"], *found["counts"]]) < 0 or len(found["classes"]) not in (0, len(found["counts"])):
        raise damaged(run / "data.json", "its counts do not fit its classes", cure)
    return found


def evaluation(file: Path, run: Path) -> Node:
    """One evaluation: values, and the protocol that gave them.

    Raises:
        FileNotFoundError, Damaged: it is not there, or not what an evaluation writes.
    """
    return renamed.evaluation(read_json(file, run, EVALUATION, ANEW))


def comparable(file: Path, run: Path) -> Node:
    """One evaluation with a protocol that tells what its values can be compared with. Raises as `evaluation` does."""
    found = evaluation(file, run)
    made = found["protocol"]
    if why := mismatch(made, PROTOCOL | (OF_RUN if "run" in made else {}), "protocol"):
        raise damaged(file, why, ANEW)
    return found


def measure(run: Path, status: Node) -> Node | None:
    """What the run's objective is, by name, and whether higher is better; None where there is no objective.

    Of a run that does not say it, that of its numbers which the objective is.
    """
    objective = status.get("objective")
    if objective is None:
        return None
    if "measure" in status:
        return status["measure"]
    for file in reading.files(run, "evaluation/*.json"):
        with suppress(FileNotFoundError, Damaged):
            found = evaluation(file, run)
            if name := next((name for name, value in found["values"].items() if value == objective), None):
                metrics = found["protocol"].get("metrics", {}).values()
                higher = any(of.get("higher_is_better") and name in of.get("values", ()) for of in metrics)
                return {"name": name, "higher_is_better": higher}
    logged: list[Node] = []
    with suppress(Damaged):
        logged = lines(run)
    if any(line.get("validation", {}).get("loss") == objective for line in logged):
        return {"name": HELD_OUT}
    return {"name": TRAINING if any(line.get("loss") == objective for line in logged) else "objective"}


def best(run: Path) -> Node | None:
    """The score of the best checkpoint; None where there is none, or best.json does not say it."""
    try:
        return read_json(run / "checkpoints" / "best.json", run, SCORE)
    except (FileNotFoundError, Damaged):
        return None


def tracked(run: Path) -> Node | None:
    """What wandb/mezzotint.json says of the run's mirror; None where that is nothing."""
    try:
        return read_json(run / "wandb" / "mezzotint.json", run, TRACKED)
    except (FileNotFoundError, Damaged):
        return None


def lines(run: Path, name: str = "metrics.jsonl") -> list[Node]:
    """The whole lines of a log; none where it is not there.

    Raises:
        Damaged: it cannot be read.
    """
    try:
        return whole_lines(read_bytes(run / name, run, MOST_OF_LOG).splitlines())
    except FileNotFoundError:
        return []


def whole_lines(texts: Iterable[bytes]) -> list[Node]:
    """Those that are a line of a log; one that is being written, or was when its writer died, is not."""
    found = []
    for text in texts:
        try:
            value = reading.parse(text)
        except ValueError:
            continue
        value = renamed.line(value)
        if not mismatch(value, LINE) and min(value["images"], value.get("step", 1)) >= 0:
            found.append(value)
    return found


def truncate(run: Path, name: str, step: int) -> list[Node]:
    """Cut a log back to the lines up to a step, whole lines only; returns them."""
    kept = [line for line in lines(run, name) if line.get("step", step + 1) <= step]
    write_text(run / name, "".join(json.dumps(line) + "\n" for line in kept))
    return kept


def keep_inside(run: Path) -> None:
    """Refuse to write into a run whose parts are not its own, or not what they must be.

    Raises:
        DataError: a part is a link out of the run, a pipe, a folder in the place of a file, or the like.
    """
    try:
        names = sorted(os.listdir(run))
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{run} cannot be read: {reading.reason(error)}") from error
    for name in names:
        file = run / name
        why = obstacle(file, run)
        if not why and name in (*FOLDERS, *FILES):
            folder = stat.S_ISDIR(os.stat(file).st_mode)
            if folder != (name in FOLDERS):
                why = "it is a folder, not a file" if folder else "it is a file, not a folder"
        if why:
            raise DataError(
                f"{file}: {why}, so nothing is written into this run; remove it, or put the thing itself there"
            )
