"""Nested numbers under flat names. Imports nothing."""

from typing import Any


def flat(line: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested numbers as one level: {"validation": {"loss": 1}} is {"validation/loss": 1}."""
    values: dict[str, float] = {}
    for name, value in line.items():
        values |= flat(value, f"{prefix}{name}/") if isinstance(value, dict) else {prefix + name: value}
    return values
