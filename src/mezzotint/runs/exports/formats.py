"""The formats of exports: safetensors, torch.export, ONNX, and a pipeline of diffusers."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from mezzotint.diffusion import Denoiser
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import DENOISER
from mezzotint.networks import Condition, ConditionEmbedder
from mezzotint.plain_data import as_dict, lookup

BATCHES = (1, 3, 4)  # sizes at which a traced network is compared with the original


@dataclass(frozen=True)
class Exported:
    """A denoiser with the chosen weights, and the nodes that `mezzotint.load` builds it of.

    Args:
        network: the node of the network.
        parts: the nodes of the other parts and of the codec, by name.
        clips: whether the run's guidance clips x0 to [-1, 1].
    """

    denoiser: Denoiser
    network: Mapping[str, Any]
    parts: Mapping[str, Any]
    clips: bool = False

    @classmethod
    def of_run(cls, denoiser: Denoiser, config: Mapping[str, Any]) -> Self:
        """Take the nodes from the config of a run."""
        parts = {name: config.get(name) for name in (*DENOISER, "codec") if name != "network"}
        clips = "ClipIfEpsilon" in str(lookup(config.get("guidance"), "_target_"))
        return cls(denoiser, as_dict(config.get("network")), parts, clips)

    @property
    def classes(self) -> int:
        return int(self.network.get("classes") or 0)

    def description(self) -> str:
        """The nodes of the denoiser as JSON, of which `mezzotint.load` builds it."""
        data = {"shape": list(self.denoiser.network.shape), "classes": self.classes}
        return json.dumps({"network": self.network, **self.parts, "data": data})


class ExportFormat(ABC):
    """Base of formats. `check` is cheap and comes first; `write` fills an empty folder."""

    name: ClassVar[str]
    library: ClassVar[str] = "mezzotint"  # which a model hub names as the one that opens it

    def check(self, model: Exported) -> None:  # noqa: B027, most formats take every model
        """Raises ConfigError: this model, or this machine, cannot have the format; and what to do."""

    @abstractmethod
    def write(self, model: Exported, folder: Path) -> str:
        """Write the files; return a line on what was verified."""

    @abstractmethod
    def usage(self, model: Exported) -> str:
        """Lines of Python that load the export."""


class Safetensors(ExportFormat):
    """model.safetensors: the denoiser's tensors in float32, and its config as JSON in the metadata under `config`."""

    name = "safetensors"

    def write(self, model: Exported, folder: Path) -> str:
        from safetensors.torch import save_file

        state = {name: value.detach().cpu().contiguous().clone() for name, value in model.denoiser.state_dict().items()}
        save_file(state, folder / "model.safetensors", {"format": "pt", "config": model.description()})
        return f"{len(state)} tensors"

    def usage(self, model: Exported) -> str:
        return 'import mezzotint\n\ndenoise = mezzotint.load("model.safetensors")'


class TorchExport(ExportFormat):
    """model.pt2: the network as a graph of torch.export, for any batch size, without this package."""

    name = "torch_export"
    library = "pytorch"

    def write(self, model: Exported, folder: Path) -> str:
        program = traced(model)
        torch.export.save(program, folder / "model.pt2")
        graph = torch.export.load(folder / "model.pt2").module()
        return f"largest difference from the network {difference(model, graph):g}"

    def usage(self, model: Exported) -> str:
        return (
            'import torch\n\nnetwork = torch.export.load("model.pt2").module()\n'
            f"out = network({', '.join(describe(model))})  # any batch size"
        )


class ONNX(ExportFormat):
    """model.onnx: the network as an ONNX graph, for any batch size."""

    name = "onnx"
    library = "onnx"

    def check(self, model: Exported) -> None:
        require("format=onnx", "onnx", "onnxscript")

    def write(self, model: Exported, folder: Path) -> str:
        file = folder / "model.onnx"
        program = torch.onnx.export(traced(model), input_names=input_names(model), dynamo=True, verbose=False)
        assert program is not None, "dynamo=True returns a program"
        program.save(str(file))
        try:
            require("", "onnxruntime")
        except ConfigError:
            return "not compared with the network: onnxruntime is not installed"
        return f"largest difference from the network {difference(model, runtime(file)):.1e}"

    def usage(self, model: Exported) -> str:
        names = input_names(model)
        given = ", ".join(f'"{name}": {name}' for name in names)
        return (
            'import onnxruntime\n\nsession = onnxruntime.InferenceSession("model.onnx")\n'
            f"(out,) = session.run(None, {{{given}}})  # {', '.join(describe(model))}"
        )


def require(what: str, *packages: str) -> None:
    """Raises ConfigError: a package is not installed."""
    from importlib.util import find_spec

    if lost := [name for name in packages if find_spec(name) is None]:
        raise ConfigError(f"{what} needs {', '.join(lost)}: pip install {' '.join(lost)}")


# -------------------------------------------------------------------------------------------------------------- traces


def input_names(model: Exported) -> list[str]:
    return ["x", "time", *(["label"] if model.classes else []), *conditions_of(model)]


def conditions_of(model: Exported) -> Mapping[str, Condition]:
    """Return the kind of each condition of a network of ours, by name; none of another."""
    embedder = getattr(model.denoiser.network, "conditions", None)
    return embedder.kinds if isinstance(embedder, ConditionEmbedder) else {}


def describe(model: Exported) -> list[str]:
    """The inputs of a traced network in words."""
    shape = ", ".join(map(str, model.denoiser.network.shape))
    return [
        f"x (B, {shape}) float32",
        "time (B,) float32",
        *(["label (B,) int64, -1 = no class"] if model.classes else []),
        *(f"{name} {in_words(kind)}" for name, kind in conditions_of(model).items()),
    ]


def in_words(kind: Condition) -> str:
    """Shape, type and null of a condition's values."""
    floats = kind.dtype.is_floating_point
    shape = "".join(f" {size}," if kind.shape[1:] or not kind.shape else f" {size}" for size in kind.shape)
    null = "" if kind.supplied else f", {'NaN' if floats else '-1'} = none"
    return f"(B,{shape.rstrip(',')}) {str(kind.dtype).removeprefix('torch.')}{null}"


def inputs(model: Exported, batch: int) -> tuple[Tensor, ...]:
    """Random inputs of a network, the same for each batch size; every other condition is the null."""
    source = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *model.denoiser.network.shape, generator=source)
    label = (torch.arange(batch) % (model.classes + 1) - 1,) if model.classes else ()
    times = torch.rand(batch, generator=source) * 999
    return (x, times, *label, *(some(kind, batch, source) for kind in conditions_of(model).values()))


def some(kind: Condition, batch: int, source: torch.Generator) -> Tensor:
    """Return values (B, ...) of a condition: zeros of integers, random floats, and the null of every other example."""
    values = kind.null(batch)
    drawn = torch.rand(batch, *kind.shape, generator=source)
    values[::2] = drawn[::2] if kind.dtype.is_floating_point else 0
    return values


class Positional(nn.Module):
    """A network as a function of its inputs by position."""

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, tuple(names)

    def forward(self, *inputs: Tensor) -> Tensor:
        x, time, *rest = inputs
        return self.network(x, time, **dict(zip(self.names[2:], rest, strict=True)))


def traced(model: Exported) -> torch.export.ExportedProgram:
    """Trace the network with a dynamic batch size. Raises ConfigError: its code cannot be traced."""
    network = Positional(model.denoiser.network, input_names(model)).eval()
    batch = torch.export.Dim("batch", min=1, max=65_536)
    given = inputs(model, 3)
    try:
        with torch.no_grad():
            return torch.export.export(network, given, dynamic_shapes={"inputs": tuple({0: batch} for _ in given)})
    except Exception as error:
        raise ConfigError(
            f"network: {type(model.denoiser.network).__name__} cannot be traced by torch.export "
            f"({' '.join(str(error).split())[:200]}); export it with format=safetensors"
        ) from error


def difference(model: Exported, graph: Any) -> float:
    """The largest difference between a graph and the network, over several batch sizes."""
    found = 0.0
    network = Positional(model.denoiser.network, input_names(model)).eval()
    with torch.no_grad():
        for batch in BATCHES:
            given = inputs(model, batch)
            found = max(found, float((network(*given) - graph(*given)).abs().max()))
    return found


def runtime(file: Path) -> Any:
    """An ONNX file as a function of tensors, run by onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(*given: Tensor) -> Tensor:
        arrays: Sequence[Any] = session.run(None, {n: value.numpy() for n, value in zip(names, given, strict=True)})
        return torch.from_numpy(arrays[0])

    return run
