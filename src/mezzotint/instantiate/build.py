"""Building objects from plain config: a node is a call, its `_target_` and arguments.

`check` compares a node with the target's signature and type hints and lists all errors; `build` makes the call. Neither
knows Hydra; torch is imported only to build a denoiser.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from mezzotint.errors import ConfigError, MezzotintError
from mezzotint.finite import IMMENSE, immense, unbounded
from mezzotint.instantiate.locate import did_you_mean, join, locate
from mezzotint.instantiate.trust import NEEDED, bases, current
from mezzotint.instantiate.type_hints import coerce, format_type, format_value, hints_of, matches
from mezzotint.plain_data import as_dict

if TYPE_CHECKING:
    from torch.overrides import TorchFunctionMode

    from mezzotint.diffusion import Denoiser

Node = Any  # a dict with `_target_`, a dict or list of nodes, or a plain value
DENOISER = ("network", "schedule", "target", "c_noise", "c_in")
METHODS = {  # that suffice without the base class
    "optimizer": ("build", "rate"),
    "guidance": ("__call__",),
    "method": ("condition",),
}
NAMED = ("metrics", "callbacks", "logger")  # groups of several named nodes


# ---------------------------------------------------------------------------------------------------------------- check


def check(node: Node, where: str = "", provided: Iterable[str] = ()) -> list[str]:
    """Return all errors of a node and the nodes in it, one line each, without building anything.

    A node with `_partial_: true` is a call whose other arguments follow later.

    Args:
        where: the node's place in the config, put in front of each message.
        provided: arguments of the node's target that the caller of `build` will add.
    """
    if node == "???":
        return [f"{where}: a value is needed; give it as {where}=VALUE"]
    match node:
        case list():
            return [problem for i, item in enumerate(node) for problem in check(item, f"{where}[{i}]")]
        case dict():
            return check_node(node, where, provided)
    return []


def check_node(node: Mapping[str, Node], where: str, provided: Iterable[str]) -> list[str]:
    """Return all errors of a dict and the nodes in it."""
    given = arguments(node)
    problems = [problem for key, value in given.items() for problem in check(value, join(where, key))]
    if "_target_" not in node:
        return problems
    try:
        target = locate(node["_target_"], where)
        current().contain(node["_target_"], given, where)
    except ConfigError as error:
        return [str(error), *problems]
    later = required(target) if node.get("_partial_") is True else ()
    return check_call(target, given, where, (*provided, *later)) + problems


def check_part(node: Node, where: str, provided: Iterable[str] = ()) -> list[str]:
    """Return the errors of a config group's node: its class must suit the group before its arguments are checked."""
    with suppress(ConfigError):
        if problem := misfit(locate(node["_target_"], where), where):
            return [problem]
    return check(node, where, provided)


def check_call(target: Callable, given: Mapping[str, Node], where: str = "", provided: Iterable[str] = ()) -> list[str]:
    """Return the errors of a call `target(**given)`: unknown and missing arguments, values of another type."""
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # classes written in C may have no signature
        return []
    named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = [p.name for p in named if p.name not in provided]
    free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = hints_of(target)
    problems, misspelt = [], set()
    for key, value in given.items():
        if key not in names and not free:
            misspelt.update(difflib.get_close_matches(str(key), names, 1, 0.6))
            problems.append(unknown_argument(str(key), where, target.__name__, names))
        elif immense(value):
            problems.append(f"{join(where, key)}: {IMMENSE}")
        elif value != "???" and not matches(value, hints.get(key, Any)):
            listed = f"; did you mean [{format_value(value)}]?" if matches([value], hints[key]) else ""
            problems.append(f"{join(where, key)}: {format_value(value)} is not {format_type(hints[key])}{listed}")
    endless = [key for key in unbounded(target, given) if key in names and matches(given[key], hints.get(key, Any))]
    problems += [f"{join(where, key)}: {format_value(given[key])} is not finite" for key in endless]
    missing = [p.name for p in named if p.default is p.empty and p.name not in {*given, *provided, *misspelt}]
    return problems + [
        f"{join(where, name)}: {target.__name__} requires this argument; give {join(where, name)}=VALUE"
        for name in missing
    ]


def unknown_argument(key: str, where: str, target: str, names: Sequence[str]) -> str:
    """Return the error for an unknown argument, with the nearest known one, or all of them."""
    hint = did_you_mean(key, names) or f" (it takes {', '.join(names) or 'none'})"
    return f"{join(where, key)}: {target} has no such argument{hint}"


def arguments(node: Mapping[str, Node]) -> dict[str, Node]:
    return {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}


def required(target: Callable) -> list[str]:
    """Return the arguments without a default."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:
        return []
    return [p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def group_of(where: str) -> str | None:
    """Return the group whose node is at this place of the config; None inside of a node."""
    group, dot, name = where.partition(".")
    whole = bool(name) and not set(name) & {".", "["} if group in NAMED else not dot
    return group if group in NEEDED and whole else None


def misfit(found: Any, where: str) -> str | None:
    """Return why a class does not suit its place in the config; None if it does, or if only calling it can show."""
    group = group_of(where)
    if group is None or not inspect.isclass(found) or set(NEEDED[group]) & bases(found):
        return None
    if group in METHODS and set(METHODS[group]) <= set(dir(found)):
        return None
    needed = " or ".join(base.rpartition(".")[2] for base in NEEDED[group])
    article = "an" if needed[0] in "AEIOU" else "a"
    return f"{where}: {found.__name__} is not {article} {needed}, as {group}= requires"


# ---------------------------------------------------------------------------------------------------------------- build


def build(node: Node, where: str = "", **extra: Any) -> Any:
    """Build a node and the nodes in it; plain values are returned as they are.

    Args:
        where: the node's place in the config.
        extra: additional arguments of the outermost call.

    Raises:
        ConfigError: a constructor rejected its arguments; the message begins with their place in the config.
    """
    match node:
        case list():
            return [build(item, f"{where}[{i}]") for i, item in enumerate(node)]
        case dict():
            return build_node(node, where, extra)
    return node


def build_node(node: Mapping[str, Node], where: str, extra: Mapping[str, Any]) -> Any:
    """Build a dict: call its `_target_` with its built arguments, or return them where it has none."""
    given = {key: build(value, join(where, key)) for key, value in arguments(node).items()}
    if "_target_" not in node:
        return given
    target = locate(node["_target_"], where)
    current().contain(node["_target_"], arguments(node), where)
    hints = hints_of(target)
    given = {key: coerce(value, hints.get(key, Any)) for key, value in given.items()}
    if node.get("_partial_") is True:
        return partial(target, **given, **extra)
    try:
        built = target(**given, **extra)
    except MezzotintError as error:
        raise type(error)(f"{where}: {error}") from error
    except (TypeError, ValueError, ImportError, RuntimeError, ArithmeticError) as error:
        raise ConfigError(f"{where}: {error}") from error
    if problem := misfit(type(built), where):  # the result of a function, or of an unchecked node
        raise ConfigError(problem)
    return built


def build_denoiser(config: Mapping[str, Node], device: str = "cpu") -> "Denoiser":
    """Build the denoiser that a config describes, with its network on a device; on "meta" it takes no memory."""
    import torch

    from mezzotint.diffusion import Denoiser

    for name in ("network", "schedule"):
        if not as_dict(config.get(name)):
            raise ConfigError(f"{name}: the config has no {name}; add one, as _target_ and its arguments")
    with torch.device(device), uninitialised() if device == "meta" else nullcontext():
        network = build(config.get("network"), "network")
    parts = {name: build(config.get(name), name) for name in DENOISER if name != "network"}
    try:
        return Denoiser(network, **parts)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def uninitialised() -> "TorchFunctionMode":
    """Return a mode that skips random initial values: without memory there are none, and torch takes long over them."""
    import torch
    from torch.nn import init
    from torch.overrides import TorchFunctionMode

    random = {torch.Tensor.normal_, torch.Tensor.uniform_, init.normal_, init.uniform_, init.trunc_normal_}
    random |= {init.kaiming_uniform_, init.kaiming_normal_, init.xavier_uniform_, init.xavier_normal_}

    class Uninitialised(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = kwargs or {}
            if func in random:
                return args[0] if args else given["tensor"]
            return func(*args, **given)

    return Uninitialised()


def targets(node: Node, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every (place, `_target_`) in a node."""
    for place, inner in calls(node, where):
        yield place, inner["_target_"]


def calls(node: Node, where: str = "") -> Iterator[tuple[str, Mapping[str, Node]]]:
    """Yield every (place, node with a `_target_`) in a node, outer ones first."""
    match node:
        case dict():
            if "_target_" in node:
                yield where, node
            for key, value in node.items():
                yield from calls(value, join(where, key))
        case list():
            for i, item in enumerate(node):
                yield from calls(item, f"{where}[{i}]")
