"""Metrics of samples while a run trains, those of its final evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mezzotint.errors import ConfigError
from mezzotint.generation import SamplingRecipe
from mezzotint.training.callbacks.base import PeriodicCallback
from mezzotint.training.evaluation_plan import EvaluationPlan
from mezzotint.training.interval_plan import IntervalPlan, Share, check_share, fewer_occasions
from mezzotint.training.training_run import Score, TrainingRun

USUAL_SHARE = 1.0  # of the arithmetic of training


class SampleMetrics(PeriodicCallback):
    """Evaluates samples of the averaged weights every so many images, always from the same noise and labels.

    Every rank draws and judges its share, in float32 whatever the training's precision. The values are those of
    `mezzotint evaluate` with this n and these grid.steps on the checkpoint of that step, and the first one is the score
    by which Checkpoints keeps the best.

    Args:
        every: images between two looks, or below 1 the share of the budget; the end is always looked at.
        n: samples; each costs as much as `mezzotint sample` takes for it.
        steps: of the grid, fewer for a cheaper look; None takes the grid as it is. Of several, such as [1, 2, 4], each
            is evaluated, and the name of its values ends in the number: fd_..._2_steps. The score is of the first.
        metrics: names of those of the run to compute; None takes all that evaluate samples by their features. In a
            Trainer of one's own the metrics themselves.
        sampling: the recipe for samples; None takes that of the run, and DDIM in 50 steps in a Trainer of one's own.
        reference: the real images, such as `dataset.split("train")`; None takes those of the run.
        share: of the arithmetic of training that the samples of all looks may cost together. Where they cost more,
            there are fewer looks; the end is always one. "auto" is 1, as much as the training, and no limit as long as
            they cost next to nothing; None looks every time.
    """

    evaluates = True

    order = 15

    def __init__(
        self,
        every: float = 0.1,
        n: int = 500,
        steps: int | Sequence[int] | None = None,
        metrics: Sequence[Any] | Mapping[str, Any] | None = None,
        sampling: SamplingRecipe | None = None,
        reference: Any = None,
        share: Share = "auto",
    ) -> None:
        if not check_share(share):
            raise ValueError(f"share={share}: give a share of the training's arithmetic above 0, auto, or null")
        if every <= 0 or n < 2:
            raise ValueError(f"every={every}, n={n}: every must be above 0, and n 2 or more")
        self.every, self.n = every, n
        self.share: Share = share
        self.steps = tuple(steps) if isinstance(steps, Sequence) else (steps,)
        if not self.steps or any(count is not None and count < 1 for count in self.steps):
            raise ValueError(f"steps={steps}: give a number of 1 or more, or a list of them")
        self.recipe, self.plan = sampling, None
        given = metrics if metrics is None or isinstance(metrics, Mapping) else named(metrics)
        self.names: list[str] | None = None if given is None else list(given)
        if given and not all(isinstance(metric, str) for metric in given.values()):
            self.plan = EvaluationPlan(lambda: given, lambda: reference)

    def plan_intervals(self, run: TrainingRun) -> IntervalPlan:
        recipes = self.shortened(self.recipe or run.sampling)
        steps, calls = sum(each.steps(run.module.denoiser.schedule) for each in recipes), recipes[0].sampler.calls or 2
        wanted = IntervalPlan(run.occasions(self.every), self.n, steps, calls)
        return fewer_occasions(run.allowed_passes(self.share, USUAL_SHARE), wanted)

    def validate(self, metrics: Mapping[str, Any], reference: int | None, sampling: SamplingRecipe | None) -> None:
        from mezzotint.metrics import Context

        for metric in self.choose(metrics).values():
            metric.validate(Context(self.n, reference))
        self.shortened(sampling)

    def choose(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The metrics that it computes.

        Raises:
            ConfigError: there are none, or a name is not among them.
        """
        from mezzotint.metrics import feature_metrics

        fit = {name: metric for name, metric in feature_metrics(metrics).items() if metric.uses_samples}
        if not fit:
            raise ConfigError(
                "there is nothing to judge samples by while the run trains: choose metrics=[fid] and an extractor= "
                "that fits these images, or callbacks=default"
            )
        if unknown := [name for name in self.names or () if name not in fit]:
            raise ConfigError(f"metrics={unknown} are not among those that can judge samples here: {', '.join(fit)}")
        return {name: fit[name] for name in self.names or fit}

    def shortened(self, sampling: SamplingRecipe) -> list[SamplingRecipe]:
        """Return the recipe with each number of steps.

        Raises:
            ConfigError: a grid without a number of steps.
        """
        return [sampling if steps is None else sampling.with_steps(steps) for steps in self.steps]

    def start(self, run: TrainingRun) -> None:
        """Compute or load the metrics' statistics of the real images, so that errors come before training."""
        from mezzotint.metrics import load_references
        from mezzotint.metrics.evaluation import reset_on

        plan, sampling = self.plan or run.judging, self.recipe or run.sampling
        if plan is None or sampling is None:
            raise ConfigError(
                "SampleMetrics needs a recipe for sampling and one for evaluation: fit(..., sampling=, judging=), or "
                "in a Trainer of one's own SampleMetrics(metrics={...}, sampling=, reference=)"
            )
        self.metrics = self.choose(plan.metrics())
        self.samplings = self.shortened(sampling)
        self.reference, self.cache = plan.reference(), plan.cache
        if self.reference is None:
            self.reference = run.dataset.split("train")
        self.labels = plan.labels(self.reference, run.directory)
        device = run.module.device
        reset_on(self.metrics, device)
        load_references(self.metrics, self.reference, device, self.cache)

    def on_interval(self, run: TrainingRun) -> None:
        values = self.values(run)
        name, value = next(iter(values.items()))
        higher = bool(next(iter(self.metrics.values())).higher_is_better)
        run.scores["sample_metrics"] = Score(run.step, run.images, name, value, higher)
        run.report("sample_metrics", values)

    def values(self, run: TrainingRun) -> dict[str, float]:
        """Return the values by name; the same on every rank, to the last bit."""
        values: dict[str, float] = {}
        for steps, sampling in zip(self.steps, self.samplings, strict=True):
            suffix = f"_{steps}_steps" if len(self.steps) > 1 else ""
            values |= {f"{name}{suffix}": value for name, value in self.values_of(run, sampling).items()}
        told = [values]
        if run.world > 1:
            torch.distributed.broadcast_object_list(told)  # what decides about a checkpoint must not differ
        return told[0]

    def values_of(self, run: TrainingRun, sampling: Any) -> dict[str, float]:
        """Return the values of one recipe by name."""
        from mezzotint.generation.distributed import share
        from mezzotint.metrics import evaluate

        generator = sampling.of_dataset(run.average(), run.dataset, run.seed, round=self.labels)
        drawn = share(generator, self.n)
        done = evaluate(drawn, self.reference, self.metrics, self.n, device=generator.device, cache=self.cache)
        return done.values


def named(metrics: Sequence[Any]) -> dict[str, Any]:
    """Return names as they are, and metrics under their position: they report names of their own."""
    return {metric if isinstance(metric, str) else str(i): metric for i, metric in enumerate(metrics)}
