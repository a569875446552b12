"""`mezzotint evaluate run=DIR`: judge samples of a run; the values and the protocol that gave them in one JSON."""

import json
from pathlib import Path
from typing import Any

from mezzotint.app.job import Config, settle
from mezzotint.app.parts import build_metrics
from mezzotint.app.runs import existing, mark, newest_step, write
from mezzotint.app.sample import name as sampling_name
from mezzotint.app.sample import open_generator
from mezzotint.app.terminal import bar, shown, table
from mezzotint.build import build
from mezzotint.errors import ConfigError

MANY = 10_000  # images, where n is not given and the reference has more
SAME = ("sampler", "grid", "guidance", "seed", "weights", "metrics", "extractor", "reference", "data")


def main(config: Any) -> float | None:
    plain = settle(config)
    directory = existing(plain)
    dataset = build(plain["data"], "data")
    metrics = build_metrics(plain, dataset.shape)
    if not metrics:
        raise ConfigError("there is nothing to compute: choose metrics=[frechet,kernel] and an extractor= that fits")
    path, found = judge(directory, plain, metrics, dataset)
    report(path, found)
    return objective(found)


def judge(directory: Path, config: Config, metrics: dict[str, Any], dataset: Any) -> tuple[Path, dict[str, Any]]:
    """Evaluate, or find the evaluation that was made before; its file and its content."""
    from mezzotint.metrics import evaluate

    reference = dataset.split(config["reference"])
    n = config["n"] or min(len(reference), MANY)
    step = newest_step(directory)
    unique = mark(config | {"step": step, "n": n}, (*SAME, "step", "n"))
    path = directory / "evaluation" / f"{sampling_name(config)}-n{n}-{unique}.json"
    if path.is_file():
        return path, json.loads(path.read_text())
    generator = open_generator(directory, config)
    with bar("judging", n) as advance:
        done = evaluate(
            generator.batches(0, n, advance),
            reference,
            metrics,
            n,
            device=generator.device,
            cache=config["paths"]["cache"],
            about=protocol(directory, config, step),
        )
    found = done.as_dict()
    found["protocol"]["calls"] = generator.calls
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(found, indent=1))
    return path, found


def protocol(directory: Path, config: Config, step: int) -> dict[str, Any]:
    """What the app knows of how the images were made."""
    return {
        "run": directory.resolve().name,
        "step": step,
        "images": step * config["batch_size"],
        "weights": config["weights"],
        "seeds": f"{config['seed']}, samples 0 to n - 1",
        "labels": "i modulo the number of classes" if config["data"].get("classes") else "none",
        "precision": "float32",
        "data": config["data"],
        "reference": {"split": config["reference"]},
        **{key: config[key] for key in ("sampler", "grid", "guidance")},
    }


def report(path: Path, found: dict[str, Any]) -> None:
    table(rows(found))
    for note in found["notes"]:
        print(note)
    print(shown(path))


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The values and what they are of, for people."""
    made, real = found["protocol"], found["protocol"]["reference"]
    return [
        *((name, f"{value:.4g}") for name, value in found["values"].items()),
        ("judged", f"{made['n']:,} images against {real['count']:,} real ones ({real['split']})"),
        ("network calls", f"{made['calls']:g} an image"),
    ]


def objective(found: dict[str, Any]) -> float | None:
    """The number that a sweep minimises: the first one."""
    return next(iter(found["values"].values()), None)
