"""The metric protocol: one engine for metrics of features, of the network and of the training images."""

import copy

import pytest
import torch

from mezzotint.data import Digits
from mezzotint.diffusion import LinearSchedule, exact_gaussian
from mezzotint.errors import ConfigError
from mezzotint.instantiate import renamed
from mezzotint.metrics import (
    Context,
    DigitsClassifier,
    EvaluatedModel,
    FrechetDistance,
    FrechetPerClass,
    KernelDistance,
    NegativeLogLikelihood,
    SplitHalfFrechet,
    evaluate,
    feature_metrics,
)


@pytest.fixture
def model():
    denoise = exact_gaussian(LinearSchedule(), torch.zeros(1, 8, 8), 0.5)
    return EvaluatedModel(denoise, Digits().split, limit=8)


def test_metrics_of_all_kinds_are_reported_in_the_order_of_the_config(digits, digit_pixels, model):
    extractor = DigitsClassifier()
    metrics = {
        "fid": FrechetDistance(extractor),
        "nll": NegativeLogLikelihood(method="vlb", steps=2),
        "fid_split_half": SplitHalfFrechet(extractor),
    }
    done = evaluate([digit_pixels[:50]], digits, metrics, 50, model=model)
    assert [name for name in done.values if "_prior" not in name and "coder" not in name and "_diff" not in name] == [
        "fd_digits_50",
        "nll_vlb_8",
        "halves_digits_1797",
    ]
    made = done.protocol["metrics"]
    assert list(made) == list(metrics)
    assert (made["nll"]["count"], made["nll"]["method"]) == (8, "vlb")
    assert done.error("nll_vlb_8").source == "standard error"
    assert made["fid_split_half"]["of_reference"]
    assert "of_reference" not in made["fid"]


def test_samples_are_not_drawn_where_no_metric_reads_their_features(digits, model):
    def never():
        raise AssertionError("a sample was drawn")
        yield

    metrics = {"nll": NegativeLogLikelihood(method="vlb", steps=2)}
    done = evaluate(never(), digits, metrics, 50, model=model)
    assert done.protocol["n"] == 0
    assert not feature_metrics(metrics)


def test_what_a_metric_lacks_is_said_before_anything_is_computed(digits):
    with pytest.raises(ConfigError, match="needs the network that generated the images"):
        evaluate((), digits, {"nll": NegativeLogLikelihood()}, 50)
    with pytest.raises(ConfigError, match="needs the labels of the samples"):
        FrechetPerClass(DigitsClassifier(), 10).validate(Context(50, 50, labelled=False))


def test_a_copy_of_a_metric_has_accumulators_of_its_own(digit_pixels):
    metric = KernelDistance(DigitsClassifier(), subsets=2, size=10)
    metric.update(digit_pixels[:20], real=True)
    other = copy.deepcopy(metric)
    other.update(digit_pixels[20:30], real=True)
    assert (len(metric.real.rows()), len(other.real.rows())) == (20, 30)


def test_a_side_that_does_not_exist_is_refused():
    from mezzotint.metrics import MomentSums

    with pytest.raises(ValueError, match="side='drawn': give 'real' or 'generated'"):
        MomentSums("drawn")


def test_old_evaluations_mark_the_values_of_the_reference():
    old = {"values": {}, "protocol": {"metrics": {"halves": {"metric": "Halves", "values": ["halves_digits_9"]}}}}
    made = renamed.evaluation(old)["protocol"]["metrics"]["fid_split_half"]
    assert made == {"metric": "SplitHalfFrechet", "values": ["halves_digits_9"], "of_reference": True}
