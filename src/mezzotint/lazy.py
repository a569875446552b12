"""Package attributes that are imported on first use (PEP 562)."""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


def lazy(package: str, homes: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: its name.
        homes: submodule, below the package, to the names that it exports, separated by spaces.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home_of[name]}"), name)

    return get, lambda: sorted(home_of), sorted(home_of)


def exported(names: dict[str, Any]) -> list[str]:
    """Return `__all__` of a package that imports each of its public names once: all but modules and private names."""
    return sorted(
        name
        for name, value in names.items()
        if not name.startswith("_") and name != "exported" and not isinstance(value, ModuleType)
    )
