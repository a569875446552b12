"""Inception score, MiFID, FID-infinity, bootstrap, values by class: closed forms and other implementations."""

import pytest
import torch
from torch import Tensor

from mezzotint.data import Digits
from mezzotint.metrics import (
    CMMD,
    DensityCoverage,
    DigitsClassifier,
    FrechetBootstrap,
    FrechetDistance,
    FrechetInfinity,
    FrechetPerClass,
    InceptionScore,
    InceptionV3,
    KernelDistance,
    MiFID,
    PrecisionRecall,
    evaluate,
)
from mezzotint.metrics.frechet.infinity import _intercept
from mezzotint.metrics.frechet.mifid import mean_cosine_distance
from mezzotint.metrics.gaussian import Moments, frechet_distance
from mezzotint.metrics.inception_score import dealt

from .conftest import filled, rows

# ---- Inception score ----------------------------------------------------------------------------------------------


def test_the_score_equals_torch_fidelity():
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * rows(200, 10, 1)
    metric = InceptionScore(DigitsClassifier(), splits=1)
    for part in logits.split(64):
        metric.update_features(part, real=False)
    theirs = isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    assert float(metric.compute()) == pytest.approx(theirs, rel=1e-9)


def test_the_score_of_sure_and_even_answers_is_the_number_of_classes():
    metric = InceptionScore(DigitsClassifier(), splits=1)
    metric.update_features(1000 * torch.eye(10), real=False)
    assert float(metric.compute()) == pytest.approx(10)
    metric.reset()
    metric.update_features(torch.zeros(20, 10), real=False)
    assert float(metric.compute()) == pytest.approx(1)


def test_the_score_of_the_digits(digit_pixels):
    """At most ten, less for labels smoothed in training; at most five for five digits. Order does not matter."""
    first, second = InceptionScore(DigitsClassifier()), InceptionScore(DigitsClassifier())
    first.update(digit_pixels, real=False)
    for part in torch.arange(1797).flip(0).split(100):
        second.update(digit_pixels[part], real=False, index=part)
    assert float(first.compute()) == pytest.approx(float(second.compute()), rel=1e-12)
    assert 6.5 < float(first.compute()) < 10
    pixels, labels = Digits().split("all").batch(torch.arange(1797))
    second.reset()
    second.update(pixels[labels < 5], real=False)
    assert 3.5 < float(second.compute()) < 5
    assert first.reported_name(1797) == "score_digits_1797"
    second.reset()
    second.update(pixels[:0], real=False)
    with pytest.raises(ValueError, match="has none"):
        second.compute()


def test_parts_are_even_random_and_a_function_of_the_index():
    parts = dealt(torch.arange(1003), 10)
    assert set(parts.bincount().tolist()) <= {100, 101}
    assert torch.equal(dealt(torch.arange(500, 700), 10), parts[500:700])
    one_class = parts[torch.arange(3, 1003, 10)].bincount(minlength=10)  # of labels i modulo ten
    assert one_class.min() > 0
    assert one_class.max() < 25


@pytest.mark.parametrize("image", [0, 7, 1000])
def test_copies_are_in_all_parts_of_the_score(digit_pixels, image):
    metric = InceptionScore(DigitsClassifier())
    copies = digit_pixels[image].expand(1000, -1, -1, -1)
    metric.update(torch.cat([digit_pixels[:1000], copies]), real=False)
    alone = InceptionScore(DigitsClassifier(), splits=1)
    alone.update(torch.cat([digit_pixels[:1000], copies]), real=False)
    assert float(metric.compute()) == pytest.approx(float(alone.compute()), rel=0.05)
    assert metric.generated_count.tolist() == [200] * 10


# ---- MiFID --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.01, 3.0], ids=["copies", "new images"])
def test_mifid_equals_torchmetrics(projection, noise):
    from torchmetrics.image.mifid import _mifid_compute

    real = rows(100, 12, 1, 0.5)
    drawn = real[:80] + noise * rows(80, 12, 2)
    (a, b), (x, y) = (Moments.of(real), Moments.of(drawn)), (real.double(), drawn.double())
    theirs = _mifid_compute(b.mean, b.covariance, y, a.mean, a.covariance, x)
    ours = float(filled(MiFID(projection(12)), real, drawn).compute())
    assert ours == pytest.approx(float(theirs), rel=1e-6)
    assert (ours > 10 * frechet_distance(a, b)) == (noise < 1)


def test_the_cosine_distance_of_known_directions():
    axes = torch.eye(2, dtype=torch.float64)
    given = torch.tensor([[3.0, 0.0], [1.0, 1.0], [-2.0, 0.0]], dtype=torch.float64)
    assert float(mean_cosine_distance(given, axes)) == pytest.approx((1 - 0.5**0.5) / 3)


# ---- FID-infinity -------------------------------------------------------------------------------------------------


def test_the_intercept_of_a_line():
    x = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    assert float(_intercept(x, 3 * x - 2)) == pytest.approx(-2)


def test_the_extrapolation_removes_most_of_the_bias(projection):
    """Real and drawn of one Gaussian, the real moments known well: the true distance is zero."""
    real, drawn = rows(200_000, 16, 1), rows(2000, 16, 2)
    plain = float(filled(FrechetDistance(projection(16)), real, drawn).compute())
    metric = filled(FrechetInfinity(projection(16), first=0.2), real, drawn)
    assert plain > 0.02
    assert abs(float(metric.compute())) < plain / 3
    assert metric.reported_name(2000) == "fd_projection_infinity_2000"
    assert "features need more" in metric.notes(30)[0]
    assert metric.notes(2000) == []
    assert (metric.min_images(), FrechetInfinity(projection(16)).min_images()["generated"]) == (
        {"real": 2, "generated": 8},
        3,
    )
    with pytest.raises(ValueError, match="from 7 samples is not possible"):
        filled(FrechetInfinity(projection(16), first=0.2), real, drawn[:7]).compute()
    with pytest.raises(ValueError, match="from 5 samples is not possible"):
        filled(FrechetInfinity(projection(16), first=0.95), real, drawn[:5]).compute()


# ---- bootstrap ----------------------------------------------------------------------------------------------------


def test_the_bootstrap_error_is_that_of_fresh_samples(projection):
    """Within a factor of 1.5 of the spread over forty fresh sets, and the same every time."""
    real = rows(20_000, 6, 1)
    fresh = [frechet_distance(Moments.of(real), Moments.of(rows(500, 6, 10 + i, 0.3))) for i in range(40)]
    spread = float(torch.tensor(fresh).std())
    metric = filled(FrechetBootstrap(projection(6), repeats=60), real, rows(500, 6, 5, 0.3))
    assert spread / 1.5 < float(metric.compute()) < spread * 1.5
    again = filled(FrechetBootstrap(projection(6), repeats=60), real, rows(500, 6, 5, 0.3))
    assert float(again.compute()) == float(metric.compute())
    assert metric.reported_name(500) == "fd_projection_500_std"


def test_classes_that_are_balanced_by_plan_stay_so_in_the_bootstrap(projection):
    """Two classes far apart: shuffling how many there are of each would be most of the error."""
    real, labels = rows(20_000, 6, 1), torch.arange(500) % 2
    real[::2] += 4.0

    def drawn(seed: int) -> Tensor:
        return rows(500, 6, seed, 0.3) + 4.0 * (1 - labels[:, None])

    fresh = [frechet_distance(Moments.of(real), Moments.of(drawn(10 + i))) for i in range(40)]
    spread = float(torch.tensor(fresh).std())
    metric = FrechetBootstrap(projection(6), repeats=60)
    metric.update_features(real, real=True)
    metric.update_features(drawn(5), real=False, labels=labels)
    assert spread / 1.5 < float(metric.compute()) < spread * 1.5
    assert float(filled(FrechetBootstrap(projection(6), repeats=60), real, drawn(5)).compute()) > 2 * spread


# ---- names ---------------------------------------------------------------------------------------------------------


def test_what_is_called_fid_can_be_chosen_for_all_of_them(inception_file, monkeypatch):
    monkeypatch.setattr(InceptionV3, "published", True)
    made = InceptionV3(weights=str(inception_file))
    frechet, error = FrechetDistance(made, minimum=500), FrechetBootstrap(made, minimum=500)
    assert error.reported_name(1000) == f"{frechet.reported_name(1000)}_std" == "fid_1000_std"
    assert error.reported_name(400) == f"{frechet.reported_name(400)}_std" == "fd_inception_400_std"
    assert FrechetInfinity(made, minimum=500).reported_name(1000) == "fid_infinity_1000"
    assert MiFID(made, minimum=500).reported_name(1000) == "mifid_1000"
    assert FrechetPerClass(made, 2, minimum=500).reported_name(1000) == "fid_1000_class"
    assert MiFID(made).reported_name(1000) == "mfd_inception_1000"


@pytest.mark.parametrize("kind", [FrechetDistance, FrechetInfinity, MiFID, lambda made: FrechetPerClass(made, 2)])
def test_every_distance_over_inception_says_why_it_is_not_called_fid(kind, inception_file, monkeypatch, projection):
    metric = kind(InceptionV3(weights=str(inception_file)))
    reasons = [note for note in metric.notes(10_000) if "is not called FID" in note]
    assert reasons == [
        f"{metric.reported_name(10_000)} is not called FID: the Inception weights are not the published ones."
    ]
    monkeypatch.setattr(InceptionV3, "published", True)
    assert "1000 examples are fewer than 2048" in " ".join(
        metric.notes(2000 if "class" in metric.reported_name(9) else 1000)
    )
    assert not any("not called FID" in note for note in [*metric.notes(10_000), *kind(projection(6)).notes(50)])


def test_a_name_tells_how_many_images_a_value_is_of_and_not_how_many_were_drawn(projection):
    six = projection(6)
    assert MiFID(six, keep=4000).reported_name(9000) == "mfd_projection_4k"
    assert (
        PrecisionRecall(six, keep=4000).reported_name(9000)
        == DensityCoverage(six, keep=4000).reported_name(9000)
        == "projection_4k"
    )
    assert CMMD(six, keep=4000).reported_name(9000) == "mmd_projection_4k"
    assert KernelDistance(six, keep=4000).reported_name(9000) == "kd_projection_4k"
    assert FrechetInfinity(six, keep=4000).reported_name(9000) == "fd_projection_infinity_4k"
    assert FrechetBootstrap(six, keep=4000).notes(4000) == []
    assert "estimated from 4000 of 9000 samples" in FrechetBootstrap(six, keep=4000).notes(9000)[0]


# ---- by class -----------------------------------------------------------------------------------------------------


def test_values_by_class_equal_those_of_each_class_alone(digits):
    pixels, labels = digits.batch(torch.arange(len(digits)))
    drawn, drawn_labels = pixels[:900].flip(-1), labels[:900]
    metric = {"by_class": FrechetPerClass(DigitsClassifier(), classes=10)}
    batches = zip(drawn.split(128), drawn_labels.split(128), strict=True)
    found = evaluate(batches, digits, metric, n=900).values
    assert len(found) == 10
    for c in (0, 7):
        alone = FrechetDistance(DigitsClassifier())
        alone.update(pixels[labels == c], real=True)
        alone.update(drawn[drawn_labels == c], real=False)
        assert found[f"fd_digits_900_class_{c}"] == pytest.approx(float(alone.compute()), rel=1e-9)


def test_a_class_without_images_is_left_out_and_labels_are_needed(digits, digit_pixels):
    metric = {"by_class": FrechetPerClass(DigitsClassifier(), classes=10)}
    some = (digit_pixels[:100], torch.zeros(100, dtype=torch.int64))
    assert set(evaluate([some], digits, metric, n=100).values) == {"fd_digits_100_class_0"}
    with pytest.raises(ValueError, match="need labels beside the generated examples"):
        evaluate([digit_pixels[:100]], digits, metric, n=100)
