"""What docs/ and the notebooks tell to type exists: commands, groups, choices, keys, and the files that are linked."""

import inspect
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml

from mezzotint.app.config.job import Job
from mezzotint.app.help import COMMANDS, choices, config_dir, groups, words_of
from mezzotint.instantiate.locate import locate

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/*.md"))
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
FLAGS = {"-m", "--multirun", "--cfg", "--config-dir", "--json", "--help"}
LAUNCHERS = {"joblib", "submitit_local", "submitit_slurm", "optuna"}  # of Hydra's own plugins
SETTINGS = ("experiment", "debug", "sweep")


def prose(file: Path) -> str:
    if file.suffix == ".md":
        return file.read_text()
    cells = json.loads(file.read_text())["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def commands(text: str) -> list[list[str]]:
    """The words behind each `mezzotint`, in blocks line by line, and in spans of code."""
    blocks = re.findall(r"^```(?:bash|sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`((?:mezzotint) [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
    found = [match for line in [*lines, *spans] for match in re.findall(r"(?:^|-m |\s)mezzotint ([a-z]+\b.*)", line)]
    return [shlex.split(words, comments=True) for words in found]


@cache
def nodes(group: str) -> tuple[dict, ...]:
    """The choices of a group and, at any depth, the nodes in them."""

    def walk(node: object) -> list[dict]:
        inner = list(node.values()) if isinstance(node, dict) else []
        return [*([node] if isinstance(node, dict) else []), *(one for value in inner for one in walk(value))]

    return tuple(
        one for file in (config_dir() / group).glob("*.yaml") for one in walk(yaml.safe_load(file.read_text()))
    )


def has(group: str, key: str) -> bool:
    """Whether a choice of the group has the key, or what it calls has such an argument that no file mentions."""
    return any(key in node for node in nodes(group)) or any(
        key in inspect.signature(locate(node["_target_"], group)).parameters
        for node in nodes(group)
        if "_target_" in node
    )


def unknown(word: str, command: str) -> str:
    """What is wrong with a word of a command; nothing where it exists."""
    if word.startswith("-"):
        return "" if word in FLAGS else f"no flag {word}"
    key, equals, value = word.partition("=")
    head, _, rest = key.partition(".")
    if not equals:
        return ""  # a folder, a file, or a word that `runs` looks for
    if key in ("hydra/launcher", "hydra/sweeper"):
        known = {*LAUNCHERS, *choices(config_dir() / key)}
        return "" if value in known else f"no {key}={value}"
    if key in (*groups(), *SETTINGS):
        names = [name for name in value.strip("[]").split(",") if name not in ("...", "NAME", "")]
        missing = [name for name in names if name not in choices(config_dir() / key)]
        return f"no {key}={missing[0]}" if missing else ""
    if head in groups():
        missing = [part for part in rest.split(".") if not has(head, part)]
        return f"no key {key}" if missing else ""
    told = " ".join([*words_of(command), "out= --cfg"])
    known = head == "hydra" or key in Job.__dataclass_fields__ or f"{key}=" in told
    return "" if known else f"no word {key}"


@pytest.mark.parametrize("file", [*PAGES, *NOTEBOOKS], ids=lambda file: file.stem)
def test_what_is_told_to_be_typed_exists(file: Path) -> None:
    for command, *words in commands(prose(file)):
        assert command in COMMANDS, f"{file.name}: no command {command}"
        for word in words:
            assert not unknown(word, command), f"{file.name}: mezzotint {command} {' '.join(words)}"


def test_there_is_something_to_check() -> None:
    assert sum(len(commands(prose(file))) for file in PAGES) > 40
    assert commands("```sh\nmezzotint train a=1 # b\n```\nand `mezzotint runs x`.") == [["train", "a=1"], ["runs", "x"]]


@pytest.mark.parametrize(
    "word",
    ["--nothing", "schedule=cosin", "metrics=[fid,frechett]", "hydra/launcher=none", "sampler.etta=1", "budgt=3"],
)
def test_a_word_that_does_not_exist_is_found(word: str) -> None:
    assert unknown(word, "train")


@pytest.mark.parametrize(
    "file", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *NOTEBOOKS], ids=lambda f: f.stem
)
def test_links_lead_somewhere(file: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", prose(file)):
        assert link.startswith("http") or (file.parent / link).exists(), f"{file.name}: {link}"
