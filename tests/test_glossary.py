"""docs/glossary.md names every config group, key and choice of the algebra, and lists the renamed words."""

import re
from pathlib import Path

import pytest
import yaml

import mezzotint.data
import mezzotint.diffusion
import mezzotint.generation
import mezzotint.metrics
import mezzotint.networks
import mezzotint.training
from mezzotint.app.help import choices, config_dir
from mezzotint.instantiate import renamed

TEXT = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text()
FOLDERS = sorted({file.parent.name for file in config_dir().glob("*/*.yaml")})
KEYS = [
    key for key in yaml.safe_load((config_dir() / "mezzotint.yaml").read_text()) if key not in ("defaults", "hydra")
]


def section(title: str) -> str:
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    return text


def first_cells(title: str) -> set[str]:
    rows = [line.split(" | ")[0] for line in section(title).splitlines() if line.startswith("| `")]
    return {word for row in rows for word in re.findall(r"`(\w+)`", row)}


def renamed_rows() -> list[str]:
    """The rows of the table of renamed words, from the table that translates configs."""
    rows = [("key", old, new) for old, new in renamed.KEYS.items()]
    for group in renamed.CHOICES:
        names = renamed.CHOICES[group] | renamed.PARTS.get(group, {})
        rows += [(group, old, new) for old, new in names.items()]
    rows += [
        (path.rpartition(".")[2], old, new) for path, names in renamed.ARGUMENTS.items() for old, new in names.items()
    ]
    rows += [("class", *(path.removeprefix("mezzotint.") for path in pair)) for pair in renamed.TARGETS.items()]
    return [f"| {kind} | `{old}` | `{new}` |" for kind, old, new in rows]


def test_every_group_is_in_the_table_of_groups() -> None:
    assert first_cells("Groups") == set(FOLDERS)


def test_every_key_of_the_config_is_in_the_table_of_keys() -> None:
    assert first_cells("Keys") == set(KEYS)


@pytest.mark.parametrize(
    ("title", "group"),
    [("Schedules", "schedule"), ("Samplers", "sampler"), ("Grids", "grid"), ("Guidance", "guidance")],
)
def test_every_choice_has_a_row(title: str, group: str) -> None:
    assert first_cells(title) == set(choices(config_dir() / group))


@pytest.mark.parametrize(
    "group", ["target", "c_noise", "c_in", "time_distribution", "loss_weight", "loss", "objective"]
)
def test_every_choice_of_training_has_a_row(group: str) -> None:
    rows = [line for line in section("Targets, preconditioning and training").splitlines() if f"`{group}=" in line]
    named = {word.removeprefix(f"{group}=") for row in rows for word in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    assert named == set(choices(config_dir() / group))


def test_every_class_in_the_column_of_classes_exists() -> None:
    known = {
        *mezzotint.diffusion.__all__,
        *mezzotint.data.__all__,
        *mezzotint.metrics.__all__,
        *mezzotint.networks.__all__,
        *mezzotint.training.__all__,
        *mezzotint.generation.__all__,
    }
    known |= {"Dataset", "Guidance", "FeatureMetric", "Extractor", "Callback", "Tracker", "Paths"}
    rows = [line for line in TEXT.split("## Renamed words")[0].splitlines() if line.startswith("|")]
    head: list[str] = []
    for line in rows:
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if "diffusers" in line and ("`" not in cells[0] or cells[0].endswith("=`")):
            head = cells
        elif "class" in head and not line.startswith("|---"):
            named = re.findall(r"`(\w+)[^`]*`", cells[head.index("class")])
            assert set(named) <= known, line


def test_the_table_of_renamed_words_is_that_of_the_code() -> None:
    rows = [line for line in section("Renamed words").splitlines() if line.startswith("| ") and "---" not in line]
    assert rows[1:] == renamed_rows(), "replace the rows by: " + "\n".join(renamed_rows())
