"""Plain config to objects: a config node is a call, `_target_` and its arguments.

`check` compares a node with the target's signature and type hints and lists all that is wrong, `build` makes the call,
`load` gives the denoiser of a run. None of them knows Hydra; torch is imported only where weights are read.
"""

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mezzotint.errors import ConfigError, MezzotintError

if TYPE_CHECKING:
    from mezzotint.diffusion import Denoiser

Node = Any  # a dict with `_target_`, a dict or list of nodes, or a plain value
DENOISER = ("network", "schedule", "target", "clock", "scale")


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'width'?`, or nothing where no known word is close."""
    close = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


# ---------------------------------------------------------------------------------------------------------------- check


def check(node: Node, where: str = "", provided: Iterable[str] = ()) -> list[str]:
    """All that is wrong with a node and the nodes in it, one line each, without building anything.

    Args:
        where: the node's place in the config, put in front of each message.
        provided: arguments of the node's target that the caller of `build` will add.
    """
    if node == "???":
        return [f"{where}: a value is needed; give it as {where}=VALUE"]
    if isinstance(node, list):
        return [problem for i, item in enumerate(node) for problem in check(item, f"{where}[{i}]")]
    if not isinstance(node, dict):
        return []
    given = arguments(node)
    problems = [problem for key, value in given.items() for problem in check(value, join(where, key))]
    if "_target_" not in node:
        return problems
    try:
        target = locate(node["_target_"], where)
    except ConfigError as error:
        return [str(error), *problems]
    return check_call(target, given, where, provided) + problems


def check_call(target: Callable, given: Mapping[str, Node], where: str = "", provided: Iterable[str] = ()) -> list[str]:
    """What `target(**given)` would trip over: unknown and missing arguments, values of another type."""
    parameters = inspect.signature(target).parameters
    named = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = [p.name for p in named if p.name not in provided]
    free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = hints_of(target)
    problems, misspelt = [], set()
    for key, value in given.items():
        if key not in names and not free:
            close = difflib.get_close_matches(key, names, 1, 0.6)
            misspelt.update(close)
            known = f" (it takes {', '.join(names) or 'none'})" if not close else ""
            problems.append(f"{join(where, key)}: {target.__name__} has no such argument{nearest(key, names)}{known}")
        elif value != "???" and not fits(value, hints.get(key, Any)):
            problems.append(f"{join(where, key)}: {say(value)} is not {spell(hints[key])}")
    missing = [p.name for p in named if p.default is p.empty and p.name not in {*given, *provided, *misspelt}]
    return problems + [f"{join(where, name)}: {target.__name__} needs it, and it is not given" for name in missing]


def hints_of(target: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, AttributeError, TypeError):  # a hint that exists for type checkers alone
        return {}


def fits(value: Node, hint: Any) -> bool:
    """Whether a plain value, or what a node would build, may be passed where `hint` stands."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is typing.Annotated:
        return fits(value, parts[0])
    if isinstance(value, dict) and "_target_" in value:
        return builds(value, origin or hint)
    if origin is typing.Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if hint in (None, type(None)):
        return value is None
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool) and value == value
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):
        return False
    if isinstance(value, (list, tuple)):
        return (kind is tuple or issubclass(list, kind)) and items_fit(value, kind, parts)
    if isinstance(value, dict):
        return issubclass(dict, kind) and (len(parts) < 2 or all(fits(item, parts[1]) for item in value.values()))
    return isinstance(value, str if issubclass(kind, Path) else kind)


def builds(node: dict, kind: Any) -> bool:
    """Whether the node's target is of this kind; a function's result, and a protocol, are given the benefit."""
    if kind in (int, float, str, bool, list, tuple, dict, type(None), typing.Literal):
        return False
    try:
        target = locate(node["_target_"])
    except ConfigError:
        return True  # said elsewhere
    classes = inspect.isclass(target) and inspect.isclass(kind) and not getattr(kind, "_is_protocol", False)
    return not classes or issubclass(target, kind)


def items_fit(values: Sequence, kind: type, parts: tuple) -> bool:
    if not parts:
        return True
    if kind is tuple and parts[-1] is not Ellipsis:
        return len(values) == len(parts) and all(map(fits, values, parts))
    return all(fits(value, parts[0]) for value in values)


def spell(hint: Any) -> str:
    """A type hint in the words of its reader: `int`, `float or None`, `one of 'a', 'b'`."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(spell(part) for part in parts))
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if hint is type(None):
        return "null"
    if origin is not None:
        inner = ", ".join("..." if part is Ellipsis else spell(part) for part in parts)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(hint, "__name__", str(hint))


def say(value: Node) -> str:
    if isinstance(value, dict) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    if isinstance(value, str) and is_number(value):
        return f"the text {value!r} (YAML reads a number such as 1e-4 only as 1.0e-4)"
    if isinstance(value, float) and value.is_integer():
        return f"{value!r} (a whole number is written {value:.0f})"
    return repr(value)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def arguments(node: Mapping[str, Node]) -> dict[str, Node]:
    return {key: value for key, value in node.items() if key != "_target_"}


# ---------------------------------------------------------------------------------------------------------------- build


def locate(path: Any, where: str = "") -> Callable:
    """The class or function that a `_target_` names."""
    place = join(where, "_target_")
    module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    if not module:
        raise ConfigError(
            f"{place}: {path!r} is not the dotted path of a class or function, such as package.module.Name"
        )
    try:
        found = getattr(import_module(module), name)
    except ImportError as error:
        raise ConfigError(f"{place}: cannot import {path!r} ({error})") from error
    except AttributeError as error:
        room = import_module(module)
        known = getattr(room, "__all__", dir(room))
        raise ConfigError(f"{place}: {module} has no {name!r}{nearest(name, known)}") from error
    if not callable(found):
        raise ConfigError(f"{place}: {path!r} is not a class or function")
    return found


def build(node: Node, where: str = "", **extra: Any) -> Any:
    """Build a node and the nodes in it; plain values pass. `extra` are further arguments of the outermost call.

    Raises:
        ConfigError: with the place in the config before the message of whatever refused its arguments.
    """
    if isinstance(node, list):
        return [build(item, f"{where}[{i}]") for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    given = {key: build(value, join(where, key)) for key, value in arguments(node).items()}
    if "_target_" not in node:
        return given
    target = locate(node["_target_"], where)
    hints = hints_of(target)
    given = {key: shape(value, hints.get(key, Any)) for key, value in given.items()}
    try:
        return target(**given, **extra)
    except MezzotintError as error:
        raise type(error)(f"{where}: {error}") from error
    except (TypeError, ValueError, ImportError, RuntimeError, ArithmeticError) as error:
        raise ConfigError(f"{where}: {error}") from error


def shape(value: Any, hint: Any) -> Any:
    """YAML knows lists alone and writes 1 for 1.0: give a tuple or a float where that is what the hint says."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return shape(value, next((part for part in parts if fits(value, part)), Any))
    if isinstance(value, list) and (origin or hint) is tuple:
        inner = parts if parts and parts[-1] is not Ellipsis else parts[:1] * len(value)
        return tuple(map(shape, value, inner)) if inner else tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


# ----------------------------------------------------------------------------------------------------------------- load


def load(
    directory: str | Path, weights: str = "ema", allow: Sequence[str] = (), step: int | Literal["best"] | None = None
) -> "Denoiser":
    """The denoiser of a run, in evaluation mode on the CPU, from its config.yaml and its newest good checkpoint.

    Args:
        weights: "ema" (the first average kept, or the weights where none is), "raw", or the name of one average.
        allow: packages beside mezzotint whose classes config.yaml may name: a `_target_` from a stranger is code.
        step: an earlier checkpoint that the run still keeps, such as the weak network of autoguidance; or "best", the
            one that was judged best while the run was trained with callbacks=judge.
    """
    directory = Path(directory)
    config = read_config(directory)
    nodes = {name: config.get(name) for name in DENOISER}
    for where, path in targets(nodes):
        trust(path, where, allow, directory)
    denoiser = build_denoiser(nodes)
    denoiser.load_state_dict(read_weights(directory, weights, step))
    return denoiser.eval()


def build_denoiser(config: Mapping[str, Node], device: str = "cpu") -> "Denoiser":
    """The denoiser that a config describes, its network on a device; "meta" gives a network without memory."""
    import torch

    from mezzotint.diffusion import Denoiser

    with torch.device(device):
        network = build(config["network"], "network")
    parts = {name: build(config.get(name), name) for name in DENOISER if name != "network"}
    try:
        return Denoiser(network, **parts)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def read_config(directory: Path) -> dict[str, Node]:
    import yaml

    file = directory / "config.yaml"
    if not file.is_file():
        raise ConfigError(f"{directory} is not a run: no config.yaml in it; `mezzotint runs` lists those that exist")
    try:
        config = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file} does not hold a config")
    return config


def read_weights(directory: Path, weights: str = "ema", step: int | str | None = None) -> dict[str, Any]:
    """State of the denoiser from a checkpoint: the newest that can be read, the best, or that of a step."""
    checkpoint = read_checkpoint(directory, step)
    state = dict(checkpoint["state_dict"])
    averages = checkpoint.get("ema", {})
    weights = str(weights)
    if weights == "ema":
        state |= next(iter(averages.values()), {})
    elif weights in averages:
        state |= averages[weights]
    elif weights != "raw":
        raise ConfigError(f"weights={weights}: {directory} keeps {', '.join(['raw', *averages])}")
    return {key.removeprefix("denoiser."): value for key, value in state.items() if key.startswith("denoiser.")}


def read_checkpoint(directory: Path, step: int | str | None = None) -> dict[str, Any]:
    from mezzotint.training.checkpoints import read

    return read(find_checkpoint(directory, step))


def find_checkpoint(directory: Path, step: int | str | None = None) -> Path:
    """The file of a step's checkpoint, of the "best" one, or of the newest that can be read.

    Raises:
        ConfigError: the run keeps none such.
    """
    from mezzotint.training.checkpoints import chosen, step_of

    folder = directory / "checkpoints"
    if file := chosen(folder, step):
        return file
    if step is None:
        raise ConfigError(f"{directory} has no checkpoint that can be read: mezzotint train run={directory}")
    if step == "best":
        raise ConfigError(f"step=best: {directory} keeps no best checkpoint; it is trained with callbacks=judge")
    steps = ", ".join(str(step_of(file)) for file in sorted(folder.glob("step-*.ckpt"))) or "none"
    raise ConfigError(f"step={step}: {directory} keeps the steps {steps}; callbacks.checkpoints.keep= keeps more")


def targets(node: Node, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every (place, `_target_`) in a node."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield where, node["_target_"]
        for key, value in node.items():
            yield from targets(value, join(where, key))
    elif isinstance(node, list):
        for i, item in enumerate(node):
            yield from targets(item, f"{where}[{i}]")


def trust(path: Any, where: str, allow: Sequence[str], directory: Path) -> None:
    """Refuse what is neither a class of our networks or mathematics nor from a package that the caller named.

    Judged twice: by its name before anything is imported, and by where it was defined, since a module of ours may hold
    a name that it imported itself.
    """
    rooms = ("mezzotint.networks.", "mezzotint.diffusion.", *(f"{package}." for package in allow))
    if str(path).startswith(rooms):
        found = locate(path, where)
        if inspect.isclass(found) and f"{found.__module__}.".startswith(rooms):
            return
    package = str(path).partition(".")[0]
    raise ConfigError(
        f"{directory}/config.yaml: {where} names {path!r}, which is not a class of mezzotint. "
        f"If you trust the file: mezzotint.load({str(directory)!r}, allow=[{package!r}])"
    )
