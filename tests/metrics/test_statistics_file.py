"""Published statistics as a reference: the same value as from the images, and nothing else than arrays."""

import numpy as np
import pytest
import torch

from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics import DigitsClassifier, FrechetDistance, KernelDistance, StatisticsFile, evaluate, over_seeds


@pytest.fixture
def statistics(digit_pixels, tmp_path):
    """mu and sigma as ADM and EDM store them, by numpy."""
    features = DigitsClassifier()(digit_pixels).double().numpy()
    np.savez(tmp_path / "digits.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    return StatisticsFile(str(tmp_path / "digits.npz"), count=1797)


def test_the_value_is_that_of_the_images(statistics, digits, digit_pixels):
    drawn = digit_pixels[:500].flip(-1)
    metrics = {"frechet": FrechetDistance(DigitsClassifier())}
    from_images = evaluate([drawn], digits, metrics, n=500)
    from_file = evaluate([drawn], statistics, metrics, n=500)
    assert from_file.values == pytest.approx(from_images.values, rel=1e-9)
    assert from_file.protocol["reference"] == {"count": 1797, "sha256": statistics.digest()}
    other_count = StatisticsFile(statistics.path, count=50_000)
    assert evaluate([drawn], other_count, metrics, n=500).values == pytest.approx(from_images.values, rel=1e-9)


def test_what_it_cannot_serve_is_refused(statistics, digit_pixels, projection):
    with pytest.raises(ConfigError, match="KernelDistance needs the real images"):
        evaluate([digit_pixels[:9]], statistics, {"kernel": KernelDistance(DigitsClassifier())}, n=9)
    with pytest.raises(DataError, match="6 features are needed"):
        evaluate([digit_pixels[:9]], statistics, {"frechet": FrechetDistance(projection(6))}, n=9)
    with pytest.raises(DataError, match="no images"):
        statistics.batch(torch.arange(2))


def test_a_file_may_tell_its_count_and_its_extractor(statistics, digit_pixels, tmp_path):
    with np.load(statistics.path) as file:
        arrays = dict(file) | {"count": 1797, "extractor": "digits"}
    np.savez(tmp_path / "told.npz", **arrays, extractor_sha256=DigitsClassifier().digest)
    told = StatisticsFile(str(tmp_path / "told.npz"))
    assert len(told) == 1797
    assert told.counted
    assert statistics.counted
    assert not StatisticsFile(statistics.path).counted
    assert len(StatisticsFile(str(tmp_path / "told.npz"), count=5)) == 5
    metrics = {"frechet": FrechetDistance(DigitsClassifier())}
    values = [evaluate([digit_pixels[:99]], reference, metrics, n=99).values for reference in (statistics, told)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)
    np.savez(tmp_path / "other.npz", **arrays, extractor_sha256="0" * 64)
    with pytest.raises(ConfigError, match="holds statistics of extractor=digits with other weights"):
        evaluate([digit_pixels[:99]], StatisticsFile(str(tmp_path / "other.npz")), metrics, n=99)


def test_a_pickle_is_not_opened(tmp_path, digit_pixels):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.savez(tmp_path / "trap.npz", mu=np.array([Trap()], dtype=object), sigma=np.zeros(1))
    metrics = {"frechet": FrechetDistance(DigitsClassifier())}
    with pytest.raises(DataError, match="a pickle can run code"):
        evaluate([digit_pixels[:9]], StatisticsFile(str(tmp_path / "trap.npz")), metrics, n=9)
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match="cannot be read as arrays"):
        evaluate([digit_pixels[:9]], StatisticsFile(str(tmp_path / "text.npz")), metrics, n=9)
    np.savez(tmp_path / "other.npz", arr_0=np.zeros(3))
    with pytest.raises(DataError, match="no array 'mu'"):
        evaluate([digit_pixels[:9]], StatisticsFile(str(tmp_path / "other.npz")), metrics, n=9)
    with pytest.raises(DataError, match="no statistics at"):
        StatisticsFile(str(tmp_path / "absent.npz")).digest()
    assert not (tmp_path / "sprung").exists()


def test_several_seeds_give_a_mean_and_a_spread(digits, digit_pixels):
    metrics = {"frechet": FrechetDistance(DigitsClassifier())}
    each = [evaluate([digit_pixels[i : i + 500]], digits, metrics, n=500) for i in (0, 600, 1200)]
    values = torch.tensor([one.values["fd_digits_500"] for one in each], dtype=torch.float64)
    together = over_seeds(each)
    assert together.values["fd_digits_500"] == pytest.approx(float(values.mean()))
    assert together.errors["fd_digits_500"] == pytest.approx(float(values.std()))
    assert together.shown("fd_digits_500").endswith("(3 seeds)")
    assert [one["fd_digits_500"] for one in together.protocol["each"]] == values.tolist()
    with pytest.raises(ValueError, match="two seeds"):
        over_seeds(each[:1])


def test_other_precisions_and_arrays_beside_them_are_no_hindrance(statistics, digits, digit_pixels, tmp_path):
    """ADM's reference batches hold images too; a note that numpy pickled is not opened."""
    with np.load(statistics.path) as file:
        arrays = {name: file[name].astype(np.float32) for name in file}
    beside = {"arr_0": digit_pixels[:9].permute(0, 2, 3, 1).numpy(), "note": np.array([{}], dtype=object)}
    np.savez(tmp_path / "adm.npz", **arrays, **beside)
    metrics = {"frechet": FrechetDistance(DigitsClassifier())}
    found = evaluate([digit_pixels[:500]], StatisticsFile(str(tmp_path / "adm.npz")), metrics, n=500)
    assert found.values == pytest.approx(evaluate([digit_pixels[:500]], digits, metrics, n=500).values, rel=1e-5)


def test_damage_is_one_line(statistics, tmp_path):
    with np.load(statistics.path) as file:
        np.savez_compressed(tmp_path / "packed.npz", **file)
    whole = (tmp_path / "packed.npz").read_bytes()
    for place in range(60, 300, 40):
        (tmp_path / "packed.npz").write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
        with pytest.raises(DataError, match="cannot be read as arrays"):
            StatisticsFile(str(tmp_path / "packed.npz")).fill(FrechetDistance(DigitsClassifier()))


@pytest.mark.parametrize("name", ["mu", "sigma"])
def test_statistics_that_are_not_finite_are_refused(name, statistics, tmp_path):
    """A distance to them would be no number, and what is no number must never come out as 0."""
    with np.load(statistics.path) as file:
        arrays = dict(file)
    arrays[name].flat[5] = np.nan
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(DataError, match=r"nan\.npz holds statistics that are not finite"):
        StatisticsFile(str(tmp_path / "nan.npz")).fill(FrechetDistance(DigitsClassifier()))
