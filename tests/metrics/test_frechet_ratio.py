"""The Frechet distance ratio: closed forms, independent arithmetic, one pass, error bars, refusals."""

import math
from statistics import median, stdev
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from mezzotint.data.image_set import TensorImages
from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics import (
    AutoExtractor,
    Context,
    DigitsClassifier,
    Extractor,
    FrechetDistance,
    FrechetRatio,
    JointExtractor,
    RawFeatures,
    SpectralFeatures,
    SplitHalfFrechet,
    evaluate,
)


class Given(Extractor):
    """Some of the values of an example, scaled: an extractor whose features a test chooses."""

    preprocessing: ClassVar[str] = "none"
    digest, network = "0", nn.Identity()

    def __init__(self, name: str, first: int, width: int, scale: float = 1.0) -> None:
        self.name, self.widths = name, {"pooled": width}
        self.columns, self.scale = slice(first, first + width), scale
        self.calls = 0

    def validate(self, shape: tuple[int, ...]) -> None:
        """Accept every shape."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.calls += 1
        return {"pooled": images.flatten(1)[:, self.columns].float() * self.scale}


def joint(scale: float = 1.0) -> JointExtractor:
    return JointExtractor([Given("a", 0, 1), Given("b", 1, 1, scale)])


def filled(metric: FrechetRatio, real: Tensor, generated: Tensor) -> FrechetRatio:
    metric.update_features(real.float(), real=True)
    metric.update_features(generated.float(), real=False)
    return metric


def normal(count: int, mean: list[float], std: list[float], seed: int) -> Tensor:
    """Rows whose columns have exactly these means and standard deviations."""
    rows = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows = (rows - rows.mean(0)) / rows.std(0)
    return rows * torch.tensor(std, dtype=torch.float64) + torch.tensor(mean, dtype=torch.float64)


def one_column(x: Tensor, y: Tensor) -> float:
    """The distance of two normal distributions: (m1 - m2)^2 + (s1 - s2)^2."""
    x, y = x.double(), y.double()
    return float((x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2)


def test_the_value_is_that_of_normal_distributions_in_closed_form() -> None:
    real, generated = normal(200, [0, 0], [1, 2], 1), normal(300, [0.5, 3], [1.5, 1], 2)
    metric = filled(FrechetRatio(joint(), splits=5, seed=4), real, generated)
    value = float(metric.compute())
    kept, generator = metric.rows.rows(), torch.Generator().manual_seed(4)
    orders = [torch.randperm(200, generator=generator) for _ in range(5)]
    halves = [[one_column(*kept[order, i].tensor_split(2)) for order in orders] for i in (0, 1)]
    expected = [(0.5**2 + 0.5**2) / median(halves[0]), (3.0**2 + 1.0**2) / median(halves[1])]
    assert value == pytest.approx(math.sqrt(expected[0] * expected[1]), rel=1e-5)
    found = metric.measure(Context(300, 200))
    names = ["fd_ratio_a_b_300", "fd_ratio_a_300", "fd_ratio_b_300"]
    assert list(found.values) == names
    assert [found.values[name] for name in names] == pytest.approx([value, *expected], rel=1e-5)
    each = [math.sqrt(0.5 / a * 10.0 / b) for a, b in zip(*halves, strict=True)]
    assert found.errors[names[0]].size == pytest.approx(stdev(each), rel=1e-4)
    assert found.errors[names[0]].source == "5 splits"
    assert found.protocol["compared"] == "halves of 100 against 100 examples"
    assert "halves of 100 examples" in found.notes[0]


def test_the_units_of_the_features_do_not_matter() -> None:
    real, generated = normal(100, [0, 0], [1, 2], 1), normal(80, [0.3, 1], [1, 1], 2)
    scales = torch.tensor([1.0, 1000.0])
    plain, scaled = (FrechetRatio(joint(), splits=401) for _ in range(2))
    # the splits differ: rows are in the order of their hashes
    expected = pytest.approx(float(filled(plain, real, generated).compute()), rel=0.2)
    assert float(filled(scaled, real * scales, generated * scales).compute()) == expected


def test_the_real_images_themselves_are_at_no_distance() -> None:
    real = normal(100, [0, 0], [1, 2], 1)
    assert float(filled(FrechetRatio(joint()), real, real).compute()) == pytest.approx(0, abs=1e-6)


def test_samples_of_the_same_distribution_are_below_one() -> None:
    """n samples against n real ones are as far apart as halves of 2 n, and halves of n are about twice as far."""
    values = []
    for seed in range(30):
        rows = torch.randn(800, 2, generator=torch.Generator().manual_seed(seed))
        values.append(math.log(float(filled(FrechetRatio(joint(), splits=25), rows[:400], rows[400:]).compute())))
    assert -1.5 < sum(values) / len(values) < -0.4  # measured: -0.95, standard error 0.18; log(1 / 2) = -0.69


def test_one_pass_serves_all_metrics_and_the_first_extractor_keeps_its_values() -> None:
    digits = DigitsClassifier()
    images = torch.randint(0, 256, (60, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    real, drawn = TensorImages(images[:30]), images[30:]
    several = JointExtractor([AutoExtractor(), RawFeatures(), SpectralFeatures()]).resolve((1, 8, 8))
    assert several is not None
    metrics = {"fid": FrechetDistance(several), "halves": SplitHalfFrechet(several), "ratio": FrechetRatio(several)}
    done = evaluate([drawn], real, metrics, 30)
    alone = evaluate([drawn], real, {"fid": FrechetDistance(digits), "halves": SplitHalfFrechet(digits)}, 30)
    assert alone.values.items() <= done.values.items()
    assert [one["name"] for one in done.protocol["extractors"]] == ["digits", "raw", "spectral"]
    assert done.values["fd_ratio_digits_30"] == pytest.approx(
        done.values["fd_digits_30"] / done.values["halves_digits_30"], rel=1e-6
    )
    ratios = [done.values[f"fd_ratio_{name}_30"] for name in ("digits", "raw", "spectral")]
    assert done.values["fd_ratio_digits_raw_spectral_30"] == pytest.approx(math.prod(ratios) ** (1 / 3), rel=1e-12)
    assert done.errors.keys() == {name for name in done.values if name.startswith("fd_ratio")}
    assert "9 splits, halves of 15 against 15 examples" in done.shown("fd_ratio_digits_raw_spectral_30")


def test_each_extractor_is_called_once_a_batch() -> None:
    a, b = Given("a", 0, 4), Given("b", 4, 8)
    several = JointExtractor([a, b])
    images = torch.randint(0, 256, (16, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    metrics = {"fid": FrechetDistance(several), "ratio": FrechetRatio(several)}
    evaluate([images], TensorImages(images.flip(0)), metrics, 16)
    assert a.calls == b.calls == 2  # the reference and the samples, both metrics together


def test_a_single_extractor_is_refused() -> None:
    with pytest.raises(ValueError, match="several feature spaces, and extractor=digits is one: use extractor=joint"):
        FrechetRatio(DigitsClassifier())
    with pytest.raises(ValueError, match="lists 1: give two or more"):
        JointExtractor([DigitsClassifier()])
    with pytest.raises(ValueError, match="splits=0"):
        FrechetRatio(joint(), splits=0)
    with pytest.raises(ConfigError, match="lists raw twice"):
        JointExtractor([RawFeatures(), RawFeatures(most=4)]).resolve((1, 8, 8))


def test_a_reference_without_halves_is_refused() -> None:
    metric = FrechetRatio(joint())
    with pytest.raises(ConfigError, match="at least 4 real examples, and there are 3"):
        metric.validate(Context(10, 3))
    real = normal(20, [0, 0], [1, 1], 1)
    real[:, 1] = 0.5
    with pytest.raises(DataError, match="halves of the reference have equal b features"):
        filled(metric, real, normal(20, [0, 0], [1, 1], 2)).compute()
