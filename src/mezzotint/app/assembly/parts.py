"""A config's objects, and the rehearsal that finds pairs which cannot work before anything is made or paid for."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from mezzotint.app.assembly.compatibility import check_pairs, check_variance
from mezzotint.app.assembly.gradients import check_reached, unreached
from mezzotint.app.assembly.shapes import suited
from mezzotint.app.config.job import Config
from mezzotint.app.results.labels import plan as plan_labels
from mezzotint.app.results.references import check_reference, open_reference
from mezzotint.diffusion import Denoiser, KeyedRandom, Objective
from mezzotint.diffusion.stability import check_draw, settled
from mezzotint.errors import ConfigError, MezzotintError
from mezzotint.generation import SamplingRecipe
from mezzotint.instantiate.build import build, build_denoiser
from mezzotint.instantiate.locate import locate
from mezzotint.metrics import Context, EvaluatedModel, Metric
from mezzotint.training import EvaluationPlan, SampleMetrics


@dataclass(frozen=True)
class Components:
    """Everything that a training run is made of, built and not yet used."""

    dataset: Any
    denoiser: Denoiser
    objective: Objective
    optimizer: Any
    ema: Any
    callbacks: dict[str, Any]
    loggers: dict[str, Any]
    hardware: Any
    sampling: SamplingRecipe
    judging: EvaluationPlan
    train: Any = None  # the training images, where a rehearsal has read them
    unreached: tuple[str, ...] = ()  # parameters that get no gradient, where a rehearsal has looked for them


def assemble(config: Config, device: str = "cpu") -> Components:
    """Build the parts of a run; the network's first weights are a function of the seed.

    Args:
        device: "meta" gives a network without memory or numbers.

    Raises:
        ConfigError: what a constructor refused, with its place in the config.
    """
    torch.manual_seed(config["seed"])
    dataset = build(config["data"], "data")
    return Components(
        dataset=dataset,
        denoiser=build_denoiser(config, device),
        objective=build_objective(config),
        optimizer=build(config["optimizer"], "optimizer"),
        ema=build(config["ema"], "ema"),
        callbacks=build(config["callbacks"], "callbacks"),
        loggers=build(config["logger"], "logger"),
        hardware=build(config["hardware"], "hardware"),
        sampling=build_sampling(config),
        judging=build_judging(config, dataset),
    )


def build_objective(config: Config) -> Objective:
    groups = {"times": "time_distribution", "weight": "loss_weight", "loss": "loss"}
    parts = {name: build(config[group], group) for name, group in groups.items()}
    return build(config["objective"], "objective", **parts)


def build_sampling(config: Config) -> SamplingRecipe:
    node = config["guidance"]
    guidance = None if node is None else lambda inner: build(node, "guidance", inner=inner)
    return SamplingRecipe(build(config["sampler"], "sampler"), build(config["grid"], "grid"), guidance)


def build_judging(config: Config, dataset: Any) -> EvaluationPlan:
    """Opens nothing yet: only a run that is judged while it trains asks."""
    return EvaluationPlan(
        lambda: build_metrics(config, dataset.shape),
        lambda: open_reference(config["reference"], dataset).images,
        config["paths"]["cache"],
        lambda reference, directory: plan_labels(config["labels"], dataset.classes, reference, directory)[0],
    )


def build_metrics(config: Config, shape: tuple[int, ...]) -> dict[str, Metric]:
    """`plan_metrics` with the extractor's weights at hand, so that nothing is drawn before they are."""
    metrics = plan_metrics(config, shape)
    for extractor in dict.fromkeys(extractor for metric in metrics.values() for extractor in metric.extractors):
        with placed("extractor"):
            extractor.prepare(tuple(shape))
    return metrics


def plan_metrics(config: Config, shape: tuple[int, ...]) -> dict[str, Metric]:
    """The metrics, those of features over the extractor that fits these images; without them where none fits.

    Weights are not fetched, only looked for.

    Raises:
        ConfigError: a metric that needs what the extractor does not give. DataError: weights that are not to be had.
    """
    nodes = {name: (node, f"metrics.{name}") for name, node in config["metrics"].items()}
    featured = [name for name, place in nodes.items() if takes_extractor(*place)]
    extractor = None
    if featured and config["extractor"]:
        with placed("extractor"):
            extractor = build(config["extractor"], "extractor").resolve(tuple(shape))
    return {
        name: build(*place, **({"extractor": extractor} if name in featured else {}))
        for name, place in nodes.items()
        if extractor is not None or name not in featured
    }


def takes_extractor(node: Config, where: str) -> bool:
    """Whether the constructor that a metric's node names has an argument `extractor`, or takes any."""
    parameters = inspect.signature(locate(node["_target_"], where)).parameters
    return "extractor" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


# ------------------------------------------------------------------------------------------------------------ rehearsal


def dry_run(config: Config) -> Components:
    """Build everything, open the data and let the parts meet once, on tensors without memory.

    Raises:
        ConfigError, DataError: what cannot work, and what to do.
    """
    parts = meet(config)
    with placed("data"), suited(config):
        train = parts.dataset.split("train")
    metrics = build_metrics(config, parts.dataset.shape)
    check_reference(config["reference"], parts.dataset, metrics)
    with placed("reference"), suited(config):
        real = len(
            train if config["reference"] == "train" else open_reference(config["reference"], parts.dataset).images
        )
    check_judges(config, parts, metrics, real)
    return replace(parts, train=train)


def check_judges(config: Config, parts: Components, metrics: dict[str, Metric], real: int | None = None) -> None:
    """Whether what is to judge the run, while it trains and at its end, can.

    Args:
        real: images of the reference, where they have been counted.

    Raises:
        ConfigError: too few images for a metric, drawn or real, or held out.
    """
    real = min(real, config["reference_images"] or real) if real is not None else None
    model = EvaluatedModel(parts.denoiser, parts.dataset.split, limit=config["n"])
    context = Context(config["n"] or real, real, model)
    for name, metric in metrics.items():
        if real is not None or not metric.required_splits:
            with placed(f"metrics.{name}"):
                metric.validate(context)
    for name, callback in parts.callbacks.items():
        if isinstance(callback, SampleMetrics):
            with placed(f"callbacks.{name}"):
                for metric in callback.choose(metrics).values():
                    metric.validate(Context(callback.n, real))
                callback.shortened(parts.sampling)


def meet(config: Config) -> Components:
    """Of a rehearsal, what needs neither data nor weights of other networks."""
    parts = assemble(config, device="meta")
    with placed("grid"):
        parts.denoiser.check(parts.sampling.grid(parts.denoiser.schedule))
    with placed("hardware"):
        world = parts.hardware.local * parts.hardware.nodes
    with placed("batch_size"):
        parts.hardware.accumulation(config["batch_size"], world)
    with placed("hardware"):
        parts.hardware.recompute(parts.denoiser.network)
    check_pairs(config, parts.denoiser, parts.objective, parts.hardware)
    missing = rehearse_training(parts)
    check_reached(missing, parts.hardware)
    rehearse_sampling(parts.sampling, parts.denoiser, parts.dataset)
    return replace(parts, unreached=missing)


def rehearse_training(parts: Components) -> tuple[str, ...]:
    """One step's loss of two images; the parameters that get no gradient from it.

    Raises:
        ConfigError: a loss that cannot be computed, or leaves half of what the network answers untrained.
    """
    index = torch.arange(2)
    x0 = torch.empty(2, *parts.dataset.shape, device="meta")
    condition = {"label": index.to("meta")} if parts.dataset.classes else {}
    answers: list[Any] = []
    watching = parts.denoiser.network.register_forward_hook(lambda _, given, answer: answers.append(answer))
    losses = None
    with placed("network"), on_meta():
        losses = parts.objective(parts.denoiser, x0, KeyedRandom(0, index), **condition)
    watching.remove()
    if losses is None:
        return ()
    if answers and answers[-1].shape[1] == 2 * x0.shape[1]:
        check_variance(parts.objective)
    objective = {f"objective.{name}": p for name, p in parts.objective.named_parameters()}
    return unreached(losses, dict(parts.denoiser.named_parameters()) | objective)


def rehearse_sampling(sampling: SamplingRecipe, denoiser: Denoiser, dataset: Any) -> None:
    """The whole grid looked at, and the first steps of two samples, as the sampler and the guidance take them."""
    schedule = denoiser.schedule
    with placed("sampler"):
        grid = settled(sampling.grid(schedule))
        check_draw(sampling.sampler, grid, 0.0, schedule.prior_std(grid[0]))
    short = SamplingRecipe(sampling.sampler, partial(first_levels, sampling.grid), sampling.guidance)
    generator = short.generator(denoiser, dataset.shape, classes=dataset.classes)
    with placed("sampler"), on_meta():
        generator.draw(torch.arange(2))


def first_levels(spacing: Any, schedule: Any) -> tuple[Any, ...]:
    return tuple(spacing(schedule))[:4]


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Put the config's place before what a part refuses."""
    try:
        yield
    except MezzotintError as error:
        raise type(error)(f"{where}: {error}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error


@contextmanager
def on_meta() -> Iterator[None]:
    """A network of the user's own may do what tensors without memory cannot; then it is not rehearsed."""
    try:
        yield
    except NotImplementedError:
        return
    except RuntimeError as error:
        if "meta" not in str(error).lower():
            raise ConfigError(" ".join(str(error).split())) from error
