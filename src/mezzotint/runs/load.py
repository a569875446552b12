"""The trained denoiser of a run, from its config and one of its checkpoints."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import DENOISER, Node, build_denoiser, check_part, targets
from mezzotint.instantiate.locate import locate
from mezzotint.instantiate.trust import Untrusted, current, trusting
from mezzotint.plain_data import as_dict, mismatch
from mezzotint.reading import damaged, reason
from mezzotint.runs.directory import RunDir

if TYPE_CHECKING:
    from mezzotint.diffusion import Denoiser

LENGTH = re.compile(r"std(\d*\.?\d+(?:e-?\d+)?)")  # weights that name a power-function average by its length


def load(
    directory: str | Path,
    weights: str | float = "ema",
    allow: Sequence[str] = (),
    checkpoint: int | Literal["best"] | None = None,
) -> "Denoiser":
    """Return the denoiser of a run, in evaluation mode on the CPU, from its config and its newest intact checkpoint.

    Args:
        directory: the run, or the model.safetensors of an export.
        weights: "ema" (the first average, or the raw weights without one), "raw", the half-life or std of an average,
            or of a run with ema=power "std0.075" and the like: an average of that length, made of the run's snapshots.
        allow: packages beside mezzotint whose classes the config may name: a `_target_` from a stranger is code. Inside
            a command such as `mezzotint sample run=DIR`, the packages that it trusts count instead.
        checkpoint: the step of an earlier checkpoint that the run still keeps, such as the weak network of
            autoguidance; or "best", the one that callbacks=sample_metrics kept.
    """
    run = RunDir(Path(directory))
    exported = Path(directory) if Path(directory).suffix == ".safetensors" else None
    config = exported_config(exported) if exported else run.config()
    nodes = {name: config.get(name) for name in DENOISER}
    rule = current()
    if not rule.strict:
        rule = replace(rule, strict=True, packages=(*rule.packages, *allow), paths=())
    with trusting(rule):
        check_denoiser(nodes, run)
        denoiser = build_denoiser(nodes)
    state = read_exported(exported) if exported else read_weights(run, weights, checkpoint)
    try:
        denoiser.load_state_dict(state)
    except RuntimeError as error:
        raise damaged(
            exported or run.checkpoint(checkpoint), f"it does not fit the config ({reason(error)})"
        ) from error
    return denoiser.eval()


def exported_config(file: Path) -> dict[str, Any]:
    """Return the config in the metadata of an exported safetensors file. Raises DataError: it has none."""
    import json

    from safetensors import safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            found = json.loads((tensors.metadata() or {})["config"])
        if why := mismatch(found, {}):
            raise ValueError(why)
    except Exception as error:
        raise DataError(
            f"{file} is no export by format=safetensors ({reason(error)[:120]}); its tensors alone are read by "
            f"`mezzotint train init={file}`"
        ) from error
    return found


def read_exported(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(file)


def read_weights(run: RunDir, weights: str | float = "ema", step: int | str | None = None) -> dict[str, Any]:
    """Return the denoiser's state from a checkpoint: the newest intact one, the "best", or that of a step."""
    file = run.checkpoint(step)
    made = LENGTH.fullmatch(str(weights))
    state = averaged(read_checkpoint(file), "raw" if made else weights, str(run.path))
    if made:
        from mezzotint.runs import checkpoints, snapshots

        state |= snapshots.reconstruct(run, float(made[1]), None if step is None else checkpoints.step_of(file))[1]
    return {key.removeprefix("denoiser."): value for key, value in state.items() if key.startswith("denoiser.")}


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint of a run; torch is imported here."""
    from mezzotint.runs import checkpoints

    return checkpoints.read(file)


def averaged(checkpoint: Mapping[str, Any], weights: str | float, where: str) -> dict[str, Any]:
    """Return the module's state in a checkpoint with the chosen average in the place of the raw weights.

    Args:
        where: the source, for the message.

    Raises:
        ConfigError: the checkpoint has no such average.
    """
    state = dict(checkpoint["state_dict"])
    averages = checkpoint.get("ema") or {}
    weights = weights if isinstance(weights, str) else f"{weights:g}"
    if weights == "ema":
        return state | next(iter(averages.values()), {})
    if weights in averages:
        return state | averages[weights]
    if weights != "raw":
        raise ConfigError(f"weights={weights}: {where} keeps {', '.join(['raw', *averages])}")
    return state


def check_denoiser(nodes: dict[str, Node], run: RunDir) -> None:
    """Refuse nodes of a run's denoiser that name untrusted code or cannot be built.

    Raises:
        ConfigError: with the cure from Python and on the command line; or all that is wrong with the nodes.
    """
    for where, path in targets(nodes):
        try:
            locate(path, where)
        except Untrusted as error:
            package = str(path).partition(".")[0]
            python, command = f"mezzotint.load({str(run.path)!r}, allow=[{package!r}])", f"trust=[{package}]"
            cure = "" if package == "mezzotint" else f". If you trust the file: {python}, on the command line {command}"
            raise ConfigError(
                f"{run.config_file}: {where} names {path!r}, which is not a class of mezzotint{cure}"
            ) from error
        if path == "mezzotint.load":
            raise ConfigError(f"{run.config_file}: {where} names a run, and no part of a denoiser is one")
    if not as_dict(nodes["network"]):
        raise ConfigError(f"{run.config_file} names no network")
    if problems := [problem for name, node in nodes.items() if node for problem in check_part(node, name)]:
        raise ConfigError(f"{run.config_file}: {'; '.join(problems)}")
