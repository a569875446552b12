"""`mezzotint sync DIR...`: upload runs to Weights & Biases; each is one curve, however often it was resumed.

What is sent is the run's own record, not the tracker's: every line of the log once, pictures, evaluations, state. So a
run that was trained without a tracker can be sent as well, and one that is half there already is completed.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mezzotint.app.results.tracking import evaluations, send_all, subject_of
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError, TrainingError
from mezzotint.instantiate.build import build
from mezzotint.plain_data import as_dict, lookup
from mezzotint.reading import files
from mezzotint.runs import RunDir
from mezzotint.runs.folders import find_runs
from mezzotint.training.tracking.hooks import STATES
from mezzotint.training.tracking.wandb_state import WandbUploadState

CODES = {"finished": 0, "failed": 1}  # by state; whatever else is not running was interrupted
OPTIONS = ("project", "entity")
OURS = ("mezzotint.training.WandB", "mezzotint.training.tracking.wandb.WandB")


def main(words: Sequence[str]) -> None:
    """Upload the runs in the folders given.

    Raises:
        ConfigError: no runs there, no key, no network; TrainingError: some of the runs could not be sent.
    """
    options = dict(word.split("=", 1) for word in words if word.partition("=")[0] in OPTIONS and "=" in word)
    folders = [Path(word) for word in words if word.partition("=")[0] not in OPTIONS]
    if not folders or any(str(folder).startswith("-") for folder in folders):
        raise ConfigError("which runs? Give a run or a folder of runs: mezzotint sync runs/latest (project= entity=)")
    found = {run: given for folder in folders for run, given in below(folder).items()}
    wanted = {run: node for run, given in found.items() if (node := tracker(run, given)) is not None}
    for run in found.keys() - wanted.keys():
        print(f"{display_path(run)}: left out, it was trained without logger=wandb; to send it, give its own folder")
    reachable()
    failed = 0
    for run, node in wanted.items():
        try:
            print(f"{display_path(run)}: {send(run, node | options)}", flush=True)
        except Exception as error:  # of the tracker, the network or a file of this run; the others can still be sent
            failed += 1
            print(f"{display_path(run)}: not sent, {' '.join(str(error).split())}", flush=True)
    if failed:
        raise TrainingError(f"{failed} of {len(wanted)} runs could not be sent; run the command again to send them")


def below(folder: Path) -> dict[Path, bool]:
    """Return the runs in a folder, and True if the folder itself is the run."""
    if RunDir(folder).exists():
        return {folder.resolve(): True}
    found = {run.path.resolve(): False for run in find_runs(folder)}
    if not found:
        raise ConfigError(f"{folder} holds no runs")
    return found


def tracker(run: Path, given: bool) -> dict[str, Any] | None:
    """Return the tracker node of the run's config, or its defaults for a run given explicitly."""
    nodes = as_dict(RunDir(run).config().get("logger")).values()
    own = [node for node in nodes if lookup(node, "_target_") in OURS]
    return own[0] if own else {"_target_": OURS[0]} if given else None


def reachable() -> None:
    """Raise an error early if uploading is impossible."""
    from mezzotint.training.tracking.wandb_mode import read_settings
    from mezzotint.training.tracking.wandb_server import server

    if refusal := server(read_settings()).refusal():
        raise ConfigError(f"nothing can be uploaded: {refusal}")


def send(run: Path, node: dict[str, Any]) -> str:
    """Upload a run, or its new lines and files, and print a summary."""
    RunDir(run).check_links()
    status, sent, lines = RunDir(run).status(), WandbUploadState.read(run), RunDir(run).metrics()
    state = RunDir(run).state
    if state == "running":
        return "left out, it is being trained; send it when it is done"
    code = CODES.get(state, 130)
    new = {file.name for file in RunDir(run).pictures()} | evaluations(run).keys()
    known = (sent.images, sent.state) == (lines[-1]["images"] if lines else -1, STATES.get(code, "failed"))
    if known and new <= set(sent.files):
        return f"is already uploaded: {sent.url}"
    logger = build(node | {"mode": "online"}, "logger.wandb")
    images = lines[-1]["images"] if lines else 0
    logger.start(subject_of(run, RunDir(run).config(), images, environment=RunDir(run).environment(), past=True), lines)
    try:
        added = send_all(logger, run, lines, sent.files)
        entries = {"objective": status.get("objective"), "error": status.get("error")}
        logger.summarise({key: value for key, value in entries.items() if value is not None})
    except BaseException:
        logger.finish(130)
        raise
    told, url = logger.told, logger.sent.url
    logger.finish(code)
    if logger.sent.state != STATES.get(code, "failed"):
        raise TrainingError("the server did not answer in time")
    mark(run)
    return f"{told} lines of the log, {len(added)} pictures and evaluations, {state}: {url}"


def mark(run: Path) -> None:
    """Mark the offline parts of a completely uploaded run as synced for `wandb sync`."""
    wandb = RunDir(run).wandb
    for folder in wandb.glob("offline-run-*"):
        for piece in files(run, f"{wandb.name}/{folder.name}/*.wandb"):
            done = piece.with_name(f"{piece.name}.synced")
            if not os.path.lexists(done):  # nor is a link of that name followed
                done.touch()
