"""A config's objects, and the rehearsal that finds pairs which cannot work before anything is made or paid for."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.nn import ModuleList

from mezzotint.app.assembly.compatibility import check_pairs, check_variance
from mezzotint.app.assembly.conditions import check_conditions
from mezzotint.app.assembly.gradients import check_reached, unreached
from mezzotint.app.assembly.shapes import suited
from mezzotint.app.config.job import Job, Node
from mezzotint.app.config.standalone import Standalone
from mezzotint.app.results.labels import plan as plan_labels
from mezzotint.app.results.references import check_reference, open_reference
from mezzotint.data import Codec, PixelCodec
from mezzotint.data.conditions import condition_values, kinds_of
from mezzotint.data.dataset import codec_of, coded_shape
from mezzotint.diffusion import Denoiser, KeyedRandom, Objective
from mezzotint.diffusion.stability import check_draw, validated_grid
from mezzotint.errors import ConfigError, MezzotintError
from mezzotint.generation import SamplingRecipe, null_conditions
from mezzotint.instantiate.build import build, build_denoiser
from mezzotint.instantiate.locate import locate
from mezzotint.metrics import Context, EvaluatedModel, Metric
from mezzotint.training import EvaluationPlan


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
    notes: tuple[str, ...] = ()  # on the evaluation at the end, where a rehearsal has counted the reference


def assemble(job: Job, device: str = "cpu") -> Components:
    """Build the parts of a run; the network's first weights are a function of the seed.

    Args:
        device: "meta" gives a network without memory or numbers.

    Raises:
        ConfigError: what a constructor refused, with its place in the config.
    """
    torch.manual_seed(job.seed)
    dataset = build(job.data_node(), "data")
    return Components(
        dataset=dataset,
        denoiser=build_denoiser(job.as_dict(), device),
        objective=build_objective(job),
        optimizer=build(job.optimizer | ({"decay": job.lr_schedule} if job.lr_schedule else {}), "optimizer"),
        ema=build(job.ema, "ema"),
        callbacks=build(job.callbacks, "callbacks"),
        loggers=build(job.logger, "logger"),
        hardware=build(job.hardware, "hardware"),
        sampling=build_sampling(job),
        judging=build_judging(job, dataset),
    )


def build_objective(job: Job) -> Objective:
    return build(
        job.objective,
        "objective",
        times=build(job.time_distribution, "time_distribution"),
        weight=build(job.loss_weight, "loss_weight"),
        loss=build(job.loss, "loss"),
    )


def build_sampling(job: Job) -> SamplingRecipe:
    node = job.guidance
    guidance = None if node is None else lambda inner: build(node, "guidance", inner=inner)
    return SamplingRecipe(build(job.sampler, "sampler"), build(job.grid, "grid"), guidance)


def build_judging(job: Job, dataset: Any) -> EvaluationPlan:
    """Opens nothing yet: only a run that is judged while it trains asks."""
    return EvaluationPlan(
        lambda: build_metrics(job, dataset.shape),
        lambda: open_reference(job.reference, dataset).images,
        job.paths["cache"],
        lambda reference, directory: plan_labels(
            job.labels, 0 if kinds_of(dataset) else dataset.classes, reference, directory
        )[0],
    )


def build_metrics(job: Job | Standalone, shape: tuple[int, ...]) -> dict[str, Metric]:
    """`plan_metrics` with the extractor's weights at hand, so that nothing is drawn before they are."""
    metrics = plan_metrics(job, shape)
    for extractor in dict.fromkeys(extractor for metric in metrics.values() for extractor in metric.extractors):
        with placed("extractor"):
            extractor.prepare(tuple(shape))
    return metrics


def plan_metrics(job: Job | Standalone, shape: tuple[int, ...]) -> dict[str, Metric]:
    """The metrics, those of features over the extractor that fits these images; without them where none fits.

    Weights are not fetched, only looked for.

    Raises:
        ConfigError: a metric that needs what the extractor does not give. DataError: weights that are not to be had.
    """
    nodes = {name: (node, f"metrics.{name}") for name, node in job.metrics.items()}
    featured = [name for name, place in nodes.items() if takes_extractor(*place)]
    extractor = None
    if featured and job.extractor:
        with placed("extractor"):
            extractor = build(job.extractor, "extractor").resolve(tuple(shape), codec_of_job(job))
    return {
        name: build(*place, **({"extractor": extractor} if name in featured else {}))
        for name, place in nodes.items()
        if extractor is not None or name not in featured
    }


def codec_of_job(job: Job | Standalone) -> Codec:
    """Return the chosen codec, or that of pixels: the config of other data names one."""
    return build(job.codec, "codec") if job.codec else PixelCodec()


def takes_extractor(node: Node, where: str) -> bool:
    """Whether the constructor that a metric's node names has an argument `extractor`, or takes any."""
    parameters = inspect.signature(locate(node["_target_"], where)).parameters
    return "extractor" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


# ------------------------------------------------------------------------------------------------------------ rehearsal


def dry_run(job: Job) -> Components:
    """Build everything, open the data and let the parts meet once, on tensors without memory.

    Raises:
        ConfigError, DataError: what cannot work, and what to do.
    """
    parts = meet(job)
    with placed("data"), suited(job):
        train = parts.dataset.split("train")
        for split in ("train", "test"):
            condition_values(parts.dataset, split)
    if job.codec:
        with placed("codec"):
            codec_of(parts.dataset).refuse_type(train.batch(torch.arange(1))[0])
    metrics = build_metrics(job, parts.dataset.shape)
    check_reference(job.reference, parts.dataset, metrics)
    with placed("reference"), suited(job):
        real = len(train if job.reference == "train" else open_reference(job.reference, parts.dataset).images)
    check_judges(job, parts, metrics, real)
    return replace(parts, train=train, notes=tuple(few_references(job, metrics, real)))


def check_judges(job: Job, parts: Components, metrics: dict[str, Metric], real: int | None = None) -> None:
    """Whether what is to judge the run, while it trains and at its end, can.

    Args:
        real: images of the reference, where they have been counted.

    Raises:
        ConfigError: too few images for a metric, drawn or real, or held out.
    """
    real = min(real, job.reference_images or real) if real is not None else None
    model = EvaluatedModel(parts.denoiser, parts.dataset.split, limit=job.n, codec=codec_of(parts.dataset))
    context = Context(job.n or real, real, model)
    for name, metric in metrics.items():
        if real is not None or not metric.required_splits:
            with placed(f"metrics.{name}"):
                metric.validate(context)
    if not parts.callbacks:
        return
    from mezzotint.training import SampleMetrics

    for name, callback in parts.callbacks.items():
        if isinstance(callback, SampleMetrics):
            with placed(f"callbacks.{name}"):
                for metric in callback.choose(metrics).values():
                    metric.validate(Context(callback.n, real))
                callback.shortened(parts.sampling)


def few_references(job: Job, metrics: dict[str, Metric], real: int) -> list[str]:
    """Return the note on too small a reference, of `real` images before `reference_images=` takes fewer."""
    from mezzotint.metrics.evaluation import few_real

    return few_real(metrics, min(real, job.reference_images or real))


def meet(job: Job) -> Components:
    """Of a rehearsal, what needs neither data nor weights of other networks."""
    parts = assemble(job, device="meta")
    with placed("grid"):
        parts.denoiser.check(parts.sampling.grid(parts.denoiser.schedule))
    with placed("codec"):
        coded_shape(parts.dataset)
    with placed("hardware"):
        world = parts.hardware.local * parts.hardware.nodes
    with placed("batch_size"):
        parts.hardware.accumulation(job.batch_size, world)
    with placed("hardware"):
        parts.hardware.recompute(parts.denoiser.network)
    with placed("optimizer"):
        parts.optimizer.build(ModuleList([parts.denoiser, parts.objective]), fused=False)
    check_conditions(kinds_of(parts.dataset), parts.denoiser.network, parts.objective)
    check_pairs(job, parts.denoiser, parts.objective, parts.hardware)
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
    x0 = torch.empty(2, *coded_shape(parts.dataset), device="meta")
    condition = {"label": index.to("meta")} if parts.dataset.classes else {}
    condition |= {name: kind.null(2, "meta") for name, kind in kinds_of(parts.dataset).items()}
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
        grid = validated_grid(sampling.grid(schedule))
        check_draw(sampling.sampler, grid, 0.0, schedule.prior_std(grid[0]))
    short = SamplingRecipe(sampling.sampler, partial(first_levels, sampling.grid), sampling.guidance)
    generator = short.of_dataset(denoiser, dataset, conditions=null_conditions(kinds_of(dataset)))
    with placed("sampler"), on_meta():
        generator.sample_from(*generator.start(torch.arange(2)))


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
