"""The dry run: everything is built and used once without memory or computation, so that errors come before any cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import nn

from mezzotint.app.assembly.compatibility import check_pairs, check_variance
from mezzotint.app.assembly.conditions import check_conditions
from mezzotint.app.assembly.evaluation_budget import EvaluationBudget, evaluation_budget
from mezzotint.app.assembly.gradients import check_reached, unreached
from mezzotint.app.assembly.parts import Components, assemble, build_metrics, materialised, placed
from mezzotint.app.assembly.shapes import suited
from mezzotint.app.assembly.tracing import ShapeProbe, on_meta
from mezzotint.app.config.job import Job
from mezzotint.app.results.reference_opening import check_reference, open_reference
from mezzotint.data.conditions import condition_values, kinds_of, null_values
from mezzotint.data.dataset import Dataset, codec_of, coded_shape, examples_of
from mezzotint.data.image_set import ImageSource
from mezzotint.diffusion import Denoiser, KeyedRandom, Schedule, Spacing
from mezzotint.diffusion.grids.spacings import Grid
from mezzotint.diffusion.stability import check_draw, validated_grid
from mezzotint.generation import SamplingRecipe, held_out_conditions, null_conditions
from mezzotint.metrics import Context, EvaluatedModel, Metric
from mezzotint.training.callbacks.base import own

FIRST_LEVELS = 4  # of a grid, where only the fit of sampler, guidance and network is checked


@dataclass(frozen=True)
class ComponentsDryRun:
    """The components of a run, with the network on the meta device, and what was found by using them once.

    Args:
        calls: network calls for one image, guidance included.
        unreached: parameters that get no gradient from the loss.
    """

    job: Job
    components: Components
    calls: float
    unreached: tuple[str, ...]

    @cached_property
    def materialised(self) -> Components:
        """The same components with memory, the weights being a function of the seed."""
        return materialised(self.components, self.job)


@dataclass(frozen=True)
class DryRun:
    """The dry run of a run with its data: all that is known before training.

    Args:
        trial: the dry run of the components.
        train: the training images.
        metrics: those of the final evaluation.
        evaluation: the final evaluation within its share of the training.
        notes: remarks on the reference of the final evaluation.
    """

    trial: ComponentsDryRun
    train: ImageSource
    metrics: dict[str, Metric]
    evaluation: EvaluationBudget
    notes: tuple[str, ...]

    @property
    def components(self) -> Components:
        return self.trial.components


def dry_run(job: Job) -> DryRun:
    """Build everything, open the data and use each component once.

    Raises:
        ConfigError, DataError: what cannot work, and what to do.
    """
    trial = dry_run_without_data(job)
    components, dataset = trial.components, trial.components.dataset
    with placed("data"), suited(job):
        train = examples_of(dataset, "train")
        for split in ("train", "test"):
            condition_values(dataset, split)
    if job.codec:
        with placed("codec"):
            codec_of(dataset).refuse_type(train.batch(torch.arange(1))[0])
    metrics = build_metrics(job, dataset.shape)
    check_reference(job.reference, dataset, metrics)
    with placed("reference"), suited(job):
        reference = open_reference(job.reference, dataset)
    real = len(reference.images)
    check_metrics(job, components, metrics, real)
    return DryRun(
        trial=trial,
        train=train,
        metrics=metrics,
        evaluation=evaluation_budget(job, components, metrics, trial.calls, reference.extracted),
        notes=tuple(few_references(job, metrics, real)),
    )


def dry_run_without_data(job: Job) -> ComponentsDryRun:
    """The part of a dry run that needs neither data nor weights of other networks. Raises ConfigError."""
    components = assemble(job, device="meta")
    hardware = components.hardware
    with placed("grid"):
        components.denoiser.check(components.sampling.grid(components.denoiser.schedule))
    with placed("codec"):
        coded_shape(components.dataset)
    with placed("hardware"):
        world = hardware.processes
    with placed("batch_size"):
        hardware.accumulation(job.batch_size, world)
    with placed("hardware"):
        hardware.recompute(components.denoiser.network)
    with placed("optimizer"):
        components.optimizer.build(nn.ModuleList([components.denoiser, components.objective]), fused=False)
    check_conditions(kinds_of(components.dataset), components.denoiser.network, components.objective)
    check_pairs(job, components.denoiser, components.objective, hardware)
    missing = rehearse_training(components)
    check_reached(missing, hardware)
    calls = rehearse_sampling(components.sampling, components.denoiser, components.dataset)
    return ComponentsDryRun(job, components, calls, missing)


def check_metrics(job: Job, components: Components, metrics: Mapping[str, Metric], real: int | None = None) -> None:
    """Check that the final evaluation and the one during training have enough images.

    Args:
        real: images of the reference, where they have been counted.

    Raises:
        ConfigError: too few images for a metric, generated, real or held out.
    """
    real = min(real, job.reference_images or real) if real is not None else None
    paired = real is not None and any(metric.scores_samples for metric in metrics.values())
    plan = held_out_conditions(components.dataset) if paired else None
    model = EvaluatedModel(
        components.denoiser,
        components.dataset.split,
        limit=job.n,
        codec=codec_of(components.dataset),
        pairs=plan.pairs() if plan else None,
    )
    context = Context(job.n or real, real, model)
    for name, metric in metrics.items():
        if real is not None or not metric.required_splits:
            with placed(f"metrics.{name}"):
                metric.validate(context)
    for name, callback in own(components.callbacks).items():
        with placed(f"callbacks.{name}"):
            callback.validate(metrics, real, components.sampling)


def few_references(job: Job, metrics: Mapping[str, Metric], real: int) -> list[str]:
    """Return the note on too small a reference, of `real` images before `reference_images=` takes fewer."""
    from mezzotint.metrics.evaluation import few_real

    return few_real(dict(metrics), min(real, job.reference_images or real))


def rehearse_training(components: Components) -> tuple[str, ...]:
    """Compute the loss of two images on the meta device; return the parameters that get no gradient from it.

    Raises:
        ConfigError: a loss that cannot be computed, or leaves half of the network's outputs untrained.
    """
    denoiser, dataset = components.denoiser, components.dataset
    index = torch.arange(2)
    x0 = torch.empty(2, *coded_shape(dataset), device="meta")
    condition = {"label": index.to("meta")} if dataset.classes else {}
    condition |= null_values(kinds_of(dataset), 2, "meta")
    outputs: list[Any] = []
    hook = denoiser.network.register_forward_hook(lambda _, given, output: outputs.append(output))
    losses = None
    with placed("network"), on_meta():
        losses = components.objective(denoiser, x0, KeyedRandom(0, index), **condition)
    hook.remove()
    if losses is None:
        return ()
    if outputs and outputs[-1].shape[1] == 2 * x0.shape[1]:
        check_variance(components.objective)
    objective = {f"objective.{name}": p for name, p in components.objective.named_parameters()}
    return unreached(losses, dict(denoiser.named_parameters()) | objective)


def rehearse_sampling(
    sampling: SamplingRecipe, denoiser: Denoiser, dataset: Dataset, levels: int | None = None
) -> float:
    """Sample two images with a network that is called once for each form of its inputs; return the calls per image.

    Args:
        levels: only the first levels of the grid; None walks all of it.

    Raises:
        ConfigError: a grid that the sampler cannot follow, or guidance that does not fit the network.
    """
    schedule = denoiser.schedule
    with placed("sampler"):
        grid = validated_grid(sampling.grid(schedule))
        check_draw(sampling.sampler, grid, 0.0, schedule.prior_std(grid[0]))
    if levels:
        sampling = SamplingRecipe(sampling.sampler, partial(first_levels, sampling.grid, levels), sampling.guidance)
    probe = denoiser.using(ShapeProbe(denoiser.network))
    generator = sampling.of_dataset(probe, dataset, conditions=null_conditions(kinds_of(dataset)))
    with placed("sampler"), on_meta():
        generator.sample_from(*generator.start(torch.arange(2)))
    return generator.calls


def first_levels(spacing: Spacing, count: int, schedule: Schedule) -> Grid:
    return tuple(spacing(schedule))[:count]
