"""The objects that a config describes."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from mezzotint.app.config.job import Job, Node
from mezzotint.app.config.standalone import Standalone
from mezzotint.app.results.labels import plan as plan_labels
from mezzotint.app.results.reference_opening import open_reference
from mezzotint.data import Codec, PixelCodec
from mezzotint.data.conditions import kinds_of
from mezzotint.data.dataset import Dataset
from mezzotint.data.inputs import NetworkInputs
from mezzotint.data.nouns import Noun, noun_of
from mezzotint.diffusion import Denoiser, Objective
from mezzotint.errors import ConfigError, MezzotintError
from mezzotint.generation import SamplingRecipe
from mezzotint.instantiate.build import build, build_denoiser
from mezzotint.instantiate.locate import locate
from mezzotint.metrics import Metric
from mezzotint.training import EvaluationPlan, Hardware
from mezzotint.training.optimizers import OptimizerSettings

if TYPE_CHECKING:
    import lightning.pytorch as pl
    from lightning.pytorch.loggers import Logger

    from mezzotint.training import EMA, Tracker


@dataclass(frozen=True)
class Components:
    """Everything that a training run is made of, built and not yet used, by the names of `fit`'s arguments."""

    dataset: Dataset
    denoiser: Denoiser
    objective: Objective
    optimizer: OptimizerSettings
    ema: "EMA | None"
    callbacks: "Mapping[str, pl.Callback]"
    loggers: "Mapping[str, Tracker | Logger]"
    hardware: Hardware
    sampling: SamplingRecipe
    judging: EvaluationPlan

    @property
    def noun(self) -> Noun:
        """The word for the examples of the data."""
        return noun_of(self.dataset)

    @property
    def inputs(self) -> NetworkInputs:
        """The inputs of the network."""
        return NetworkInputs.of(self.dataset)

    def arguments(self, job: Job) -> dict[str, Any]:
        """Return the arguments of `mezzotint.training.fit`: these components, and the numbers and config of the job."""
        built = {item.name: getattr(self, item.name) for item in fields(self)}
        return built | {
            "seed": job.seed,
            "budget": job.budget,
            "batch_size": job.batch_size,
            "config": job.as_dict(),
        }


def assemble(job: Job, device: str = "cpu") -> Components:
    """Build the components of a run; the network's first weights are a function of the seed.

    Args:
        device: "meta" gives a network without memory or numbers; see `materialised`.

    Raises:
        ConfigError: the message of a constructor, after its place in the config.
    """
    dataset = build(job.data_node(), "data")
    torch.manual_seed(job.seed)
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


def materialised(components: Components, job: Job) -> Components:
    """Return the components with a network that has memory: the weights that `assemble(job)` gives.

    The objective is built again too, because it may hold parameters and the losses that it has seen.
    """
    torch.manual_seed(job.seed)
    return replace(components, denoiser=build_denoiser(job.as_dict()), objective=build_objective(job))


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


def build_judging(job: Job, dataset: Dataset) -> EvaluationPlan:
    """Return how samples are evaluated during training; nothing is opened before the first evaluation."""
    reference = cache(lambda: open_reference(job.reference, dataset))
    classes = 0 if kinds_of(dataset) else dataset.classes
    return EvaluationPlan(
        lambda: build_metrics(job, dataset.shape),
        lambda: reference().images,
        job.paths["cache"],
        lambda _, directory: plan_labels(job.labels, classes, reference(), directory)[0],
    )


def build_metrics(job: Job | Standalone, shape: tuple[int, ...], codec: Codec | None = None) -> dict[str, Metric]:
    """Return the metrics of `plan_metrics` after the weights of their extractors have been fetched."""
    metrics = plan_metrics(job, shape, codec)
    for extractor in dict.fromkeys(extractor for metric in metrics.values() for extractor in metric.extractors):
        with placed("extractor"):
            extractor.prepare(tuple(shape))
    return metrics


def plan_metrics(job: Job | Standalone, shape: tuple[int, ...], codec: Codec | None = None) -> dict[str, Metric]:
    """Build the metrics; those of features are left out if no extractor fits images of this shape.

    Args:
        codec: of the data; None takes that of the config.

    Raises:
        ConfigError: a metric needs features that the extractor does not give.
        DataError: the weights of an extractor are not available; they are not fetched.
    """
    nodes = {name: (node, f"metrics.{name}") for name, node in job.metrics.items()}
    featured = [name for name, place in nodes.items() if takes_extractor(*place)]
    extractor = None
    if featured and job.extractor:
        with placed("extractor"):
            extractor = build(job.extractor, "extractor").resolve(tuple(shape), codec or codec_of_job(job))
    return {
        name: build(*place, **({"extractor": extractor} if name in featured else {}))
        for name, place in nodes.items()
        if extractor is not None or name not in featured
    }


def codec_of_job(job: Job | Standalone) -> Codec:
    """Return the chosen codec, or that of pixels: the config of other data names one."""
    return build(job.codec, "codec") if job.codec else PixelCodec()


def takes_extractor(node: Node, where: str) -> bool:
    """Return True if the constructor that a metric's node names has an argument `extractor`, or takes any."""
    parameters = inspect.signature(locate(node["_target_"], where)).parameters
    return "extractor" in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Put a place in the config before the message of an error, and turn ValueError and TypeError into ConfigError."""
    try:
        yield
    except MezzotintError as error:
        raise type(error)(f"{where}: {error}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error
