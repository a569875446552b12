"""One choice of a config group, built without Hydra."""

from collections.abc import Sequence
from typing import Any

import yaml

from mezzotint.app.help import choices, config_dir
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, check
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.plain_data import as_dict


def built_choice(group: str, name: str, given: dict[str, str]) -> Any:
    """Build one choice of a group.

    Args:
        given: words of the command; those of the group, GROUP.KEY=VALUE, change the choice.

    Raises:
        ConfigError: no such choice, or no such key.
    """
    file = config_dir() / group / f"{name}.yaml"
    if not file.is_file():
        known = choices(file.parent)
        raise ConfigError(f"{group}={name}: no such choice{did_you_mean(name, known)} ({', '.join(known)})")
    node = yaml.safe_load(file.read_text())
    changes = {key.partition(".")[2]: value for key, value in given.items() if key.startswith(f"{group}.")}
    for key, value in changes.items():
        change(node, key.split("."), yaml.safe_load(value))
    problems = check(node, group)
    if problems:
        raise ConfigError("\n  ".join(problems))
    return build(node, group)


def change(node: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set the value at a dotted key; a key that does not exist is left for `check` to report."""
    first, *rest = keys
    if rest and as_dict(node.get(first)):
        change(node[first], rest, value)
    else:
        node[".".join(keys)] = value
