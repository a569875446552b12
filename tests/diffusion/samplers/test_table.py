"""docs/samplers.md says what the code does."""

import re

import pytest
from sampler_table import HEAD, ROOT, errors_at, row

PAGE = (ROOT / "docs" / "samplers.md").read_text()


def cells(name):
    (line,) = re.findall(rf"^\| {re.escape(name)} \|.*$", PAGE, re.MULTILINE)
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def test_the_page_has_a_row_for_every_sampler_and_no_other():
    from sampler_table import catalogue

    assert PAGE.startswith(HEAD), "run scripts/sampler_table.py"
    assert re.findall(r"^\| ([^|]+) \| `", PAGE, re.MULTILINE) == list(catalogue())


def test_the_page_is_not_stale(sampler, request):
    """All that is cheap to measure; the slopes are measured by test_order and test_stochastic."""
    name = request.node.callspec.id
    written = cells(name)
    assert written[1] == f"`{sampler}`", "run scripts/sampler_table.py"
    assert [float(cell) for cell in written[7:]] == pytest.approx(errors_at(sampler), rel=0.06)
    assert written == row(name, sampler, measured=written[3:5], errors=[float(c) for c in written[7:]])
    if written[2].isdigit():
        assert [float(cell) for cell in written[3:5]] == pytest.approx([float(written[2])] * 2, abs=0.15)


def test_the_yardstick_is_right():
    """The exact denoiser and the exact solution against mezzotint's own mixture and a fine integration."""
    import torch
    from sampler_table import MEANS, STDS, WEIGHTS, Mixture, quantiles

    from mezzotint.diffusion import RK4, ContinuousCosineSchedule, ExactMixture, NoiseLevel, VPSchedule, integrate

    parts = (torch.tensor(v, dtype=torch.float64) for v in (MEANS, STDS, WEIGHTS))
    means, stds, weights = parts
    own = ExactMixture(VPSchedule(), means[:, None], stds[:, None], weights)
    x, p = torch.linspace(-3, 3, 9).double()[:, None], torch.linspace(0.02, 0.98, 9).double()
    for level in (NoiseLevel(0.0, 1.0), NoiseLevel(1.0, 40.0), NoiseLevel(0.6, 0.8), NoiseLevel(1.0, 0.01)):
        for a, b in ((1.0, 0.0), (-0.5, 0.7)):
            torch.testing.assert_close(
                Mixture(VPSchedule())(x, level).mix(a, b), own(x, level).mix(a, b), rtol=1e-9, atol=1e-9
            )
    grid = tuple(ContinuousCosineSchedule().level(1.0 - i / 400) for i in range(400))
    end = integrate(Mixture(VPSchedule()), RK4(), grid, quantiles(grid[0], p)[:, None])[:, 0]
    torch.testing.assert_close(end, quantiles(grid[-1], p), rtol=0, atol=1e-8)
