"""Runs as the code of November 2026 left them go on under whatever the parts and words are called since.

`old_runs/README.md` says how they were made. They are copied before they are used.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from fingerprints import arithmetic, fingerprint, state

import mezzotint as package
from mezzotint.app import cli
from mezzotint.app.assembly.dry_run import dry_run_without_data
from mezzotint.app.assembly.parts import takes_extractor
from mezzotint.app.config import arguments
from mezzotint.app.config.job import Job, digest
from mezzotint.app.config.own_data import base
from mezzotint.app.config.resolve import check_groups, resolve
from mezzotint.app.help import config_dir
from mezzotint.app.results import run_folders
from mezzotint.instantiate import renamed
from mezzotint.instantiate.build import build
from mezzotint.instantiate.locate import locate
from mezzotint.metrics import InceptionV3
from mezzotint.runs import RunDir

OLD = Path(__file__).parent / "old_runs"
PLACE = "/old-home"  # stands in the files for the folder in which the runs were made
EXPECTED: dict[str, Any] = json.loads((OLD / "expected.json").read_text())
CONFIGS = sorted(EXPECTED["configs"])
ANOTHER_OPTIMIZER = {"digits_ddpm", "fashion_mnist_ddpm", "emoji_ddpm", "own_data"}
ANOTHER_PRECISION = {"fashion_mnist_ddpm", "emoji_ddpm"}
ONE_CPU = {"accelerator": "cpu", "devices": 1, "nodes": 1, "strategy": "auto"}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Command = Callable[..., Done]


def said(words: Iterable[str]) -> list[str]:
    """The words of an old command as they are spelled today."""
    return [renamed.spelled(word.replace(PLACE, str(Path.cwd()))) for word in words]


def recipe(words: Iterable[str]) -> list[str]:
    """`said`, with the optimizer and the precision of then where an experiment has others since."""
    given = dict(word.split("=", 1) for word in words if "=" in word)
    experiment = given.get("experiment", "own_data" if "data" in given else "digits_ddpm")
    changed = {"optimizer": ("adamw", ANOTHER_OPTIMIZER), "hardware.precision": ("auto", ANOTHER_PRECISION)}
    then = [f"{key}={value}" for key, (value, where) in changed.items() if key not in given and experiment in where]
    return [*said(words), *then]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the runs as if they had been made in it."""
    folder = tmp_path / "home"
    shutil.copytree(OLD / "runs", folder / "runs")
    for file in (folder / "runs").rglob("*"):
        if file.suffix in (".yaml", ".json"):
            file.write_text(file.read_text().replace(PLACE, str(folder)))
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"MEZZOTINT_{name}", str(folder / name.lower()))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def command(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: str, code: int = 0) -> Done:
        capsys.readouterr()
        ended = cli.main(words)
        told = capsys.readouterr()
        assert ended == code, told.err
        return Done(ended, told.out, told.err)

    return run


# ------------------------------------------------------------------------------------------- what a run's numbers are


EXACT = arithmetic() == EXPECTED["arithmetic"]  # else numbers are compared with what rounding leaves open


def assert_same_state(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert found.keys() == expected.keys()
    if EXACT:
        assert found == expected
    for key in expected:
        assert found[key]["mean"] == pytest.approx(expected[key]["mean"], rel=1e-3)


def without_times(log: Path) -> list[dict[str, Any]]:
    """The lines of a log in the words of today, but for what a clock says."""
    return [
        {key: value for key, value in renamed.line(json.loads(line)).items() if key != "time"}
        for line in log.read_text().splitlines()
    ]


def status(run: Path) -> dict[str, Any]:
    return json.loads((run / "status.json").read_text())


# ------------------------------------------------------------------------------------------------- load, go on, skip


@pytest.mark.parametrize("case", EXPECTED["loaded"], ids=lambda case: f"{case['run']}-{case['weights']}")
def test_an_old_run_is_loaded(home: Path, case: dict[str, Any]) -> None:
    denoiser = package.load(home / "runs" / case["run"], weights=case["weights"], checkpoint=case["step"])
    assert fingerprint(denoiser.state_dict()) == case["state"]


@pytest.mark.parametrize("by", ["run", "words"])
def test_an_interrupted_run_goes_on_to_the_same_end(command: Command, home: Path, by: str) -> None:
    expected = EXPECTED["interrupted"]
    run = home / "runs" / "interrupted"
    assert status(run)["state"] == "preempted"
    begun = without_times(run / "metrics.jsonl")
    command("train", *(["run=runs/interrupted"] if by == "run" else recipe(expected["words"])))
    assert sorted(place.name for place in (home / "runs").iterdir() if not place.is_symlink()) == EXPECTED["runs"]
    assert_same_state(state(run), expected["state"])
    lines = without_times(run / "metrics.jsonl")
    assert lines[: len(begun)] == begun
    assert [line["step"] for line in lines] == expected["steps"]
    assert [line["loss"] for line in lines if "loss" in line] == pytest.approx(expected["losses"], rel=1e-3)
    assert status(run)["state"] == "finished"
    assert status(run)["objective"] == pytest.approx(expected["objective"], rel=1e-3)


def test_a_finished_run_is_trained_further(command: Command, home: Path) -> None:
    expected = EXPECTED["further"]
    command("train", "run=runs/finished", *expected["words"])
    assert_same_state(state(home / "runs" / "finished"), expected["state"])


@pytest.mark.parametrize("name", EXPECTED["commands"])
def test_what_is_finished_is_skipped_by_the_words_that_made_it(command: Command, home: Path, name: str) -> None:
    before = {file: file.stat().st_mtime_ns for file in home.rglob("*") if file.is_file()}
    done = command("train", *recipe(EXPECTED["commands"][name]["words"]))
    for run in EXPECTED["commands"][name]["runs"]:
        assert f"{run} is finished; nothing to do" in done.out
    changed = [file for file in before if file.stat().st_mtime_ns != before[file]]
    assert [file.name for file in changed if file.name != "multirun.yaml"] == []
    configs = {file for file in home.rglob("config.yaml")}
    assert configs == {file for file in before if file.name == "config.yaml"}


def test_a_finished_run_has_nothing_to_go_on_with(command: Command) -> None:
    assert "runs/finished is finished; nothing to do" in command("train", "run=runs/finished").out


def test_an_old_sweep_is_summed_up(command: Command) -> None:
    done = command("sweep", "runs/sweep")
    for run, objective in EXPECTED["sweep"].items():
        assert re.search(rf"^{run} .* finished .*{objective:.4g}", done.out, re.M), done.out


def test_old_runs_are_listed(command: Command) -> None:
    done = command("runs")
    for name in ("finished", "interrupted", "words", *(f"sweep/{run}" for run in EXPECTED["sweep"])):
        assert re.search(rf"\b{name}\b", done.out), done.out
    assert "damaged" not in done.out


# ------------------------------------------------------------------------------------------- sample, evaluate, report


@pytest.mark.parametrize("case", EXPECTED["samples"], ids=lambda case: " ".join(case["words"]))
def test_the_same_images_are_drawn(command: Command, home: Path, case: dict[str, Any]) -> None:
    done = command("sample", *said(case["words"]), "n=4", "save=npz")
    (file,) = [Path(word) for word in done.out.split() if word.endswith(".npz")]
    with np.load(file) as saved:
        pixels = saved[saved.files[0]]
    expected = np.frombuffer(bytes.fromhex(case["pixels"]), np.uint8).reshape(case["shape"])
    assert pixels.shape == expected.shape
    if EXACT:
        assert np.array_equal(pixels, expected)
    off = np.abs(pixels.astype(int) - expected)
    assert (off <= 1).mean() >= 0.999
    assert off.max() <= 8


@pytest.mark.parametrize("case", EXPECTED["evaluations"], ids=lambda case: " ".join(case["words"]))
def test_the_same_numbers_come_out(command: Command, home: Path, case: dict[str, Any]) -> None:
    """In a file whose name has the same marks, so that what was judged before is known again."""
    folder = home / "runs" / "finished" / "evaluation"
    shutil.rmtree(folder)
    command("evaluate", "run=runs/finished", *said(case["words"]))
    (file,) = folder.glob("*.json")
    assert re.findall(r"(?<=-)(?:[0-9a-f]{6}|n\d+|seed\d+)(?=[-.])", file.name) == case["marks"]
    values = json.loads(file.read_text())["values"]
    assert values == pytest.approx(case["values"], rel=1e-9 if EXACT else 1e-3)


def test_old_and_new_evaluations_are_ranked_together(command: Command, home: Path) -> None:
    command("evaluate", "run=runs/finished", *said(EXPECTED["compared"]))
    old, new = sorted((home / "runs/finished/evaluation").glob("*.json"), key=lambda file: file.stat().st_mtime)
    done = command("compare", str(old), str(new))
    assert len(re.findall(r"^[12] ", done.out, re.M)) == 2, done.out


@pytest.mark.parametrize("words", [["runs/finished"], ["runs/interrupted"], ["runs/sweep"], ["runs"]], ids=str)
def test_old_runs_are_reported(command: Command, home: Path, words: list[str]) -> None:
    done = command("report", *words, "out=page.html")
    assert done.err == ""
    text = (home / "page.html").read_text()
    content = json.loads(text.partition('id="content">')[2].partition("</script>")[0])
    assert len(content["runs"]) == {"runs": 5, "runs/sweep": 2}.get(words[0], 1)
    assert all(run["name"] for run in content["runs"])
    if words[0] == "runs/finished":
        assert f"{EXPECTED['commands']['finished']['objective']:.4g}"[:4] in text


# -------------------------------------------------------------------------------------- every choice, every key


@pytest.fixture
def saved(home: Path) -> Callable[[str], Path]:
    def put(name: str) -> Path:
        run = home / "runs" / "saved"
        run.mkdir()
        text = (OLD / "configs" / f"{name}.yaml").read_text()
        (run / "config.yaml").write_text(text.replace(PLACE, str(home)))
        return run

    return put


def composed(words: Sequence[str]) -> Job:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return resolve(compose(arguments.CONFIG, [arguments.addable(word) for word in [*words, *base(words)]]))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_config_is_the_same_run(saved: Callable[[str], Path], name: str) -> None:
    expected = EXPECTED["configs"][name]
    run = saved(name)
    config = RunDir(run).config()
    assert digest(config) == expected["digest"]
    assert run_folders.place(Job.of_dict(config), named=False, many=False).name == expected["folder"]
    check_groups(Job.of_dict(config))
    if expected["words"] is None:
        return
    new = run_folders.settled(composed(recipe(expected["words"])), named=False, many=False)
    assert digest(new.as_dict()) == expected["digest"]
    run_folders.refuse_other(run, new.as_dict())


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("choices")])
def test_the_parts_of_a_saved_config_are_built(saved: Callable[[str], Path], name: str) -> None:
    config = RunDir(saved(name)).config()
    build(config["hardware"], "hardware")
    build(config["extractor"], "extractor")
    ours = {key: node for key, node in config["logger"].items() if node["_target_"].startswith(package.__name__)}
    dry_run_without_data(replace(Job.of_dict(config), hardware=config["hardware"] | ONE_CPU, logger=ours))
    for key, node in config["metrics"].items():
        extra = {"extractor": InceptionV3()} if takes_extractor(node, key) else {}
        build(node, key, **extra)


def test_a_saved_config_is_gone_on_from(command: Command, saved: Callable[[str], Path]) -> None:
    """Composed anew from what it says, with one group replaced, it is the same run but for that."""
    for name in CONFIGS[::8]:
        run = saved(name)
        printed = command("train", f"run={run}", "--cfg", "job").out
        assert digest(resolve_text(printed).as_dict()) == EXPECTED["configs"][name]["digest"]
        shutil.rmtree(run)


def resolve_text(text: str) -> Job:
    from omegaconf import OmegaConf

    return resolve(OmegaConf.create(yaml.safe_load(text)))


@pytest.mark.parametrize("words", EXPECTED["composed"], ids=lambda case: " ".join(case["words"]) or "nothing")
def test_the_same_words_are_the_same_run(home: Path, words: dict[str, Any]) -> None:
    new = run_folders.settled(composed(recipe(words["words"])), named=False, many=False)
    assert run_folders.place(new, named=False, many=False).name == words["folder"]


@pytest.mark.parametrize("room", EXPECTED["public"])
def test_what_a_config_could_name_is_still_found(room: str) -> None:
    for name in EXPECTED["public"][room]:
        locate(renamed.TARGETS.get(f"{room}.{name}", f"{room}.{name}"))
