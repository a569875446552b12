"""Shell completion: commands, their arguments and runs from here, keys and choices of the config from Hydra."""

import contextlib
import io
import os
import sys
from collections.abc import Sequence

from mezzotint.app.help import COMMANDS, GROUPS, KINDS, OWN_WORDS, choices, config_dir, groups

FOLDERS = ("sweep", "report", "sync", "compare")  # commands whose words are runs
KEYED = {
    "ema": ("run=", "std=", "out="),
    "export": (
        "run=",
        *(f"format={name}" for name in ("safetensors", "torch_export", "onnx", "diffusers")),
        *("weights=", "checkpoint=", "license=", "out="),
    ),
}
PLOT = ("run=", "kind=", "n=", "samples=", "points=", "frames=", "features=", "out=")


def complete(words: list[str]) -> None:
    """Answer a shell's completion script: `-sc install=bash`, or `-sc query=bash` with COMP_LINE in the environment.

    Hydra completes `mezzotint key=...`; the command before it is completed here and then removed.
    """
    asked = "query" in "".join(words)
    line = os.environ.get("COMP_LINE", "mezzotint ").split(" ")
    if not asked:
        print(from_hydra(words))
        return
    last = line[-1] if len(line) > 1 else ""
    offered = COMMANDS if len(line) < 3 else offers(line[1], last)
    found = [word for word in offered if word.startswith(last)]
    if len(line) > 2 and not found and not own(line[1], line[2:-1]):
        os.environ["COMP_LINE"] = " ".join([line[0], *line[2:]])
        found = [word for word in from_hydra(words).split() if "_target_" not in word]
    print("\n".join(dict.fromkeys(found)))


def own(command: str, before: Sequence[str]) -> bool:
    """Return True if the command takes no keys of the config; `plot run=` takes some."""
    return command in OWN_WORDS and not (command == "plot" and any(word.startswith("run=") for word in before))


def offers(command: str, last: str) -> list[str]:
    """Return completions of the last word that Hydra does not know."""
    key, equals, value = last.partition("=")
    if equals and key == "run":
        return [f"run={name}" for name in runs(value)]
    if command in FOLDERS and not equals:
        return runs(last)
    if command == "runs":
        return ["--json", "paths.runs=", "finished", "running", "interrupted", "preempted", "failed"]
    if command in KEYED:
        return list(KEYED[command])
    if command != "plot":
        return []
    if equals and key == "kind":
        return [f"kind={kind}" for kind in KINDS]
    if equals and key == "features":
        return [f"features={name}" for name in ("pixels", *choices(config_dir() / "extractor"))]
    if equals and key in groups():
        front = value.rpartition(",")[0]
        return [f"{key}={front}{',' if front else ''}{name}" for name in choices(config_dir() / key)]
    return [*PLOT, *(f"{group}=" for group in GROUPS["plot"])]


def runs(start: str) -> list[str]:
    """Runs and sweeps whose path begins so, as they would be typed."""
    from mezzotint.app.results.run_folders import folder
    from mezzotint.app.terminal import display_path
    from mezzotint.runs.folders import LATEST, find_runs

    root = folder()
    found = [run.path for run in find_runs(root)]
    places = [root / LATEST, *found, *{run.parent for run in found if run.parent != root}]
    absolute = start.startswith("/")
    names = [str(place) if absolute else display_path(place) for place in places if place.exists()]
    return sorted(name for name in names if name.startswith(start))


def from_hydra(words: list[str]) -> str:
    """Return the output of Hydra's own completion."""
    import hydra

    from mezzotint.app.config.arguments import CONFIG
    from mezzotint.app.launch.hydra_hooks import find_plugins

    find_plugins()
    before, sys.argv = sys.argv, ["mezzotint", *words]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            hydra.main(config_path=str(config_dir()), config_name=CONFIG, version_base="1.3")(lambda config: None)()
    finally:
        sys.argv = before
    return out.getvalue()
