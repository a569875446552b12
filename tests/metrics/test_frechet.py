"""The Frechet distance: closed forms, independent implementations, streams, precision, names."""

import warnings

import pytest
import torch
from torch import Tensor

from mezzotint.metrics import DigitsClassifier, EfficientNet, FrechetDistance, InceptionV3, SplitHalfFrechet
from mezzotint.metrics.frechet.fid import why_not_fid
from mezzotint.metrics.gaussian import Moments, frechet_distance, trace_of_root


def rows(count: int, width: int, seed: int, rank: int | None = None) -> Tensor:
    """Rows with correlated columns of unequal size, float32 as extractors give them, of full or given rank."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(rank or width, width, generator=generator) * torch.linspace(0.1, 2, width)
    noise = torch.randn(count, rank or width, generator=generator)
    return (noise @ mix + seed * torch.linspace(-0.1, 0.1, width)).float()


def by_nuclear_norm(x: Tensor, y: Tensor) -> float:
    """tr sqrt(S1 S2) = |Xc Yc^T|_* / sqrt((n - 1)(m - 1)): exact whatever the rank, and needs no covariance."""
    x, y = x.double(), y.double()
    xc, yc = x - x.mean(0), y - y.mean(0)
    cross = torch.linalg.svdvals(xc @ yc.T).sum() / ((len(x) - 1) * (len(y) - 1)) ** 0.5
    spread = xc.square().sum() / (len(x) - 1) + yc.square().sum() / (len(y) - 1)
    return float((x.mean(0) - y.mean(0)).square().sum() + spread - 2 * cross)


CASES = {
    "full rank": (rows(400, 24, 1), rows(300, 24, 2)),
    "fewer rows than columns": (rows(20, 48, 1), rows(15, 48, 2)),
    "one of them singular": (rows(200, 48, 1), rows(20, 48, 2)),
    "low rank, many rows": (rows(300, 32, 1, rank=5), rows(300, 32, 2, rank=7)),
    "a dead column": (rows(200, 16, 1) * (torch.arange(16) != 3), rows(200, 16, 2) * (torch.arange(16) != 3)),
    "two rows": (rows(2, 8, 1), rows(2, 8, 2)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_distance_equals_the_nuclear_norm_form(case):
    x, y = CASES[case]
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(by_nuclear_norm(x, y), rel=1e-7)


def test_of_few_rows_no_eigenvectors_are_looked_for(monkeypatch):
    """Halves of a small folder, over a thousand features and more, would wait for them for minutes."""
    monkeypatch.setattr(torch.linalg, "eigh", lambda _: pytest.fail("eigenvectors were looked for"))
    few, many = rows(12, 48, 1), rows(400, 48, 2)
    for x, y in ((few, few[:5] + 1), (few, many), (many, few)):
        assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(by_nuclear_norm(x, y), rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_the_distance_equals_torch_fidelity_to_six_digits(case):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = CASES[case]
    stats = [fid_features_to_statistics(part.double()) for part in (x, y)]
    theirs = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_distance_equals_torchmetrics_to_six_digits(case):
    from torchmetrics.image.fid import _compute_fid

    first, second = (Moments.of(part) for part in CASES[case])
    theirs = _compute_fid(first.mean, first.covariance, second.mean, second.covariance)
    assert frechet_distance(first, second) == pytest.approx(float(theirs), rel=1e-6)


def test_the_distance_of_gaussians_has_a_closed_form():
    """Commuting covariances: sum of (m1 - m2)^2 + (s1 - s2)^2 in the common axes."""
    axes = torch.linalg.qr(rows(6, 6, 3).double()).Q
    m1, m2, s1, s2 = (torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in range(4))
    first, second = (Moments(10, m, axes @ torch.diag(s**2) @ axes.T) for m, s in ((m1, s1), (m2, s2)))
    expected = float((m1 - m2).square().sum() + (s1 - s2).square().sum())
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)


def test_the_trace_of_the_root_of_a_square():
    """tr sqrt(S S) = tr S, of full rank and of rank two."""
    for rank in (12, 2):
        part = rows(50, 12, 1, rank=rank).double()
        covariance = part.T @ part
        torch.testing.assert_close(trace_of_root(covariance, covariance), covariance.trace(), rtol=1e-9, atol=0)


def test_equal_sets_are_at_no_distance():
    x = rows(300, 24, 1)
    assert frechet_distance(Moments.of(x), Moments.of(x)) < 1e-9
    assert frechet_distance(Moments.of(x[:10]), Moments.of(x[:10])) < 1e-9


def filled(extractor, real: Tensor, drawn: Tensor, batch: int = 100) -> FrechetDistance:
    metric = FrechetDistance(extractor)
    for part in real.split(batch):
        metric.update(part, real=True)
    for part in drawn.split(batch):
        metric.update(part, real=False)
    return metric


def test_streaming_equals_the_moments_of_all_features(digit_pixels):
    extractor = DigitsClassifier()
    real, drawn = digit_pixels[:1000], digit_pixels[1000:].flip(-1)
    expected = frechet_distance(Moments.of(extractor(real)), Moments.of(extractor(drawn)))
    assert float(filled(extractor, real, drawn, 37).compute()) == pytest.approx(expected, rel=1e-10)
    assert float(filled(extractor, real, drawn, 999).compute()) == pytest.approx(expected, rel=1e-10)


def test_the_mean_may_be_far_from_zero():
    """Sums of squares cancel: a shift of a thousand standard deviations still leaves eight digits."""
    x, y = rows(500, 8, 1).double(), rows(500, 8, 2).double()
    shifted = frechet_distance(Moments.of(x + 1000), Moments.of(y + 1000))
    assert shifted == pytest.approx(frechet_distance(Moments.of(x), Moments.of(y)), rel=1e-8)


@pytest.mark.parametrize(
    "cast",
    [
        lambda module: module.to(torch.bfloat16),
        lambda module: module.half(),
        lambda module: module.bfloat16(),
        lambda module: module.float(),
        lambda module: module["metric"].set_dtype(torch.float16),
        lambda module: module.to(device="cpu", dtype=torch.bfloat16),
    ],
    ids=["to bfloat16", "half", "bfloat16", "float", "set_dtype", "to device and bfloat16"],
)
def test_no_cast_touches_the_sums(cast, digit_pixels):
    metric = filled(DigitsClassifier(), digit_pixels[:500], digit_pixels[500:900])
    before = float(metric.compute())
    cast(torch.nn.ModuleDict({"metric": metric, "layer": torch.nn.Linear(2, 2)}))
    assert metric.real_outer.dtype == torch.float64
    metric.update(digit_pixels[:0], real=False)
    assert float(metric.compute()) == before
    metric.reset()
    assert metric.real_outer.dtype == torch.float64


def test_reset_forgets_and_update_after_compute_counts(digit_pixels):
    metric = filled(DigitsClassifier(), digit_pixels[:500], digit_pixels[500:900])
    first = float(metric.compute())
    metric.update(digit_pixels[900:], real=False)
    assert float(metric.compute()) != first
    metric.reset()
    metric.update(digit_pixels[:500], real=True)
    metric.update(digit_pixels[500:900], real=False)
    assert float(metric.compute()) == pytest.approx(first, rel=1e-9)


def test_fewer_than_two_images_are_refused(digit_pixels):
    metric = filled(DigitsClassifier(), digit_pixels[:500], digit_pixels[:1])
    with pytest.raises(ValueError, match="at least two examples, and there are 1"):
        metric.compute()


def test_features_that_are_not_features_are_refused():
    metric = FrechetDistance(DigitsClassifier())
    with pytest.raises(ValueError, match=r"shape \(B, 64\), not \(3, 63\)"):
        metric.update_features(torch.zeros(3, 63), real=True)
    with pytest.raises(ValueError, match="not finite"):
        metric.update_features(torch.full((3, 64), float("nan")), real=False)
    with pytest.raises(ValueError, match="view=spatial"):
        FrechetDistance(DigitsClassifier(), view="spatial")


def test_names_tell_what_the_number_is(inception_file, monkeypatch):
    assert FrechetDistance(DigitsClassifier()).reported_name(1797) == "fd_digits_1797"
    assert FrechetDistance(EfficientNet()).reported_name(10_000) == "fd_effnet_10k"
    metric = FrechetDistance(InceptionV3(weights=str(inception_file)))
    assert metric.reported_name(50_000) == "fd_inception_50k"
    assert "published" in why_not_fid(metric.extractor, 50_000)
    monkeypatch.setattr(InceptionV3, "published", True)
    assert metric.reported_name(50_000) == "fid_50k"
    assert metric.reported_name(2048) == "fid_2048"
    assert metric.reported_name(1000) == "fd_inception_1000"
    assert metric.reported_name(50_000, reference=1500) == "fd_inception_50k"
    assert "fewer than 2048" in why_not_fid(metric.extractor, 1000)
    assert why_not_fid(metric.extractor, 10_000) is None
    assert "not called FID" in metric.notes(1000)[0]
    assert FrechetDistance(metric.extractor, minimum=500).reported_name(1000) == "fid_1000"
    assert FrechetDistance(metric.extractor, view="spatial").reported_name(10_000) == "sfid_10k"


@pytest.mark.parametrize("extractor", [DigitsClassifier(), EfficientNet()], ids=repr)
def test_the_distance_grows_with_damage(extractor, digit_pixels):
    """Noise, blur and lost modes: each step is worse than the one before."""
    real = digit_pixels[: 16 if extractor.name == "effnet" else 900]
    features = extractor(real)
    generator = torch.Generator().manual_seed(0)

    def noisy(sigma: float) -> Tensor:
        return (real + sigma * torch.randn(real.shape, generator=generator)).round().clamp(0, 255).to(torch.uint8)

    def blurred(times: int) -> Tensor:
        soft = real.float()
        for _ in range(times):
            soft = torch.nn.functional.avg_pool2d(soft, 3, 1, 1)
        return soft.round().to(torch.uint8)

    def repeated(times: int) -> Tensor:
        return real[torch.arange(len(real)) % (len(real) // times)]

    for series in (
        [noisy(sigma) for sigma in (5, 20, 60)],
        [blurred(times) for times in (1, 2, 4)],
        [repeated(times) for times in (2, 4, 8)],
    ):
        distances = [by_nuclear_norm(features, extractor(drawn)) for drawn in series]
        assert 0 < distances[0] < distances[1] < distances[2]


def halves(digits, **settings) -> SplitHalfFrechet:
    metric = SplitHalfFrechet(DigitsClassifier(), **settings)
    metric.update(digits.batch(torch.arange(len(digits)))[0], real=True)
    return metric


def test_halves_of_the_digits_are_close(digits):
    """0.74 over 199 splits: what a model of the digits has to reach; one eighth of them is farther away."""
    baseline = halves(digits).compute().item()
    assert baseline == pytest.approx(0.74, abs=0.08)
    assert halves(digits.take(torch.arange(len(digits)).flip(0))).compute().item() == baseline
    assert halves(digits.take(torch.arange(225))).compute().item() > 2 * baseline


def test_halves_are_frechet_distances_of_real_images_alone(digits):
    metric = halves(digits, splits=1)
    rows = metric.real.rows()[torch.randperm(1797, generator=torch.Generator().manual_seed(0))]
    frechet = FrechetDistance(DigitsClassifier())
    frechet.update_features(rows[:899], real=True)
    frechet.update_features(rows[899:], real=False)
    assert metric.compute().item() == pytest.approx(frechet.compute().item(), rel=1e-9)
    metric.update(digits.batch(torch.arange(50))[0].flip(-1), real=False)
    assert metric.compute().item() == pytest.approx(frechet.compute().item(), rel=1e-9)
    assert halves(digits, splits=2).compute().item() != pytest.approx(metric.compute().item(), rel=1e-9)


def test_halves_are_named_by_the_real_images(digits):
    assert halves(digits).reported_name(50) == halves(digits).reported_name(50, 1797) == "halves_digits_1797"
    assert halves(digits).notes(50) == [
        "halves_digits_1797 is between halves, 898 against 899 examples: the distance of larger sets is smaller."
    ]
    assert halves(digits).compared(50) == halves(digits).compared(50, 1797) == "898 against 899 examples"
    assert "halves, 250 against 250 examples" in SplitHalfFrechet(DigitsClassifier(), keep=500).notes(50, 1797)[0]
    assert SplitHalfFrechet(DigitsClassifier(), keep=500).reported_name(50, 1797) == "halves_digits_500"
    with pytest.raises(ValueError, match="at least 4 real examples, and has 3"):
        halves(digits.take(torch.arange(3))).compute()


def test_the_metric_is_silent(digit_pixels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filled(DigitsClassifier(), digit_pixels[:50], digit_pixels[50:90]).compute()
