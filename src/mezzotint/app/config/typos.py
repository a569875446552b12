"""Misspelt keys of the command line, found in the source of what they are given to.

To ask a class what it takes is to import it, and torch with it, which takes seconds; to read its source takes none.
What cannot be told so, such as a class from elsewhere, is left to `check`.
"""

import ast
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mezzotint.app.config.job import PROVIDED, refuse
from mezzotint.app.help import choices, config_dir
from mezzotint.build import stranger
from mezzotint.names import join

PACKAGE = Path(__file__).parents[2]
WITHOUT = ("ABC", "Protocol", "Generic", "object")  # bases that take nothing


def check_keys(config: Any, words: Sequence[str]) -> None:
    """Refuse what the words give to classes of ours that do not take it.

    Raises:
        ConfigError: in the words of `check`.
    """
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(config, resolve=False)
    keys = [word.lstrip("+~").partition("=")[0] for word in words]
    refuse([problem for key in keys if "." in key for problem in misspelt(plain, key)])


def misspelt(config: Any, key: str) -> list[str]:
    """At most one problem: the first part of a dotted key that the node it lies in does not take."""
    where = ""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, dict):
            break
        if "_target_" in node and part != "_target_":
            provided = PROVIDED.get(where.partition(".")[0], ())
            names = parameters(str(node["_target_"]))
            if names is not None and part not in (known := [name for name in names if name not in provided]):
                problem = stranger(part, where, str(node["_target_"]).rpartition(".")[2], known)
                return [problem + taken_by(where, part)]
        where, node = join(where, part), node.get(part)
    return []


def taken_by(group: str, key: str) -> str:
    """Which choices of a group have a key that the chosen one has not."""
    folder = config_dir() / group
    texts = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in choices(folder)}
    names = [name for name, text in texts.items() if re.search(rf"^{re.escape(key)}:", text, re.MULTILINE)]
    return f"; it belongs to {group}={', '.join(names)}" if names else ""


Names = tuple[list[str], list[str]]  # by position or name, and by name alone


def parameters(path: str) -> list[str] | None:
    """What a class or function of this package takes by name; None where its source does not say."""
    names = signature(path)
    return None if names is None else [*names[0], *names[1]]


@cache
def signature(path: str) -> Names | None:
    module, _, name = path.rpartition(".")
    found = find(module, name)
    if found is None:
        return None
    home, node = found
    return arguments(node) if isinstance(node, ast.FunctionDef) else of_class(node, home)


def of_class(node: ast.ClassDef, home: str) -> Names | None:
    own = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    if own:
        names = arguments(own[0])
        return None if names is None else (names[0][1:], names[1])
    fields: Names = ([], [])
    for base in node.bases:
        name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        names = ([], []) if name.rpartition(".")[2] in WITHOUT else signature(f"{home}.{name}")
        if names is None:
            return None
        fields = fields[0] + names[0], fields[1] + names[1]
    kinds = [ast.unparse(decorator) for decorator in node.decorator_list]
    if any("dataclass" in kind for kind in kinds):
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and "ClassVar" not in ast.unparse(item.annotation):
                alone = any("kw_only=True" in text for text in (*kinds, ast.unparse(item.value or item.target)))
                fields[alone].append(ast.unparse(item.target))
    return list(dict.fromkeys(fields[0])), list(dict.fromkeys(fields[1]))


def arguments(node: ast.FunctionDef) -> Names | None:
    said = node.args
    return None if said.kwarg else ([item.arg for item in said.args], [item.arg for item in said.kwonlyargs])


def find(module: str, name: str) -> tuple[str, ast.ClassDef | ast.FunctionDef] | None:
    """The module that defines a name, and the definition; through imports, and through tables of names' homes."""
    tree = source(module)
    for item in tree.body if tree else ():
        if isinstance(item, (ast.ClassDef, ast.FunctionDef)) and item.name == name:
            return module, item
        if isinstance(item, ast.ImportFrom):
            for alias in item.names:
                if (alias.asname or alias.name) == name:
                    return find(absolute(item, module), alias.name)
        if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == "_HOMES":
            home = ast.literal_eval(item.value).get(name)
            if home:
                return find(home if "." in home else f"{module}.{home}", name)
    return None


def absolute(item: ast.ImportFrom, module: str) -> str:
    """The module that a `from ... import` names; our relative imports stand in packages' own __init__.py or beside."""
    if not item.level:
        return item.module or ""
    package = module if file(module).name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(item.level - 1):
        package = package.rpartition(".")[0]
    return join(package, item.module) if item.module else package


def file(module: str) -> Path:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    inside = place / "__init__.py"
    return inside if inside.is_file() else place.with_name(f"{place.name}.py")


@cache
def source(module: str) -> ast.Module | None:
    there = module.partition(".")[0] == PACKAGE.name and file(module).is_file()
    return ast.parse(file(module).read_text(encoding="utf-8")) if there else None
