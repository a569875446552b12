"""A comparison with a handful of real images is noted."""

from mezzotint.metrics import DigitsClassifier, FrechetDistance, InceptionScore, SplitHalfFrechet
from mezzotint.metrics.evaluation import FEW_REAL, few_real


def test_a_reference_of_few_images_is_noted_where_a_metric_compares_with_it() -> None:
    extractor = DigitsClassifier()
    compared = {"fid": FrechetDistance(extractor), "halves": SplitHalfFrechet(extractor)}
    assert len(few_real(compared, 2)) == 1
    assert "2 real examples" in few_real(compared, 2)[0]
    assert few_real(compared, FEW_REAL) == []
    assert few_real({"is": InceptionScore(extractor)}, 2) == []
    assert few_real({}, 2) == []
