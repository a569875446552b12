"""Whatever lies in a run's directory, a command ends: with its answer or with one line, and it touches nothing outside.

Each case damages one file of a tiny run in one way, both chosen by the case's seed, and runs one command on it.
"""

import json
import os
import random
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import mezzotint
from mezzotint.app import cli
from mezzotint.app.commands import sync
from mezzotint.app.results import tracking
from mezzotint.errors import MezzotintError
from mezzotint.training.tracking.hooks import STATES, RunInfo
from mezzotint.training.tracking.wandb_state import WandbUploadState

from .conftest import Done

SECRET = b"PRIVATE-KEY-OF-SOMEBODY-ELSE"
SECONDS = 60  # until a command counts as hung
LISTINGS = ("runs", "json", "sweep", "compare", "sync", "report")
READERS = ("sample", "evaluate", "check", "plot", "load", "go on", "sync")
Damage = Callable[[Path, Path, random.Random], None]


# ------------------------------------------------------------------------------------------------------- what is done


def flip(file: Path, outside: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    for _ in range(draw.choice((1, 1, 8, 64))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def cut(file: Path, outside: Path, draw: random.Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: draw.randrange(len(content))])


def replace_text(file: Path, outside: Path, draw: random.Random) -> None:
    texts = [b"", b"\xff\xfe\x00", b"[]", b"{}", b"null", b"5", b"NaN", b'"x"', b"[[1]]", b'{"state": 5}', b"\x00" * 64]
    texts += [b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"9" * 5000, b'"\\ud800"', b"&a [*a]", b"- " * 5000]
    file.write_bytes(draw.choice(texts))


STRANGE = [
    None,
    True,
    -1,
    0,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\ud800\x1b[2J",
    [],
    {},
    [[]],
    {"a": {}},
]


def change_value(file: Path, outside: Path, draw: random.Random) -> None:
    """One value of a text file of values is another one, or a key is missing; of another file, as `flip`."""
    text = file.read_bytes()
    if file.suffix == ".yaml":
        value: Any = yaml.safe_load(text)
    elif file.suffix == ".json":
        value = json.loads(text)
    elif file.suffix == ".jsonl":
        value = [json.loads(line) for line in text.splitlines()]
    elif file.suffix == ".ckpt":
        value = torch.load(file, weights_only=True)
    else:
        flip(file, outside, draw)
        return
    spoil(value, draw)
    if file.suffix == ".yaml":
        file.write_text(yaml.safe_dump(value))
    elif file.suffix == ".json":
        file.write_text(json.dumps(value))
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(line) + "\n" for line in value))
    else:
        torch.save(value, file)


def spoil(value: Any, draw: random.Random) -> None:
    node = value
    while True:
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if isinstance(node[key], (dict, list)) and node[key] and draw.random() < 0.8:
            node = node[key]
            continue
        if draw.random() < 0.25:
            del node[key]
        else:
            node[key] = draw.choice(STRANGE)
        return


def other_checkpoint(file: Path, outside: Path, draw: random.Random) -> None:
    if file.suffix != ".ckpt":
        change_value(file, outside, draw)
        return
    whole = torch.load(file, weights_only=True)
    state = whole["state_dict"]
    name = draw.choice(list(state))
    contents = [
        [1],
        "text",
        torch.zeros(3),
        {},
        Path("x"),
        whole | {"state_dict": {}},
        whole | {"state_dict": [1]},
        whole | {"state_dict": {**state, name: torch.zeros(2, 5)}},
        whole | {"state_dict": {key: value for key, value in state.items() if key != name}},
        whole | {"ema": {"0.05": {name: torch.zeros(1)}}},
        whole | {"optimizer_states": []},
        whole | {"log": {"losses": torch.zeros(3), "norms": 5, "seconds": "x"}},
        whole | {"format_version": 99},
        whole | {"images": 7},
        {"format_version": 1, "state_dict": state},
    ]
    torch.save(draw.choice(contents), file)


def folder(file: Path, outside: Path, draw: random.Random) -> None:
    file.unlink()
    file.mkdir()


def missing(file: Path, outside: Path, draw: random.Random) -> None:
    file.unlink()


def loop(file: Path, outside: Path, draw: random.Random) -> None:
    file.unlink()
    file.symlink_to(file.name)


def link(file: Path, outside: Path, draw: random.Random) -> None:
    file.unlink()
    file.symlink_to(draw.choice((outside / "secret.txt", outside / "folder", outside / "nothing", Path("/dev/zero"))))


def pipe(file: Path, outside: Path, draw: random.Random) -> None:
    file.unlink()
    os.mkfifo(file)


def plug(file: Path, outside: Path, draw: random.Random) -> None:
    file.unlink()
    here = os.getcwd()
    os.chdir(file.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(file.name)
    os.chdir(here)


def linked_folder(file: Path, outside: Path, draw: random.Random) -> None:
    part = file.parent
    if part.name not in ("samples", "evaluation", "checkpoints"):
        link(file, outside, draw)
        return
    if draw.random() < 0.5:
        shutil.rmtree(outside / "folder")
        part.rename(outside / "folder")
    else:
        shutil.rmtree(part)
    part.symlink_to(outside / "folder")


def huge(file: Path, outside: Path, draw: random.Random) -> None:
    with open(file, "ab") as out:
        out.truncate(1 << 40)


DAMAGES: tuple[Damage, ...] = (
    *(
        flip,
        cut,
        replace_text,
        replace_text,
        change_value,
        change_value,
        change_value,
        other_checkpoint,
        folder,
        missing,
    ),
    *(loop, link, link, pipe, plug, linked_folder, huge),
)


# ------------------------------------------------------------------------------------------------------------- cases


def files_of(run: Path) -> list[Path]:
    return sorted(file.relative_to(run) for file in run.rglob("*") if file.is_file())


def add_traces(run: Path) -> None:
    """What trackers leave in a run."""
    piece = run / "wandb" / "offline-run-20260101_000000-abcdefgh"
    piece.mkdir(parents=True)
    (piece / "run-abcdefgh.wandb").write_bytes(bytes(range(64)))
    WandbUploadState(
        "abcdefgh", starts=1, images=32, state="finished", files=["x.png"], url="https://wandb.ai/x"
    ).write(run)
    (run / "tensorboard").mkdir()
    (run / "tensorboard" / "events.out.tfevents.0").write_bytes(bytes(range(64)))
    histogram = {"step": 4, "images": 64, "name": "weights/x", "counts": [1, 2], "low": 0.0, "high": 1.0}
    (run / "histograms.jsonl").write_text(json.dumps(histogram) + "\n")


class Board(tracking.TrackerHooks):
    """A server that takes whatever it is sent."""

    def __init__(self, node: dict[str, Any], where: str) -> None:
        self.node, self.told, self.session = node, 0, None

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        self.subject, self.sent = subject, WandbUploadState.read(subject.directory)
        json.dumps(subject.config)

    def picture(self, images: int, name: str, file: Path) -> None:
        file.read_bytes()

    def finish(self, code: int) -> None:
        self.sent.state = STATES.get(code, "failed")
        self.sent.write(self.subject.directory)


def command(name: str, run: Path, capsys: pytest.CaptureFixture[str]) -> Done:
    capsys.readouterr()
    words = {
        "runs": ["runs"],
        "json": ["runs", "--json"],
        "sweep": ["sweep", str(run.parent)],
        "compare": ["compare", str(run), str(run.parent / "b")],
        "report": ["report", *([str(run.parent)] if hash(run) % 2 else [str(run)]), "out=page.html"],
        "sample": ["sample", f"run={run}", "n=1"],
        "evaluate": ["evaluate", f"run={run}", "n=16"],
        "check": ["check", f"run={run}"],
        "plot": ["plot", f"run={run}"],
        "sync": ["sync", str(run)],
        "go on": ["train", f"run={run}", "budget=80", "metrics=[]"],
    }
    code = 0
    try:
        if name in words:
            code = cli.main(words[name])
        else:
            mezzotint.load(run)
    except MezzotintError:
        code = 2
    except KeyboardInterrupt:
        raise AssertionError("it hung") from None
    said = capsys.readouterr()
    return Done(code, said.out, said.err)


def snapshot(place: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(file): (file.lstat().st_mtime_ns, file.read_bytes() if file.is_file() else b"")
        for file in [place, *place.rglob("*")]
    }


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise AssertionError(f"it hung for {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def case(
    four_steps: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, tuple[str, ...]], Done]:
    runs, outside, whole = home / "runs", home.parent / "outside", home.parent / "whole"
    shutil.copytree(four_steps, whole, symlinks=True)
    add_traces(whole / "a")
    names = files_of(whole / "a")
    monkeypatch.setattr(sync, "reachable", lambda: None)
    monkeypatch.setattr(sync, "build", Board)

    def run(seed: int, commands: tuple[str, ...]) -> Done:
        draw = random.Random(seed)
        for place in (runs, outside):
            shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, runs, symlinks=True)
        shutil.copytree(runs / "a", runs / "b")
        (outside / "folder").mkdir(parents=True)
        (outside / "secret.txt").write_bytes(SECRET)
        name, damage = draw.choice(names), draw.choice(DAMAGES)
        damage(runs / "a" / name, outside, draw)
        before = snapshot(outside)
        chosen = draw.choice(commands)
        with at_most(SECONDS):
            done = command(chosen, runs / "a", capsys)
        what = f"seed {seed}: {chosen} after {damage.__name__} of {name}"
        said = done.out + done.err
        assert done.code in (0, 1, 2), what
        for never in ("Traceback", "weights_only", SECRET.decode()):
            assert never not in said, f"{what}\n{said[-1500:]}"
        assert done.code == 0 or done.err.strip() or not done.out, f"{what}: no word"
        page = home / "page.html"
        assert not page.exists() or SECRET not in page.read_bytes(), what
        assert snapshot(outside) == before, f"{what}: it wrote outside"
        if chosen in ("runs", "json", "sweep", "report"):
            assert done.code == 0 or (chosen == "report" and "a" in said), f"{what}: {said}"
        return done

    return run


@pytest.mark.parametrize("block", range(12))
def test_what_shows_runs_survives_any_file(block: int, case: Callable[[int, tuple[str, ...]], Done]) -> None:
    for seed in range(20 * block, 20 * block + 20):
        case(seed, LISTINGS)


@pytest.mark.parametrize("block", range(5))
def test_what_works_with_a_run_survives_any_file(block: int, case: Callable[[int, tuple[str, ...]], Done]) -> None:
    for seed in range(1000 + 8 * block, 1008 + 8 * block):
        case(seed, READERS)
