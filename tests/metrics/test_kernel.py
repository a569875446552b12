"""The kernel distance: its formula, its freedom from bias, and that the order of the images does not matter."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint.diffusion import KeyedRandom
from mezzotint.metrics import DigitsClassifier, InceptionV3, KernelDistance
from mezzotint.metrics.feature_metric import content_keys, feature_keys


def rows(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + 0.1 * seed


def filled(extractor, real: Tensor, drawn: Tensor, **settings) -> KernelDistance:
    metric = KernelDistance(extractor, **settings)
    metric.update_features(real, real=True)
    metric.update_features(drawn, real=False)
    return metric


def test_one_subset_of_everything_equals_torch_fidelity_and_torchmetrics(projection):
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.kid import poly_mmd

    x, y = rows(90, 40, 1), rows(90, 40, 2)
    ours = float(filled(projection(40), x, y, subsets=1, size=90).compute())
    fidelity = kid_features_to_metric(x.double(), y.double(), kid_subsets=1, kid_subset_size=90, verbose=False)
    assert ours == pytest.approx(fidelity["kernel_inception_distance_mean"], rel=1e-9)
    assert ours == pytest.approx(float(poly_mmd(x.double(), y.double())), rel=1e-9)


def test_many_subsets_equal_the_sums_over_each(projection):
    """The quadratic forms against plain means over the chosen rows, with more rows than one block."""
    metric = filled(projection(6), rows(1500, 6, 1), rows(1200, 6, 2), subsets=3, size=50)
    real, drawn = metric.real.rows(), metric.generated.rows()
    generator = torch.Generator().manual_seed(0)
    x_sets = [real[torch.randperm(1500, generator=generator)[:50]] for _ in range(3)]
    y_sets = [drawn[torch.randperm(1200, generator=generator)[:50]] for _ in range(3)]
    expected = [plain_mmd(x.numpy(), y.numpy()) for x, y in zip(x_sets, y_sets, strict=True)]
    np.testing.assert_allclose(metric.distances().numpy(), expected, rtol=1e-10)


def plain_mmd(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    off = ~np.eye(n, dtype=bool)
    return k(x, x)[off].sum() / n / (n - 1) + k(y, y)[off].sum() / m / (m - 1) - 2 * k(x, y).mean()


def test_it_is_unbiased(projection):
    """Over many pairs of small sets of one distribution the mean is zero within its error."""
    generator = torch.Generator().manual_seed(7)
    found = []
    for _ in range(300):
        x, y = torch.randn(2, 12, 6, generator=generator)
        found.append(float(filled(projection(6), x, y, subsets=1).compute()))
    found = torch.tensor(found)
    assert abs(float(found.mean())) < 3 * float(found.std()) / 300**0.5
    assert float(found.min()) < 0


def test_neither_order_nor_batches_matter(digit_pixels):
    real, drawn = digit_pixels[:900], digit_pixels[900:].flip(-1)
    first = KernelDistance(DigitsClassifier(), subsets=10, size=100)
    for images, side in ((real, True), (drawn, False)):
        first.update(images, real=side)
    second = KernelDistance(DigitsClassifier(), subsets=10, size=100)
    order = torch.randperm(len(drawn), generator=torch.Generator().manual_seed(1))
    for part in drawn[order].split(77):
        second.update(part, real=False)
    second.update(real.flip(0), real=True)
    assert float(first.compute()) == float(second.compute())
    assert float(KernelDistance.compute(_other_seed(first))) != float(first.compute())


def _other_seed(metric: KernelDistance) -> KernelDistance:
    other = KernelDistance(metric.extractor, metric.subsets, metric.size, seed=metric.seed + 1)
    other.real.load(metric.real.state())
    other.generated.load(metric.generated.state())
    return other


def test_memory_is_bounded_by_a_choice_that_ignores_order_and_content(digit_pixels):
    """A function of the index alone; what is kept lies in the order of the content."""
    index, kept = torch.arange(len(digit_pixels)), []
    for order in (index, index.flip(0)):
        metric = KernelDistance(DigitsClassifier(), keep=100)
        for part in order.split(60):
            metric.update(digit_pixels[part], real=True, index=part)
            assert sum(map(len, metric.real_rows)) <= 200 + 60
        kept.append(metric.real.rows())
    assert kept[0].shape == (100, 64)
    assert torch.equal(kept[0], kept[1])
    chosen = digit_pixels[KeyedRandom(0, index).uniform("real rows").argsort()[:100]]
    in_order = chosen[content_keys(chosen).argsort()]
    assert torch.equal(kept[0], DigitsClassifier()(in_order).double())
    by_default = KernelDistance(DigitsClassifier(), keep=100)
    by_default.update(digit_pixels, real=True)
    assert torch.equal(by_default.real.rows(), kept[0])


@pytest.mark.parametrize("copied", ["smallest", "largest", "first"])
def test_copies_are_kept_in_proportion_whatever_their_content(digit_pixels, copied):
    """Half of what is drawn is one image: so is half of what is kept, and the distance is that of all."""
    keys = content_keys(digit_pixels)
    image = {"smallest": keys.argmin(), "largest": keys.argmax(), "first": torch.tensor(0)}[copied]
    drawn = torch.cat([digit_pixels[:1500], digit_pixels[image].expand(1500, -1, -1, -1)])

    def judged(keep: int) -> KernelDistance:
        metric = KernelDistance(DigitsClassifier(), subsets=50, size=400, keep=keep)
        metric.update(digit_pixels, real=True)
        for part in drawn.split(500):
            metric.update(part, real=False)
        return metric

    part, all_of_it = judged(1000), judged(3000)
    rows = part.generated.rows()
    alike = (rows == DigitsClassifier()(digit_pixels[image][None]).double()).all(1).double().mean()
    assert float(alike) == pytest.approx(0.5, abs=5 * (0.25 / 1000) ** 0.5)
    assert float(part.compute()) == pytest.approx(float(all_of_it.compute()), rel=0.1)


def test_rows_without_meaning_of_their_order_mix_copies_and_leave_distinct_ones(digit_pixels):
    distinct = digit_pixels.flatten(1).unique(dim=0).view(-1, 1, 8, 8)
    metric = KernelDistance(DigitsClassifier())
    metric.update(distinct, real=False)
    assert torch.equal(metric.generated.shuffled(), metric.generated.rows())
    for image in distinct[content_keys(distinct).argsort()][[0, 800, -1]]:
        metric.reset()
        metric.update(torch.cat([distinct[:800], image.expand(800, -1, -1, -1)]), real=False)
        alike = (metric.generated.shuffled() == DigitsClassifier()(image[None]).double()).all(1).double()
        assert float(alike[:400].mean()) == pytest.approx(0.5, abs=0.1)


def test_keys_are_of_the_content(digit_pixels, monkeypatch):
    keys = content_keys(digit_pixels)
    assert len(keys.unique()) == len(digit_pixels.flatten(1).unique(dim=0))
    assert torch.equal(content_keys(digit_pixels[5:9]), keys[5:9])
    assert (keys < 0).double().mean() == pytest.approx(0.5, abs=0.05)
    monkeypatch.setattr("mezzotint.metrics.feature_metric.CHUNK", 1000)
    assert torch.equal(content_keys(digit_pixels), keys)
    assert content_keys(digit_pixels[:0]).shape == (0,)
    features = rows(50, 6, 1)
    assert torch.equal(feature_keys(features)[3:7], feature_keys(features[3:7]))


def test_half_precision_leaves_rows_and_keys(digit_pixels):
    metric = KernelDistance(DigitsClassifier(), subsets=3, size=50)
    metric.update(digit_pixels[:300], real=True)
    metric.update(digit_pixels[300:600], real=False)
    before = metric.real.rows()
    metric.to(torch.bfloat16)
    assert metric.real_rows[0].dtype == torch.float32
    assert torch.equal(metric.real.rows(), before)


def test_names_and_errors(inception_file, digit_pixels):
    assert KernelDistance(DigitsClassifier()).reported_name(1797) == "kd_digits_1797"
    assert KernelDistance(InceptionV3(weights=str(inception_file))).reported_name(10_000) == "kid_10k"
    with pytest.raises(ValueError, match="subsets=0"):
        KernelDistance(DigitsClassifier(), subsets=0)
    metric = KernelDistance(DigitsClassifier())
    metric.update(digit_pixels[:20], real=True)
    with pytest.raises(ValueError, match="at least 2 generated examples, and has 0"):
        metric.compute()
