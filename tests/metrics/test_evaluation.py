"""The engine: exactly n images, one pass, references stored and never stale, one value for any number of processes."""

import json
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mezzotint.data import Digits
from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics import (
    DensityCoverage,
    DigitsClassifier,
    Evaluation,
    FrechetDistance,
    FrechetInfinity,
    InceptionScore,
    KernelDistance,
    PrecisionRecall,
    SplitHalfFrechet,
    evaluate,
    over_seeds,
)
from mezzotint.metrics.gaussian import Moments, frechet_distance
from mezzotint.metrics.inception_score import dealt


@dataclass(frozen=True)
class Counting(DigitsClassifier):
    """Counts the images that it has seen."""

    seen: ClassVar[list[int]] = []

    def views(self, images: Tensor) -> dict[str, Tensor]:
        self.seen.append(len(images))
        return super().views(images)


@pytest.fixture
def counting():
    Counting.seen.clear()
    return Counting()


def both(extractor) -> dict:
    return {"frechet": FrechetDistance(extractor), "kernel": KernelDistance(extractor, subsets=5, size=100)}


def test_values_and_protocol(digits, digit_pixels, tmp_path):
    drawn = digit_pixels[:600].flip(-1)
    about = {"sampler": "ddim", "reference": {"dataset": "digits", "split": "all"}}
    result = evaluate(drawn.split(250), digits, both(DigitsClassifier()), n=600, cache=tmp_path, about=about)
    expected = frechet_distance(Moments.of(DigitsClassifier()(digit_pixels)), Moments.of(DigitsClassifier()(drawn)))
    assert result.values["fd_digits_600"] == pytest.approx(expected, rel=1e-9)
    assert set(result.values) == {"fd_digits_600", "kd_digits_600"}
    protocol = result.protocol
    assert protocol["n"] == 600
    assert protocol["reference"] == {"count": 1797, "sha256": digits.digest(), "dataset": "digits", "split": "all"}
    assert protocol["extractors"][0]["sha256"] == DigitsClassifier().digest
    assert protocol["metrics"]["kernel"]["size"] == 100
    assert protocol["sampler"] == "ddim"
    assert protocol["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert json.loads(json.dumps(result.as_dict()))["values"] == result.values
    assert result.lines()[0].startswith("fd_digits_600  ")


def test_the_error_of_another_value_stands_behind_it_and_not_on_its_own():
    found = {
        "values": {"fd_9": 2.0, "fd_9_std": 0.125, "is_9": 3.0, "lone_std": 1.0},
        "protocol": {"n": 9, "seconds": 1.0},
    }
    alone = Evaluation.of_dict(found)
    assert alone.results == ["fd_9", "is_9", "lone_std"]
    assert [alone.shown(name) for name in alone.results] == ["2.00 +- 0.12 (bootstrap)", "3", "1"]
    other = Evaluation.of_dict({**found, "values": {**found["values"], "fd_9": 4.0}})
    together = over_seeds([alone, other])
    assert together.shown("fd_9") == "3.0 +- 1.4 (2 seeds)"
    assert together.error("fd_9").of_value == pytest.approx(1.0)
    assert together.error("is_9") is None
    with pytest.raises(ValueError, match="no values with their protocol"):
        Evaluation.of_dict({"values": 3})


def test_batches_may_carry_labels(digits, digit_pixels):
    metrics = {"frechet": FrechetDistance(DigitsClassifier())}
    plain = evaluate([digit_pixels[:100]], digits, metrics, n=100)
    labelled = evaluate([(digit_pixels[:100], torch.zeros(100, dtype=torch.int64))], digits, metrics, n=100)
    assert plain.values == labelled.values


@pytest.mark.parametrize("given", [99, 101])
def test_another_number_of_images_is_refused(given, digits, digit_pixels):
    with pytest.raises(ValueError, match=f"n=100 does not match the {given} samples given"):
        evaluate([digit_pixels[:given]], digits, both(DigitsClassifier()), n=100)


def test_metrics_over_one_extractor_share_its_passes(digits, digit_pixels, counting):
    evaluate(digit_pixels[:300].split(100), digits, both(counting), n=300)
    assert sum(Counting.seen) == len(digits) + 300


def test_a_reference_is_computed_once_and_found_again(digits, digit_pixels, counting, tmp_path):
    first = evaluate([digit_pixels[:300]], digits, both(counting), n=300, cache=tmp_path)
    Counting.seen.clear()
    again = evaluate([digit_pixels[:300]], digits, both(counting), n=300, cache=tmp_path)
    assert Counting.seen == [300]
    assert again.values == first.values
    assert len(list(tmp_path.iterdir())) == 2
    subset = {"frechet": FrechetDistance(counting, minimum=5)}
    evaluate([digit_pixels[:300]], digits, subset, n=300, cache=tmp_path)
    assert Counting.seen == [300, 300]


def test_a_stored_reference_is_never_stale(digits, digit_pixels, projection, tmp_path):
    """Other images, another extractor or another recipe read another file."""

    def value(reference, extractor, **settings) -> float:
        metrics = {"kernel": KernelDistance(extractor, subsets=5, size=100, **settings)}
        stored = evaluate([digit_pixels[:300]], reference, metrics, n=300, cache=tmp_path).values
        assert stored == evaluate([digit_pixels[:300]], reference, metrics, n=300).values
        return next(iter(stored.values()))

    changed = digits.take(torch.arange(len(digits)))
    changed.pixels[7, 0, 4, 4] += 1
    value(digits, projection(6))
    value(digits, projection(7))
    value(changed, projection(6))
    value(digits, projection(6), keep=200)
    assert len(list(tmp_path.iterdir())) == 4
    changed.pixels[7, 0, 4, 4] += 1
    value(changed, projection(6))
    changed.labels[7] = 1 - changed.labels[7]
    value(changed, projection(6))
    assert len(list(tmp_path.iterdir())) == 6


def test_a_damaged_reference_is_made_anew_with_a_word(digits, digit_pixels, tmp_path, capsys):
    """Cut, emptied, another one's under this name, or with any bit flipped: the value never changes."""
    few, drawn = digits.take(torch.arange(40)), [digit_pixels[300:340]]
    metrics = {"frechet": FrechetDistance(DigitsClassifier()), "recall": PrecisionRecall(DigitsClassifier())}
    expected = evaluate(drawn, few, metrics, n=40, cache=tmp_path).values
    stored = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(stored) == 2
    (one, whole), (_, other) = stored.items()
    damaged = [whole[:100], b"", other, whole[:-1], whole + b"0", b"[]", b"\xff" * 64]
    generator = torch.Generator().manual_seed(0)
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [*range(10), *torch.randint(header, (40,), generator=generator).tolist()]
    for place in [*places, *torch.randint(header, len(whole), (30,), generator=generator).tolist()]:
        bit = 1 << int(torch.randint(8, (1,), generator=generator))
        damaged.append(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
    for content in damaged:
        one.write_bytes(content)
        capsys.readouterr()
        assert evaluate(drawn, few, metrics, n=40, cache=tmp_path).values == expected
        assert f"{one.name} is damaged" in capsys.readouterr().err
        assert one.read_bytes() == whole
    assert evaluate(drawn, few, metrics, n=40, cache=tmp_path).values == expected
    assert capsys.readouterr().err == ""


def test_two_processes_with_unequal_shares_give_the_values_of_one(tmp_path):
    """All metrics, both times: with the reference computed by both processes, and with the one that they stored."""
    script = str(Path(__file__).with_name("two_processes.py"))
    places = [str(tmp_path / "store"), str(tmp_path / "cache")]
    commands = [[sys.executable, script, str(rank), "2", *places] for rank in range(2)]
    running = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    outputs = [process.communicate(timeout=200) for process in running]
    for process, (_, errors) in zip(running, outputs, strict=True):
        assert process.returncode == 0, errors
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in outputs)
    assert first == second
    alone = runpy.run_path(script)["judge"](slice(0, 700)).values
    assert len(alone) == 25
    for values in first:
        assert values == pytest.approx(alone, rel=1e-10)
    assert len(list((tmp_path / "cache").iterdir())) == 5


def test_the_train_part_is_another_reference_than_the_whole(digit_pixels, digits):
    metrics = {"frechet": FrechetDistance(DigitsClassifier())}
    whole = evaluate([digit_pixels], digits, metrics, n=1797)
    part = evaluate([digit_pixels], Digits().split("train"), metrics, n=1797)
    assert whole.values["fd_digits_1797"] < 1e-8
    assert part.values["fd_digits_1797"] > 1e-4
    assert whole.protocol["reference"]["sha256"] != part.protocol["reference"]["sha256"]


@pytest.mark.parametrize(
    ("metric", "n", "real", "said"),
    [
        (FrechetDistance, 1, 9, "FrechetDistance needs at least 2 generated examples, and there is 1"),
        (FrechetDistance, 9, 1, "FrechetDistance needs at least 2 real examples, and there is 1"),
        (PrecisionRecall, 3, 9, "PrecisionRecall needs at least 4 generated examples, and there are 3"),
        (DensityCoverage, 9, 5, "DensityCoverage needs at least 6 real examples, and there are 5"),
        (SplitHalfFrechet, 1, 3, "SplitHalfFrechet needs at least 4 real examples, and there are 3"),
        (FrechetInfinity, 2, 9, "FrechetInfinity needs at least 3 generated examples, and there are 2"),
    ],
)
def test_too_few_images_are_noticed_before_any_is_looked_at(metric, n, real, said, digits, counting):
    few = digits.take(torch.arange(real))
    with pytest.raises(ConfigError, match=said):
        evaluate(iter(()), few, {"it": metric(counting)}, n=n)
    assert Counting.seen == []


@pytest.mark.parametrize(
    "metric", [FrechetDistance, PrecisionRecall, DensityCoverage, SplitHalfFrechet, FrechetInfinity, KernelDistance]
)
def test_as_many_images_as_are_needed_are_enough(metric, digits, digit_pixels):
    made = metric(DigitsClassifier())
    least = {"generated": 1} | made.min_images()
    few = digits.take(torch.arange(least["real"]))
    found = evaluate([digit_pixels[900 : 900 + least["generated"]]], few, {"it": made}, n=least["generated"])
    assert all(value == value for value in found.values.values())


def test_a_cache_that_cannot_be_written_is_noticed_before_the_work(digits, counting, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot be stored in .*file .*give another paths\.cache=DIR"):
        evaluate(iter(()), digits, {"frechet": FrechetDistance(counting)}, n=9, cache=tmp_path / "file")
    assert Counting.seen == []


def test_a_cache_is_left_clean_where_storing_fails(digits, digit_pixels, tmp_path, monkeypatch):
    def full(state, path, metadata):
        Path(path).write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mezzotint.metrics.references.save_file", full)
    with pytest.raises(DataError, match="No space left"):
        evaluate([digit_pixels[:9]], digits, {"frechet": FrechetDistance(DigitsClassifier())}, n=9, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_spread_over_subsets_and_parts_stands_behind_the_value(digits, digit_pixels):
    """Of subsets and parts that are not the same: the deviation that torch-fidelity tells, of the scores."""
    metrics = {
        "kernel": KernelDistance(DigitsClassifier(), subsets=7, size=100),
        "score": InceptionScore(DigitsClassifier(), splits=5),
        "whole": KernelDistance(DigitsClassifier(), subsets=7, size=600, keep=601),
    }
    found = evaluate([digit_pixels[:600].flip(-1)], digits, metrics, n=600)
    again = Evaluation.of_dict(json.loads(json.dumps(found.as_dict())))
    spread = metrics["kernel"].distances().std(correction=0).item()
    assert metrics["kernel"].errors(600, 1797)["kd_digits_600"].size == spread
    assert found.errors.keys() == {"kd_digits_600", "score_digits_600"}
    assert "(5 parts)" in again.shown("score_digits_600")
    assert again.error("score_digits_600").of_value == pytest.approx(found.errors["score_digits_600"] / 5**0.5)
    assert metrics["whole"].errors(600, 1797) == {}


def test_the_score_and_its_deviation_are_those_of_each_part():
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * torch.randn(200, 10, generator=torch.Generator().manual_seed(1))
    metric = InceptionScore(DigitsClassifier(), splits=4)
    metric.update_features(logits, real=False)
    parts = [logits[dealt(torch.arange(200), 4) == part] for part in range(4)]
    scores = torch.tensor([isc_features_to_metric(part, splits=1)["inception_score_mean"] for part in parts]).double()
    assert float(metric.compute()) == pytest.approx(float(scores.mean()), rel=1e-5)
    error = metric.errors(200)["score_digits_200"]
    assert error.size == pytest.approx(float(scores.std(correction=0)), rel=1e-4)
    assert metric.notes(39) == [
        "score_digits_39 averages 4 parts of 9 or 10 images, fewer than its 10 classes: it grows "
        "with n, so compare at equal n only."
    ]
    assert metric.notes(40) == []
