"""Values of a saved config by their dotted keys, and as cells of a table."""

from typing import Any

from mezzotint.app.config.job import Config
from mezzotint.plain_data import as_dict, lookup


def at(config: Config, key: str) -> Any:
    """Return the value at a dotted key; None where a part of the key is missing."""
    return lookup(config, *key.split("."))


def short(value: Any) -> str:
    """Return a value as a table cell; for a node, the name of its class."""
    if node := as_dict(value):
        return str(node.get("_target_", ", ".join(node))).rpartition(".")[2]
    return "" if value is None else str(value)
