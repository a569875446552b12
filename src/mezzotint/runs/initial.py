"""Weights that a new run starts from: those of another run, of a checkpoint or of a safetensors file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mezzotint.errors import ConfigError, DataError
from mezzotint.plain_data import as_dict, lookup
from mezzotint.reading import reason
from mezzotint.runs.checkpoints import unpickle
from mezzotint.runs.directory import RunDir
from mezzotint.runs.load import averaged, read_checkpoint

PARTS = ("denoiser.", "objective.")  # of a module's state; all else of a checkpoint belongs to its training
SHOWN = 6  # names in a line
KINDS = "a run, one of its checkpoints, a .safetensors file, or a .pt file of tensors"


@dataclass(frozen=True)
class Transfer:
    """The tensors of a source that a new run takes, by their names in the module.

    Args:
        source: the file, for messages.
        tensors: those taken.
        reshaped: those of another shape, as (name, shape in the source, shape in the network).
        missing: names in the network that the source lacks.
        unused: names in the source that the network lacks.
    """

    source: str
    tensors: Mapping[str, Tensor]
    reshaped: Sequence[tuple[str, tuple[int, ...], tuple[int, ...]]]
    missing: Sequence[str]
    unused: Sequence[str]

    def __str__(self) -> str:
        count = len(self.tensors) + len(self.reshaped) + len(self.missing)
        shapes = [f"{name} ({size(there)} there, {size(here)} here)" for name, there, here in self.reshaped]
        parts = [
            f"init: {len(self.tensors)} of {count} tensors from {self.source}",
            *([f"not taken, of another shape: {some(shapes)}"] if shapes else []),
            *([f"not taken, missing there: {some(self.missing)}"] if self.missing else []),
            *([f"unused, unknown here: {some(self.unused)}"] if self.unused else []),
        ]
        return "; ".join(parts)

    def apply(self, modules: Mapping[str, nn.Module]) -> None:
        """Copy the tensors taken into the modules, by the prefixes of their names."""
        for prefix, module in modules.items():
            state = module.state_dict(prefix=f"{prefix}.")
            for name in state.keys() & self.tensors.keys():
                state[name].copy_(self.tensors[name])


def transfer(init: str | Path, weights: str | float, modules: Mapping[str, nn.Module]) -> Transfer:
    """Match the weights of a source with those of modules, by name and shape.

    Args:
        init: a run, whose newest checkpoint is read; a checkpoint; or a file of tensors.
        weights: "ema", the first average, or the raw weights without one; "raw"; or the half-life of an average.
        modules: "denoiser" and "objective", perhaps on the meta device.

    Raises:
        ConfigError, DataError: the source cannot be read, or holds no tensor that fits.
    """
    place = Path(init)
    file, found = read(place, weights)
    here = {
        name: tuple(t.shape)
        for prefix, module in modules.items()
        for name, t in module.state_dict(prefix=f"{prefix}.").items()
    }
    there = {name: tuple(tensor.shape) for name, tensor in found.items()}
    made = Transfer(
        str(file),
        {name: found[name] for name in here if there.get(name) == here[name]},
        [(name, there[name], here[name]) for name in here if name in there and there[name] != here[name]],
        [name for name in here if name not in there],
        [name for name in there if name not in here],
    )
    if not made.tensors:
        raise ConfigError(
            f"init={init}: no tensor fits this network; its first is {first(there)}, and the network's is "
            f"{first(here)}. Choose the network= that these weights are of, or leave init= out"
        )
    return made


def read(place: Path, weights: str | float) -> tuple[Path, dict[str, Tensor]]:
    """Return the file that a source stands for, and its tensors by their names in a training module.

    Raises:
        ConfigError: there is no such source. DataError: it cannot be read, or holds something other than tensors.
    """
    if place.is_dir():
        file = RunDir(place).checkpoint() if RunDir(place).exists() else None
        if file is None:
            raise ConfigError(f"init={place}: this folder is not a run; give {KINDS}")
        return file, of_checkpoint(read_checkpoint(file), weights, file)
    if not place.is_file():
        raise ConfigError(f"init={place}: there is no such file or run; give {KINDS}")
    if place.suffix == ".safetensors":
        return place, module_names(of_safetensors(place))
    try:
        content = unpickle(place, lazily=True)
    except Exception as error:
        raise DataError(
            f"init={place}: it cannot be read as plain tensors ({type(error).__name__}), and code in a file is never "
            "run; convert it to safetensors where it comes from"
        ) from error
    if as_dict(lookup(content, "state_dict")):
        return place, of_checkpoint(content, weights, place)
    return place, module_names(tensors_of(content, place))


def of_checkpoint(checkpoint: Mapping[str, Any], weights: str | float, file: Path) -> dict[str, Tensor]:
    """Return the chosen weights of a checkpoint; the objective's are the raw ones, of which there is no average."""
    state = averaged(checkpoint, weights, f"init={file}")
    return module_names(tensors_of(state, file))


def of_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except Exception as error:
        raise DataError(f"init={file}: it is not a safetensors file ({reason(error)[:120]})") from error


def tensors_of(content: Any, file: Path) -> dict[str, Tensor]:
    """Return the content of a file if it is a state dict. Raises DataError: it is something else."""
    if as_dict(content) and all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): value for name, value in content.items()}
    raise DataError(f"init={file}: it holds something other than tensors by name; give {KINDS}")


def module_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of a module, a denoiser or a network by the names in a training module."""
    if any(name.startswith(PARTS) for name in state):
        return {name: value for name, value in state.items() if name.startswith(PARTS)}
    own = any(name.startswith("network.") for name in state)
    return {f"denoiser.{'' if own else 'network.'}{name}": value for name, value in state.items()}


def some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name.removeprefix("denoiser.network.") for name in names[:SHOWN]) + more


def size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def first(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return next((f"{name} ({size(shape)})" for name, shape in shapes.items()), "nothing")
