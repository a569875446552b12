"""The model card of an export: Markdown with the header that model hubs read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mezzotint.data.nouns import EXAMPLES, IMAGES, noun_of
from mezzotint.errors import MezzotintError
from mezzotint.instantiate.build import build
from mezzotint.report.summary import say
from mezzotint.runs import RunDir

RECIPE = ("network", "schedule", "target", "objective", "time_distribution", "loss_weight", "loss", "optimizer")
RECIPE += ("lr_schedule", "ema")
SAMPLING = ("sampler", "grid", "guidance")


def model_card(directory: Path, weights: str, step: int, license: str | None, library: str, usage: str) -> str:
    """Return the card of one export of a run.

    Args:
        weights: which of the run's weights, as `weights=` names them.
        step: of the checkpoint.
        license: as the hub abbreviates it; None leaves the field to be filled in.
        library: which the hub names as the one that opens it.
        usage: lines of Python that load the files.
    """
    run = RunDir(directory)
    config = run.config()
    many, count = plural(config), step * int(config.get("batch_size") or 0)
    head = {
        "license": license or "unknown",
        "library_name": library,
        "tags": ["diffusion", "mezzotint"],
    } | ({"pipeline_tag": "unconditional-image-generation"} if many == IMAGES.many else {})
    sections = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {config.get('name') or directory.name}",
        f"A diffusion model trained with Mezzotint on {count:,} {many}, {step:,} steps; weights `{weights}`.",
        f"## Data\n\n{data(run, config, many)}",
        "## Recipe\n\n| part | setting |\n|---|---|\n" + "\n".join(recipe(config, many)),
        f"## Results\n\n{results(run, many)}",
        f"## How to load\n\n```python\n{usage}\n```",
        f"## Licence\n\n{license or 'Not stated: set `license:` above before you share the weights.'}",
    ]
    return "\n\n".join(sections) + "\n"


def plural(config: dict[str, Any]) -> str:
    """Return the noun for the examples of the data, such as images."""
    try:
        return noun_of(build(config.get("data"), "data")).many
    except MezzotintError:  # a class that cannot be imported here
        return EXAMPLES.many


def data(run: RunDir, config: dict[str, Any], many: str) -> str:
    node = config.get("data") or {}
    shape = " x ".join(map(str, node.get("shape") or ()))
    known = run.data() or {}
    count = f", {known['images']:,} training {many}" if known else ""
    classes = f", {len(known['counts'])} classes" if known.get("counts") else ""
    content = f"\n\nContent: `{known['content']}`" if known else ""
    return f"`{say(node, without=('root', 'cache'))}`: {shape}{count}{classes}.{content}"


def recipe(config: dict[str, Any], many: str) -> Iterator[str]:
    """Yield the rows of the table of settings."""
    for key in RECIPE:
        if config.get(key):
            yield f"| {key} | `{say(config[key])}` |"
    yield f"| budget | {config.get('budget')} {many}, {config.get('batch_size')} a step, seed {config.get('seed')} |"


def results(run: RunDir, many: str) -> str:
    """Return a table of the run's evaluations, each with the protocol by which it was measured."""
    rows = []
    for file, found in run.evaluations().items():
        made = found["protocol"]
        reference = made.get("reference", {})
        against = " ".join(str(reference[key]) for key in ("dataset", "split") if key in reference)
        sampling = ", ".join(say(made[key]) for key in SAMPLING if made.get(key))
        for name, value in found["values"].items():
            error = found.get("errors", {}).get(name)
            shown = "-" if value is None else f"{value:.4g}" + (f" +- {error:.2g}" if error else "")
            protocol = f"{made['n']} samples of step {made.get('step')}, weights {made.get('weights')}, {sampling}"
            rows.append(f"| {name} | {shown} | {protocol}; {reference.get('count')} {many} ({against}) | {file.name} |")
    if not rows:
        return "Not evaluated."
    return "\n".join(["| metric | value | protocol | file |", "|---|---|---|---|", *rows])
