"""Precision, recall, density, coverage: toy sets with known answers, and torch-fidelity."""

import pytest
import torch

from mezzotint.metrics import DensityCoverage, PrecisionRecall
from mezzotint.metrics.neighbours.knn import distance_blocks, k_nearest, radii

from .conftest import filled, rows


def test_radii_and_nearest_in_one_dimension():
    points = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64)
    assert radii(points, 1).tolist() == [1, 1, 2, 4]
    assert radii(points, 2).tolist() == [3, 2, 3, 6]
    distances, found = k_nearest(torch.tensor([[2.5], [-1.0]], dtype=torch.float64), points, 2)
    assert distances.tolist() == [[0.5, 1.5], [1.0, 2.0]]
    assert found.tolist() == [[2, 1], [0, 1]]
    with pytest.raises(ValueError, match="more than 4 examples, and there are 4"):
        radii(points, 4)


def test_blocks_do_not_matter(monkeypatch):
    points, others = rows(50, 3, 1).double(), rows(20, 3, 2).double()
    whole = radii(points, 3), *k_nearest(points, others, 2)
    monkeypatch.setattr("mezzotint.metrics.neighbours.knn.BLOCK", 7)
    for first, second in zip(whole, (radii(points, 3), *k_nearest(points, others, 2)), strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_precision_and_recall_equal_torch_fidelity(projection, shift):
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, drawn = rows(400, 6, 1), rows(300, 6, 2, shift)
    theirs = prc_features_to_metric(
        drawn.double(), real.double(), prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    ours = filled(PrecisionRecall(projection(6)), real, drawn).values(300)
    assert ours["precision_projection_300"] == pytest.approx(theirs["precision"], abs=1e-7)
    assert ours["recall_projection_300"] == pytest.approx(theirs["recall"], abs=1e-7)


def test_density_and_coverage_equal_their_definition(projection):
    real, drawn = rows(200, 6, 1), rows(150, 6, 2, 0.3)
    reach = torch.cdist(real.double(), real.double()).sort(dim=1).values[:, 5]
    inside = torch.cdist(drawn.double(), real.double()) < reach
    density, coverage = filled(DensityCoverage(projection(6)), real, drawn).compute().tolist()
    assert density == pytest.approx(float(inside.sum()) / (5 * 150), abs=1e-12)
    assert coverage == pytest.approx(float(inside.any(dim=0).double().mean()), abs=1e-12)
    assert 0 < coverage < 1


def test_a_model_that_lost_modes_is_precise_and_covers_little(projection):
    real = torch.cat([rows(200, 6, 1), rows(200, 6, 2, 20.0)])
    one_mode = rows(400, 6, 3)
    precision, recall = filled(PrecisionRecall(projection(6)), real, one_mode).compute().tolist()
    assert precision > 0.7
    assert recall == pytest.approx(0.5, abs=0.1)
    density, coverage = filled(DensityCoverage(projection(6)), real, one_mode).compute().tolist()
    assert density == pytest.approx(1.0, abs=0.3)
    assert coverage == pytest.approx(0.5, abs=0.1)


def test_sets_far_apart_have_nothing_in_common(projection):
    far = filled(PrecisionRecall(projection(6)), rows(100, 6, 1), rows(100, 6, 2, 50.0))
    assert far.compute().tolist() == [0.0, 0.0]
    far = filled(DensityCoverage(projection(6)), rows(100, 6, 1), rows(100, 6, 2, 50.0))
    assert far.compute().tolist() == [0.0, 0.0]
    assert set(far.values(100)) == {"density_projection_100", "coverage_projection_100"}


@pytest.mark.parametrize("times", [1, 2, 5, 6, 7])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_the_real_images_themselves_are_perfect_however_often_each_comes(projection, times, scale):
    real = scale * rows(300, 6, 1).repeat_interleave(times, 0)
    assert filled(DensityCoverage(projection(6)), real, real).compute().tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
    assert filled(PrecisionRecall(projection(6)), real, real[order]).compute().tolist() == [1.0, 1.0]
    shifted = filled(DensityCoverage(projection(6)), real, real + 100 * scale)
    assert shifted.compute().tolist() == [0.0, 0.0]


def test_one_image_among_copies_counts_as_much_as_one_among_others(projection):
    """Seven equal real images and 200 others; one drawn image of each kind counts k."""
    others, same = rows(200, 6, 1), rows(1, 6, 5, 30.0)
    real = torch.cat([others, same.expand(7, -1)])
    density, coverage = filled(DensityCoverage(projection(6)), real, same.expand(2, -1)).compute().tolist()
    assert density == pytest.approx(1.0)
    assert coverage == pytest.approx(7 / 207)


def test_equal_rows_are_at_no_distance(projection):
    given = 1000 + rows(100, 40, 1).double().float().double()
    (block,) = distance_blocks(given, torch.cat([given, -0.0 * given]))
    assert torch.equal(block.diagonal(), torch.zeros(100, dtype=torch.float64))
    assert (block == 0).sum() == 100
    zeros = torch.zeros(1, 3, dtype=torch.float64)
    assert next(distance_blocks(zeros, -zeros)).item() == 0
