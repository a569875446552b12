"""A run from a stranger: nothing that its config.yaml names is run, by any command, unless the user vouches for it."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from mezzotint.app.config.job import literal
from mezzotint.atomic import lock_file
from mezzotint.instantiate.trust import leads_away

from .conftest import Command

COMMANDS: dict[str, tuple[str, ...]] = {
    "sample": ("sample", "run=runs/a", "n=1"),
    "evaluate": ("evaluate", "run=runs/a", "n=8"),
    "check": ("check", "run=runs/a"),
    "train": ("train", "run=runs/a", "budget=96"),
    "plot": ("plot", "run=runs/a", "n=1"),
    "plot levels": ("plot", "run=runs/a", "kind=levels"),
    "plot samples": ("plot", "run=runs/a", "grid.steps=2,3", "n=1"),
    "report": ("report", "runs/a"),
    "compare": ("compare", "runs/a", "runs/a"),
    "sweep": ("sweep", "runs"),
    "sync": ("sync", "runs/a"),
    "runs": ("runs",),
    "stats": ("stats", "data=digits", "reference=runs/a"),
    "evaluate -m": ("evaluate", "-m", "run=runs/a", "n=8", "grid.steps=2,3"),
}
SHELL = {"_target_": "os.system", "command": "touch PWNED"}
PARTS = (
    "data",
    "network",
    "schedule",
    "target",
    "objective",
    "time_distribution",
    "loss",
    "loss_weight",
    "optimizer",
    "ema",
    "sampler",
)
PARTS += ("optimizer", "ema", "sampler", "grid", "guidance", "extractor", "hardware", "paths", "c_noise", "c_in")
EVIL: dict[str, Any] = {
    **{f"{part}": {part: SHELL} for part in PARTS},
    "in a list": {"guidance": {"_target_": "mezzotint.diffusion.chain", "parts": [SHELL]}},
    "in a part": {"sampler": {"_target_": "mezzotint.diffusion.Heun", "coordinate": SHELL}},
    "metrics": {"metrics": {"x": SHELL}},
    "callbacks": {"callbacks": {"x": SHELL}},
    "logger": {"logger": {"x": SHELL}},
    "wandb": {"logger": {"x": SHELL | {"_target_": "os.WandB"}}},
    "eval": {"hardware": {"_target_": "builtins.eval", "_args_": ["open('PWNED', 'w')"]}},
    "exec": {"loss": {"_target_": "builtins.exec", "source": "open('PWNED', 'w')"}},
    "subprocess": {"grid": {"_target_": "subprocess.run", "args": ["touch", "PWNED"]}},
    "partial": {"grid": SHELL | {"_partial_": True}},
    "recursive": {"grid": SHELL | {"_recursive_": False, "_convert_": "all"}},
    "through us": {"hardware": {"_target_": "mezzotint.app.cli.os.system", "command": "touch PWNED"}},
    "what we import": {"hardware": {"_target_": "mezzotint.app.cli.import_module", "name": "evil"}},
    "an import of a room": {"ema": {"_target_": "mezzotint.data.sources.published.Path", "x": 1}},
    "a function of ours": {"ema": {"_target_": "mezzotint.atomic.write_text", "path": "PWNED", "text": ""}},
    "a function of a room": {"ema": {"_target_": "mezzotint.training.fit", "directory": "PWNED"}},
    "our main": {"ema": {"_target_": "mezzotint.__main__.main"}},
    "a file in the run": {"sampler": {"_target_": "evil.Sampler"}},
    "a file beside the run": {"sampler": {"_target_": "runs.a.evil.Sampler"}},
    "unsafe weights": {"hardware": {"_target_": "torch.load", "f": "runs/a/evil.pt", "weights_only": False}},
    "a module of torch": {
        "network": {"_target_": "torch.hub.load", "repo_or_dir": ".", "source": "local", "model": "x"}
    },
    "no optimiser of torch": {"optimizer": {"_target_": "torch.optim.optimizer.partial", "func": "x"}},
    "a known package": {"callbacks": {"x": {"_target_": "lightning.pytorch.callbacks.os.system", "command": "x"}}},
    "torchmetrics": {"metrics": {"x": {"_target_": "torchmetrics.utilities.imports.import_module", "name": "evil"}}},
    "a weak run that allows": {
        "guidance": {
            "_target_": "mezzotint.diffusion.CFG",
            "scale": 2.0,
            "weak": {"_target_": "mezzotint.load", "directory": "runs/weak", "allow": ["evil"]},
        }
    },
    "hydra": {"hydra": {"callbacks": {"x": SHELL}, "launcher": SHELL}},
    "defaults": {"defaults": [{"override hydra/launcher": "evil"}], "extra": SHELL},
    "a dotted key": {
        "metrics": {"a.b": SHELL, "a": {"_target_": "mezzotint.metrics.FrechetDistance", "b": {"_target_": "x.y"}}}
    },
    "no text": {"sampler": {"_target_": ["os", "system"]}},
    "not a path": {"sampler": {"_target_": "/bin/sh"}},
}


@pytest.fixture
def stranger(trained: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], Path]:
    """A run whose config says something else; modules that betray their import lie in the run and beside the caller."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for folder in (trained, home):
        (folder / "evil.py").write_text("open('PWNED', 'w')\nclass Sampler: pass\n")
    (trained / "evil.pt").write_bytes(b"cos\nsystem\n(S'touch PWNED'\ntR.")

    def make(changes: dict[str, Any]) -> Path:
        file = trained / "config.yaml"
        config = yaml.safe_load(file.read_text())
        weak = home / "runs" / "weak"
        weak.mkdir(exist_ok=True)
        (weak / "config.yaml").write_text(yaml.safe_dump(config | {"network": {"_target_": "evil.Sampler"}}))
        file.write_text(yaml.safe_dump(config | changes))
        return trained

    return make


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_that_a_strangers_config_names_is_run(
    evil: str, stranger: Callable[[dict[str, Any]], Path], mezzotint: Command, home: Path
) -> None:
    stranger(EVIL[evil])
    for command in ("check", "sample"):
        done = mezzotint(*COMMANDS[command])
        assert not list(home.rglob("PWNED"))
        assert "Traceback" not in done.err
        assert done.code == 2 or command == "sample", done.err  # which does not look at what it does not use
    assert "evil" not in sys.modules


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_it(
    command: str, stranger: Callable[[dict[str, Any]], Path], mezzotint: Command, home: Path
) -> None:
    everywhere = {part: SHELL for part in PARTS} | {name: {"x": SHELL} for name in ("metrics", "callbacks")}
    stranger(everywhere | {"logger": {"x": SHELL | {"_target_": "os.WandB"}}})
    done = mezzotint(*COMMANDS[command])
    assert not list(home.rglob("PWNED"))
    assert "Traceback" not in done.err
    assert done.code in (0, 2) or command == "evaluate -m"


# -------------------------------------------------------------------------------------------- what the user vouches for

OWN = """\
from dataclasses import dataclass
from mezzotint.diffusion import Heun
@dataclass(frozen=True)
class Mine(Heun):
    pass
"""


@pytest.fixture
def own(home: Path, trained: Path) -> Path:
    """A run with a sampler of the user's own, which lies beside the caller in `mine_NNN/`."""
    package = home / f"mine_{home.parent.name.replace('-', '_')}"
    (package / "sampler").mkdir(parents=True)
    (package / "own.py").write_text(OWN)
    (package / "sampler" / "own.yaml").write_text(f"_target_: {package.name}.own.Mine\n")
    file = trained / "config.yaml"
    config = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(config | {"sampler": {"_target_": f"{package.name}.own.Mine"}}))
    return package


def test_own_classes_are_trusted_by_name_by_folder_or_where_they_are_named(own: Path, mezzotint: Command) -> None:
    words = ("sample", "run=runs/a", "n=1", "grid.steps=2")
    refused = mezzotint(*words)
    assert refused.code == 2
    assert f"trust=[{own.name}]" in refused.err
    assert refused.err.count("\n") == 1
    for more in (
        [f"trust=[{own.name}]"],
        [f"trust={own.name}"],
        ["--config-dir", own.name],
        [f"sampler._target_={own.name}.own.Mine"],
        ["sampler=ddim"],
        ["--config-dir", own.name, "sampler=own"],
    ):
        done = mezzotint(*words, *more)
        assert (done.code, done.err) == (0, ""), more


def test_a_package_that_is_trusted_does_not_vouch_for_what_it_imports(
    own: Path, mezzotint: Command, home: Path
) -> None:
    (own / "own.py").write_text("from os import system\n")
    file = home / "runs" / "a" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    shell = {"_target_": f"{own.name}.own.system", "command": "touch PWNED"}
    file.write_text(yaml.safe_dump(config | {"sampler": shell}))
    for more in ([f"trust=[{own.name}]"], ["--config-dir", own.name]):
        done = mezzotint("sample", "run=runs/a", "n=1", *more)
        assert done.code == 2, done.out
        assert not (home / "PWNED").exists()


def test_a_config_folder_vouches_for_no_run_that_lies_in_it(own: Path, mezzotint: Command, home: Path) -> None:
    (home / "runs" / "a" / "evil.py").write_text("open('PWNED', 'w')\nclass Sampler: pass\n")
    file = home / "runs" / "a" / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"sampler": {"_target_": "runs.a.evil.Sampler"}}))
    assert mezzotint("sample", "run=runs/a", "n=1", "--config-dir", ".").code == 2
    assert not (home / "PWNED").exists()


@pytest.mark.parametrize("said", ["mezzotint", "mezzotint.atomic", "a-b", "[os;rm]"])
def test_trust_takes_packages_of_others(said: str, mezzotint: Command) -> None:
    done = mezzotint("check", "debug=tiny", f"trust={said}")
    assert done.code == 2
    assert done.err.startswith("mezzotint check: trust=")


def test_ranks_accept_what_the_command_accepted(own: Path, mezzotint: Command) -> None:
    words = ("train", "run=runs/a", "hardware.devices=2", "budget=320", "metrics=[]")
    assert mezzotint(*words).code == 2
    done = mezzotint(*words, f"trust=[{own.name}]")
    assert done.code == 0, done.err


def test_parts_are_what_their_group_needs(mezzotint: Command) -> None:
    for word, said in {
        "sampler._target_=mezzotint.diffusion.CosineSchedule": "sampler: CosineSchedule is not a Sampler, as",
        "network._target_=collections.Counter": "network: Counter is not a Module, as network= requires",
        "callbacks.log._target_=mezzotint.training.CSV": "callbacks.log: CSV is not a Callback",
        "grid._target_=builtins.dict": "grid: dict is not a Spacing",
    }.items():
        done = mezzotint("check", "debug=tiny", word)
        assert done.code == 2
        assert said in done.err, done.err


# ------------------------------------------------------------------------------------------------- what else it reaches


PLACES = {
    "CSVLogger": ["{outside}", "../outside", "~/outside", "x/../../outside", "file:{outside}"],
    "TensorBoardLogger": ["{outside}"],
}


@pytest.mark.parametrize(("name", "place"), [(name, place) for name, places in PLACES.items() for place in places])
def test_another_packages_part_writes_nowhere_but_in_the_run(
    name: str, place: str, trained: Path, mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = home.parent / "outside"
    outside.mkdir()
    monkeypatch.setenv("HOME", str(home.parent))
    logger = {"_target_": f"lightning.pytorch.loggers.{name}", "save_dir": place.format(outside=outside)}
    file = trained / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"logger": {"x": logger}}))
    for words in (("check",), ("train", "budget=80", "metrics=[]")):
        done = mezzotint(words[0], "run=runs/a", *words[1:])
        assert done.code == 2
        assert "leads out of the run" in done.err
        assert "trust=[lightning]" in done.err
    assert list(outside.iterdir()) == []


def test_places_that_lead_away_are_known_by_what_they_say(tmp_path: Path) -> None:
    run = str(tmp_path)
    for key, text in (("name", "/x"), ("name", "~"), ("version", "a/../../b"), ("uri", "sqlite:////x.db")):
        assert leads_away(key, text, run), text
    for key, text in (("save_dir", "."), ("dirpath", "a"), ("uri", "file:///x")):
        assert leads_away(key, text, run), text
    for key, text in (
        ("save_dir", f"{run}/x"),
        ("monitor", "a/b"),
        ("uri", "sqlite:///x.db"),
        ("uri", "https://x/../y"),
    ):
        assert not leads_away(key, text, run), text


def test_a_run_does_not_say_where_samples_go(trained: Path, mezzotint: Command, home: Path) -> None:
    file = trained / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"out": str(home / "away"), "label": 3}))
    assert mezzotint("sample", "run=runs/a", "n=1", "grid.steps=2").code == 0
    assert not (home / "away").exists()


@pytest.mark.parametrize("key", ["devices", "workers", "threads"])
def test_a_run_does_not_start_processes_without_number(key: str, trained: Path, mezzotint: Command) -> None:
    file = trained / "config.yaml"
    config = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(config | {"hardware": config["hardware"] | {key: 10**6}}))
    for words in (("check",), ("evaluate", "n=9"), ("train", "budget=80")):
        done = mezzotint(words[0], "run=runs/a", *words[1:])
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert f"hardware: {key}=1000000: no machine has room" in done.err


@pytest.mark.parametrize(
    "changes",
    [
        {"budget": 10**30},
        {"budget": -(10**400)},
        {"grid": {"_target_": "mezzotint.diffusion.Trailing", "steps": 10**25}},
        {"data": {"_target_": "mezzotint.data.Digits", "shape": [10**25, 8, 8]}},
    ],
)
def test_a_number_that_nobody_counts_with_is_one_line(
    changes: dict[str, Any], trained: Path, mezzotint: Command
) -> None:
    file = trained / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    done = mezzotint("check", "run=runs/a")
    assert done.code == 2
    assert next(iter(changes)) in done.err
    assert "Traceback" not in done.err


def test_nothing_in_a_saved_config_is_resolved(
    trained: Path, mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "TOPSECRET123")
    file = trained / "config.yaml"
    config = yaml.safe_load(file.read_text())
    texts = ["${oc.env:SECRET}", "\\${oc.env:SECRET}", "${oc.decode:${oc.env:SECRET}}", "x${oc.env:SECRET}y"]
    config["logger"] = {"csv": {"_target_": "mezzotint.training.CSV", "notes": texts}}
    config["paths"] |= {"runs": str(home / "${oc.env:SECRET}"), "x} ${oc.env:SECRET": "y"}
    file.write_text(yaml.safe_dump(config))
    for words in (("train", "budget=320", "metrics=[]"), ("sample", "n=1"), ("check",), ("sample", "--cfg", "job")):
        done = mezzotint(words[0], "run=runs/a", *words[1:])
        assert "TOPSECRET123" not in done.out + done.err
        assert "Traceback" not in done.err
    named = [path for path in home.rglob("*") if "TOPSECRET123" in path.name]
    inside = [path for path in home.rglob("*") if path.is_file() and b"TOPSECRET123" in path.read_bytes()]
    assert named + inside == []


def test_plain_text_comes_back_as_it_was() -> None:
    for text in ("${a}", "\\${a}", "\\\\${a} \\", "$${a}", "${", "plain\\path", "${oc.env:A} ${b\\}"):
        config = OmegaConf.create({"text": literal([text])})
        assert OmegaConf.to_container(config, resolve=True) == {"text": [text]}


def test_plugins_of_hydra_beside_the_caller_are_not_imported(process: Command, home: Path) -> None:
    (home / "hydra_plugins").mkdir()
    (home / "hydra_plugins" / "x.py").write_text("open('PWNED', 'w')")
    done = process("check", "debug=tiny")
    assert done.code == 0, done.err
    assert not (home / "PWNED").exists()


@pytest.mark.parametrize("sign", ["\x1b]0;PWNED\x07", "\x1b[31m", "\x9b31m", "\u202e", "\r", "\x00", "\udc80", "\x7f"])
def test_no_text_of_a_run_reaches_the_terminal_as_a_command(
    sign: str, trained: Path, mezzotint: Command, home: Path
) -> None:
    file = trained / "status.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": "failed", "error": f"a{sign}b\nc"}))
    shell = yaml.safe_load((trained / "config.yaml").read_text()) | {"sampler": {"_target_": f"os.{sign}x"}}
    if sign not in ("\x00", "\udc80"):
        (trained / "config.yaml").write_text(yaml.safe_dump(shell))
        trained.rename(home / "runs" / f"x{sign}y")
    for words in (("runs",), ("check", f"run={next((home / 'runs').glob('[ax]*'))}"), ("sweep", "runs")):
        done = mezzotint(*words)
        assert sign not in done.out + done.err
        assert "Traceback" not in done.err
    assert "b c" in mezzotint("runs").out


def test_a_lock_follows_no_link_and_empties_no_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("words")
    (tmp_path / "lock").symlink_to("precious")
    with pytest.raises(OSError, match=r"."):
        lock_file(tmp_path / "lock")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a file of yours"):
        lock_file(tmp_path / "pipe")
    lock_file(tmp_path / "precious").close()
    assert (tmp_path / "precious").read_text() == "words"


def test_a_config_that_multiplies_itself_is_one_line_at_once(trained: Path, mezzotint: Command) -> None:
    file = trained / "config.yaml"
    whole = file.read_text()
    many = ["- &a0 [1, 1]\n", *(f"- &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))]
    keys = ["- &a0 {x: 1}\n", *(f"- &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 30))]
    for bomb in (
        "".join(many),
        "".join(keys),
        "[" * 5000 + "]" * 5000,
        "&a [*a]",
        "!!python/object/apply:os.system [x]",
    ):
        indented = "\n".join(f"  {line}" for line in bomb.splitlines())
        file.write_text(f"{whole}\nextra:\n{indented}\n")
        for words in (("sample", "run=runs/a"), ("check", "run=runs/a"), ("report", "runs/a"), ("sweep", "runs")):
            done = mezzotint(*words)
            assert done.code in (0, 2)
            assert "Traceback" not in done.err
            assert done.err.count("\n") <= 1
