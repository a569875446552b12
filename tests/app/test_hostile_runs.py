"""A run from a stranger reads and writes nothing outside itself, and a damaged one is told in a line."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from mezzotint import load
from mezzotint.errors import DataError
from mezzotint.plain_data import mismatch, parse
from mezzotint.reading import Damaged, files, read_json
from mezzotint.runs import RunDir, formats

from .conftest import Command

SECRET = "PRIVATE-KEY"


@pytest.fixture
def outside(home: Path) -> Path:
    folder = home.parent / "outside"
    folder.mkdir()
    (folder / "key.txt").write_text(SECRET)
    return folder


def test_a_linked_log_is_neither_published_nor_written(trained: Path, outside: Path, mezzotint: Command) -> None:
    (trained / "train.log").unlink()
    (trained / "train.log").symlink_to(outside / "key.txt")
    assert mezzotint("report", "runs/a").code == 0
    assert SECRET not in (trained / "report.html").read_text()
    done = mezzotint("train", "run=runs/a", "budget=80", "metrics=[]")
    assert done.code == 2
    assert "train.log: it is or lies behind a link out of the run" in done.err
    assert (outside / "key.txt").read_text() == SECRET


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("samples", ("sample", "n=1")),
        ("evaluation", ("evaluate", "n=17")),
        ("checkpoints", ("sample", "n=1")),
        ("checkpoints", ("train", "budget=80", "metrics=[]")),
        ("metrics.jsonl", ("train", "budget=80", "metrics=[]")),
    ],
)
@pytest.mark.parametrize("kept", [True, False], ids=["content", "empty"])
def test_linked_parts_lead_nowhere(
    part: str, words: tuple[str, ...], kept: bool, trained: Path, outside: Path, mezzotint: Command
) -> None:
    target = outside / part
    if kept:
        shutil.move(trained / part, target)
    else:
        shutil.rmtree(trained / part, ignore_errors=True)
        (trained / part).unlink(missing_ok=True)
        target.mkdir()
    (trained / part).symlink_to(target)
    before = sorted((file, file.lstat().st_mtime_ns) for file in outside.rglob("*"))
    done = mezzotint(words[0], "run=runs/a", *words[1:])
    assert done.code == 2
    assert "link out of the run" in done.err or "no checkpoint that can be read" in done.err
    assert len(done.err.strip().splitlines()) <= 1 + len(list(target.glob("*.ckpt")))
    assert sorted((file, file.lstat().st_mtime_ns) for file in outside.rglob("*")) == before


def test_a_run_that_is_itself_a_link_and_links_inside_it_are_used(trained: Path, mezzotint: Command) -> None:
    shutil.move(trained / "samples", trained / "drawn")
    (trained / "samples").symlink_to("drawn")
    Path("linked").symlink_to(trained)
    assert mezzotint("sample", "run=linked", "n=1").code == 0
    assert mezzotint("report", "linked").code == 0


def test_what_is_no_file_is_not_waited_for(trained: Path, mezzotint: Command) -> None:
    for name in ("status.json", "metrics.jsonl"):
        (trained / name).unlink()
        os.mkfifo(trained / name)
    done = mezzotint("runs")
    assert done.code == 0
    assert "a is damaged" in done.out
    assert "it is a pipe, not a file" in done.out


def test_a_damaged_run_is_shown_as_damaged_beside_the_others(trained: Path, mezzotint: Command) -> None:
    for name in ("b", "c"):
        shutil.copytree(trained, trained.parent / name)
    (trained.parent / "b" / "status.json").write_bytes(b"\xff")
    whole = (trained.parent / "c" / "config.yaml").read_text()
    (trained.parent / "c" / "config.yaml").write_text(f"{whole}x: [")
    rows = [line.split() for line in mezzotint("runs").out.splitlines()]
    states = {row[0]: row[1] for row in rows if row[0] in "abc" and row[1] != "is"}
    assert states == {"a": "finished", "b": "damaged", "c": "damaged"}
    said = mezzotint("sweep", "runs").out
    assert "3 runs, 2 damaged, 1 finished" in said
    assert "b/status.json cannot be read" in said
    assert mezzotint("report", "runs").code == 0
    page = (trained.parent / "report.html").read_text()
    assert page.count('"state":"damaged"') == 2


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch PWNED",)


@pytest.mark.parametrize("content", [[1], Payload(), {"format_version": 1}, {}, torch.zeros(2)])
def test_a_checkpoint_that_holds_another_thing_is_passed_over(
    content: object, trained: Path, mezzotint: Command
) -> None:
    newest = sorted((trained / "checkpoints").glob("*.ckpt"))[-1]
    torch.save(content, newest)
    done = mezzotint("sample", "run=runs/a", "n=1")
    assert f"{newest.name} is damaged" in done.err
    assert "weights_only" not in done.err
    assert not Path("PWNED").exists()
    assert done.code == (0 if len(list((trained / "checkpoints").glob("*.ckpt"))) > 1 else 2)


def test_a_checkpoint_of_another_network_is_told_in_a_line(trained: Path, mezzotint: Command) -> None:
    for file in (trained / "checkpoints").glob("*.ckpt"):
        found = torch.load(file, weights_only=True)
        name = next(iter(found["state_dict"]))
        found["state_dict"][name] = torch.zeros(2, 3)
        found["ema"] = {}
        torch.save(found, file)
    with pytest.raises(DataError, match="does not fit the config"):
        load(trained)
    for words in (("sample", "n=1"), ("train", "budget=80", "metrics=[]")):
        done = mezzotint(words[0], "run=runs/a", *words[1:])
        assert done.code in (1, 2)
        assert "Traceback" not in done.err


def test_a_damaged_evaluation_is_made_anew(trained: Path, mezzotint: Command) -> None:
    assert mezzotint("evaluate", "run=runs/a", "n=16").code == 0
    for file in (trained / "evaluation").glob("*.json"):
        file.write_text(file.read_text()[:100])
    done = mezzotint("evaluate", "run=runs/a", "n=16")
    assert done.code == 0
    assert "It is computed again" in done.err
    (file,) = [Path(line) for line in done.out.splitlines() if line.endswith(".json")]
    assert json.loads(file.read_text())["values"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_is_full_loses_no_work(process: Command, home: Path) -> None:
    with open("/dev/full", "w") as full:
        done = process("train", "debug=tiny", "hardware=cpu", "callbacks=minimal", "name=o", "metrics=[]", to=full)
    assert done.code == 1
    assert "No space left on device" in done.err.splitlines()[-1]
    assert RunDir(home / "runs" / "o").status()["state"] == "finished"


def test_a_shape_is_told_in_words() -> None:
    shape = {"a": int, "b?": [str], "c?": {...: float}}
    assert mismatch({"a": 1, "b": ["x"], "c": {"y": 1.0}, "more": None}, shape) is None
    assert mismatch({"a": True}, shape) == "a is true instead of an integer"
    assert mismatch({}, shape) == "it has no a"
    assert mismatch({"a": 1, "b": ["x", 2]}, shape) == "b[1] is 2 instead of text"
    assert mismatch({"a": 1, "c": {"y": "z"}}, shape) == 'c.y is "z" instead of a number'
    assert mismatch([], shape) == "it is a list instead of an object with names"


@pytest.mark.parametrize("text", [b"[" * 10**6, b'{"a":' * 100 + b"1" + b"}" * 100, b"\xff", b"", b"{"])
def test_json_that_is_too_deep_or_none_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def test_numbers_and_texts_of_json_can_be_used() -> None:
    found = parse(b'{"n": ' + b"9" * 5000 + b', "s": "\\ud800"}')
    assert found["n"] == float("inf")
    found["s"].encode("utf-8")


def test_a_config_is_bounded(tmp_path: Path) -> None:
    bombs = [
        "network: &a [*a]",
        "[" * 10**5,
        "- " * 10**5,
        "network: {a: 2001-01-01}",
        "network: [1]",
        "5",
        "network: {1: 2}",
        "x" * (2 << 20),
    ]
    for text in bombs:
        (tmp_path / "config.yaml").write_text(text)
        with pytest.raises(Damaged, match=r"config\.yaml cannot be read"):
            formats.config(tmp_path / "config.yaml", tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"network": {"width": 3}}))
    assert RunDir(tmp_path).config() == {"network": {"width": 3}}


def test_files_of_a_run_are_those_inside_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "samples").mkdir(parents=True)
    (tmp_path / "out.png").touch()
    (run / "samples" / "a.png").touch()
    (run / "samples" / "b.png").symlink_to("a.png")
    (run / "samples" / "c.png").symlink_to(tmp_path / "out.png")
    (run / "samples" / "d.png").symlink_to("d.png")
    (run / "samples" / "e.png").mkdir()
    assert [file.name for file in files(run, "samples/*.png")] == ["a.png", "b.png"]
    (tmp_path / "link").symlink_to(run)
    assert [file.name for file in files(tmp_path / "link", "samples/*.png")] == ["a.png", "b.png"]
    with pytest.raises(Damaged, match="link out of the run"):
        read_json(run / "samples" / "c.png", run)
