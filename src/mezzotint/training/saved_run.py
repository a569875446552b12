"""config.yaml and status.json as `fit` writes them, which make its directory a run."""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mezzotint.diffusion import Denoiser
from mezzotint.instantiate.build import build
from mezzotint.instantiate.nodes import Undescribed, arguments, node_of, path_of
from mezzotint.plain_data import as_dict
from mezzotint.runs import RunDir
from mezzotint.training.training_run import TrainingRun

HEAD = "# written by mezzotint.training.fit, of the objects that it was given\n"


@contextmanager
def written(run: TrainingRun, **parts: Any) -> Iterator[None]:
    """Describe the run before it trains and note how it ends; a directory that has a config already is left alone.

    Args:
        parts: denoiser, objective, optimizer, ema, hardware.
    """
    files = RunDir(run.directory)
    file = files.config_file
    if run.rank or (file.exists() and not file.read_text(errors="replace").startswith(HEAD)):
        yield
        return
    config, unknown = described(run, **parts)
    files.write_config(config, HEAD)
    for problem in unknown:
        print(f"{file}: {problem}", file=sys.stderr)
    start = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time(), "budget": run.budget}
    ended: dict[str, Any] = {"state": "failed"}
    with files.mark_running():
        status(run, **start, state="running", error=None)
        try:
            yield
            ended = {"state": "finished" if run.finished else "preempted"}
        except KeyboardInterrupt:
            ended = {"state": "preempted"}
            raise
        except Exception as error:
            ended["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            seconds = run.values.get("time", {}).get("seconds", 0.0)
            status(run, **start, **{"error": None, "seconds": seconds} | ended)


def status(run: TrainingRun, **entries: Any) -> None:
    RunDir(run.directory).update_status(**{"images": run.images, "steps": run.step} | entries)


def described(
    run: TrainingRun, denoiser: Denoiser, objective: nn.Module, optimizer: Any, ema: Any, hardware: Any
) -> tuple[dict[str, Any], list[str]]:
    """The config of a run, and a line for each part that could not be described; what it lacks is the usual choice."""
    unknown: list[str] = []

    def entry(key: str, part: Any, describe: Any = node_of) -> Any:
        try:
            return describe(part)
        except Undescribed as error:
            unknown.append(f"{key} is left out: {error}. Say it there by hand, as _target_ and its arguments")
            return None

    parts: dict[str, Any] = {"data": run.dataset, "optimizer": optimizer, "ema": ema, "hardware": hardware}
    parts |= {name: getattr(denoiser, name) for name in ("schedule", "target", "c_noise", "c_in")}
    parts |= {name: getattr(objective, name, None) for name in ("times", "weight", "loss")}
    config = {"network": entry("network", denoiser.network, network)}
    config |= {key: entry(key, part) for key, part in parts.items()}
    config |= {"objective": entry("objective", objective, without_parts)}
    data = as_dict(config.get("data"))
    if os.path.exists(str(data.get("root"))):
        data |= {"root": os.path.abspath(data["root"])}
    if run.sampling is not None:
        config |= {key: entry(key, getattr(run.sampling, key)) for key in ("sampler", "grid")}
    name = re.sub(r"[^\w.+-]+", "-", run.directory.resolve().name).strip("-.+") or "run"
    config |= {"name": name, "seed": run.seed, "budget": run.budget, "batch_size": run.batch_size}
    return config, unknown


def without_parts(objective: nn.Module) -> dict[str, Any]:
    """The node of an objective, of which times, weight and loss are nodes of their own."""
    given = {key: value for key, value in arguments(objective).items() if key not in ("times", "weight", "loss")}
    return {"_target_": path_of(type(objective))} | {key: node_of(value) for key, value in given.items()}


def network(network: nn.Module) -> dict[str, Any]:
    """The node of a network, if it builds one with parameters of the same names and shapes."""
    node = node_of(network)
    try:
        with torch.device("meta"):
            other = build(node)
        same = shapes(other) == shapes(network)
    except Exception as error:
        raise Undescribed(f"{type(network).__name__} cannot be built again ({error})") from error
    if not same:
        raise Undescribed(f"{type(network).__name__} is built with other weights by the attributes that it keeps")
    return node


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
