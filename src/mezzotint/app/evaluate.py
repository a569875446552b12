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
    from mezzotint.metrics import NegativeLogLikelihood, evaluate

    reference = dataset.split(config["reference"])
    n = config["n"] or min(len(reference), MANY)
    step = newest_step(directory)
    unique = mark(config | {"step": step, "n": n}, (*SAME, "step", "n"))
    path = directory / "evaluation" / f"{sampling_name(config)}-n{n}-{unique}.json"
    if path.is_file():
        return path, json.loads(path.read_text())
    generator = open_generator(directory, config)
    likelihoods = {name: metric for name, metric in metrics.items() if isinstance(metric, NegativeLogLikelihood)}
    of_features = {name: metric for name, metric in metrics.items() if name not in likelihoods}
    drawn = n if of_features else 0
    with bar("judging", drawn) as advance:
        done = evaluate(
            generator.batches(0, drawn, advance),
            reference,
            of_features,
            drawn,
            device=generator.device,
            cache=config["paths"]["cache"],
            about=protocol(directory, config, step),
        )
    found = done.as_dict()
    found["protocol"]["calls"] = generator.calls
    for name, metric in likelihoods.items():
        add_likelihood(found, name, metric, dataset.split(metric.split), generator, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(found, indent=1))
    return path, found


def add_likelihood(found: dict[str, Any], name: str, metric: Any, images: Any, generator: Any, config: Config) -> None:
    """Put the likelihood of held-out images beside what was found of drawn ones; before it where it was named first."""
    count = metric.count(images, config["n"])
    with bar("likelihood", count) as advance:
        values, errors = metric.measure(
            generator.denoise, images, count, config["seed"], generator.device, progress=advance
        )
    first = next(iter(config["metrics"])) == name
    found["values"] = values | found["values"] if first else found["values"] | values
    found["errors"] |= errors
    found["protocol"]["metrics"][name] = metric.settings() | {
        "method": metric.chosen(generator.denoise),
        "count": count,
        "sha256": images.digest(),
    }


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
    errors = found["errors"]
    values = [
        (name, f"{value:.4g}" + (f" +- {errors[name]:.2g}" if name in errors else ""))
        for name, value in found["values"].items()
    ]
    if not made["n"]:
        return values
    return [
        *values,
        ("judged", f"{made['n']:,} images against {real['count']:,} real ones ({real['split']})"),
        ("network calls", f"{made['calls']:g} an image"),
    ]


def objective(found: dict[str, Any]) -> float | None:
    """The number that a sweep minimises: the first one."""
    return next(iter(found["values"].values()), None)
