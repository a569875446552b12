"""Drawing and judging at the end of a run cost a share of its training, and what the shipped experiments do stays."""

from dataclasses import replace
from itertools import product

import pytest
from hydra import compose, initialize_config_dir

from mezzotint.app.assembly.dry_run import dry_run_without_data
from mezzotint.app.assembly.evaluation_budget import (
    FEWEST,
    NEGLIGIBLE,
    EvaluationBudget,
    bounded,
    evaluation_budget,
)
from mezzotint.app.assembly.parts import plan_metrics
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import resolve, unbounded
from mezzotint.app.help import config_dir

REAL = {"digits": 1797, "emoji": 1700, "fashion": 10_000}


def config(*words: str) -> Job:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return resolve(compose("mezzotint", list(words)))


def planned(chosen: Job, real: int) -> EvaluationBudget:
    dry = dry_run_without_data(chosen)
    metrics = plan_metrics(chosen, dry.components.dataset.shape)
    return evaluation_budget(chosen, dry.components, metrics, dry.calls, real)


def seen(real: int, *words: str) -> EvaluationBudget:
    return planned(config(*words), real)


def chosen_share(experiment: str) -> float:
    return config(f"experiment={experiment}").evaluation_share


@pytest.mark.parametrize("experiment", ["digits_ddpm", "digits_edm", "digits_flow", "emoji_ddpm", "fashion_mnist_ddpm"])
def test_a_shipped_experiment_is_judged_as_it_says(experiment: str) -> None:
    real = REAL[experiment.partition("_")[0]]
    whole = seen(real, f"experiment={experiment}")
    assert not whole.reduced
    assert whole.pictures == 64
    small = seen(real, f"experiment={experiment}", "budget=3200")
    assert small.samples < whole.samples
    assert small.cost <= max(chosen_share(experiment) * small.training_cost, 2 * NEGLIGIBLE)


def test_own_data_is_judged_for_a_quarter_of_the_training() -> None:
    for budget in (2_000, 30_000, 96_000, 10_000_000):
        words = ("experiment=own_data", "data=emoji", f"budget={budget}")
        found = seen(100_000, *words)
        fewest = 16 * (found.sample_cost + 2 * found.feature_cost) + 16 * found.sample_cost
        assert found.cost <= max(0.25 * found.training_cost, 2 * NEGLIGIBLE, fewest)
        assert found == seen(100_000, *words)


@pytest.mark.parametrize("words", [("n=500",), ("evaluation_share=null",)])
def test_a_word_lifts_the_bound(words: tuple[str, ...]) -> None:
    chosen = unbounded(config("experiment=own_data", "data=emoji", "budget=200", *words), [words[0].partition("=")[0]])
    found = planned(chosen, 3000)
    assert (found.samples, found.reference, found.reduced) == (chosen.n or 3000, 3000, False)
    assert found.limit(chosen) is chosen


def test_the_bound_holds_whatever_things_cost() -> None:
    for draw, extract, times, share in product((1e8, 1e10, 1e13), (0.0, 1e8, 1e10), (1, 6), (0.01, 0.25, 1.0)):
        whole = EvaluationBudget(64, 10_000, 100_000, (10_000, 100_000), times, draw, extract, training_cost=1e14)
        allowed = max(share * 1e14, NEGLIGIBLE)
        found = bounded(whole, share, (2, 2))
        assert FEWEST <= found.samples <= 10_000
        assert found.samples <= found.reference <= 100_000
        fewest = replace(whole, samples=FEWEST, reference=FEWEST)
        assert found.evaluation_cost <= max(allowed, fewest.evaluation_cost)
        assert found.cost <= max(allowed, fewest.evaluation_cost + 16 * draw, 2 * NEGLIGIBLE) or found.samples == FEWEST
        more = bounded(whole, 10 * share, (2, 2))
        assert more.samples >= found.samples
        assert bounded(whole, 1e30, (2, 2)).samples == 10_000


def test_metrics_get_as_many_images_as_they_need() -> None:
    whole = EvaluationBudget(64, 500, 500, (500, 500), 1, 1e12, 1e9, training_cost=1e9)
    found = bounded(whole, 1.0, (40, 60))
    assert (found.samples, found.reference) == (40, 60)
