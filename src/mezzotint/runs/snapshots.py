"""Snapshots of averaged weights in half precision, and the average of another length made of them."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mezzotint.atomic import atomic_path
from mezzotint.errors import ConfigError
from mezzotint.reading import damaged, obstacle, reason
from mezzotint.runs.directory import RunDir
from mezzotint.runs.power_average import PowerAverage, coefficients

NAME = re.compile(r"step-(\d+)")
REMOVE = "remove it, and the other snapshots are used"


def named(folder: Path, step: int) -> Path:
    """Return the file of a step's snapshots."""
    return folder / f"step-{step:08d}.safetensors"


def every(folder: Path) -> dict[int, Path]:
    """Return the files of snapshots by step, oldest first."""
    found = {int(name[1]): file for file in folder.glob("step-*.safetensors") if (name := NAME.fullmatch(file.stem))}
    return dict(sorted(found.items()))


def write(file: Path, images: int, averages: Mapping[float, Mapping[str, Tensor]]) -> None:
    """Write averages by their std, in float16; a tensor that would overflow stays in float32."""
    from safetensors.torch import save_file

    tensors = {}
    for std, state in averages.items():
        for name, value in state.items():
            half = value.half()
            tensors[f"{std:g}/{name}"] = (half if half.isfinite().all() else value).cpu().contiguous().clone()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as part:
        save_file(tensors, part, {"images": str(images), "std": " ".join(f"{std:g}" for std in averages)})


def tracked(run: RunDir) -> set[float]:
    """Return the std of each average in a run's snapshots."""
    return {width for file in every(run.snapshots).values() for width in described_by(file, run)[1]}


def reconstruct(run: RunDir, std: float, step: int | None = None) -> tuple[int, dict[str, Tensor]]:
    """Return the average of a length at the time of a run's last snapshot, and the step of that.

    Args:
        std: relative to the images seen at that time.
        step: snapshots until then; None takes all.

    Raises:
        ConfigError: the run has no snapshots, or no average is as long. Damaged: a file cannot be read.
    """
    files = {at: file for at, file in every(run.snapshots).items() if step is None or at <= step}
    if not files:
        raise ConfigError(f"std={std:g}: {run.path} has no snapshots; they are kept by training with ema=power")
    described = {file: described_by(file, run) for file in files.values()}
    last = max(described[file][0] for file in described)
    found = [PowerAverage(images, width) for images, widths in described.values() for width in widths]
    try:
        weights = iter(coefficients(found, PowerAverage(last, std)))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    total: dict[str, Tensor] = {}
    for file, (_, widths) in described.items():
        add(total, file, {f"{width:g}": next(weights) for width in widths})
    return max(files), {name: value.float() for name, value in total.items()}


def described_by(file: Path, run: RunDir) -> tuple[int, list[float]]:
    """Return the images seen and the lengths of the averages in a file. Raises Damaged."""
    from safetensors import safe_open

    if why := obstacle(file, run.path):
        raise damaged(file, why, REMOVE)
    try:
        with safe_open(file, framework="pt") as tensors:
            known = tensors.metadata() or {}
        return int(known["images"]), [float(std) for std in known["std"].split()]
    except Exception as error:
        raise damaged(file, f"it holds no snapshots ({reason(error)})", REMOVE) from error


def add(total: dict[str, Tensor], file: Path, weights: Mapping[str, float]) -> None:
    """Add a file's averages, each times its weight, in float64."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118
            std, _, name = key.partition("/")
            value = tensors.get_tensor(key).double() * weights[std]
            total[name] = value if name not in total else total[name].add_(value)


def write_average(file: Path, run: RunDir, std: float) -> int:
    """Reconstruct an average into a safetensors file of float32 weights; return its step. Raises as `reconstruct`."""
    from safetensors.torch import save_file

    step, average = reconstruct(run, std)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as part:
        save_file({name: value.contiguous() for name, value in average.items()}, part, {"std": f"{std:g}"})
    return step
