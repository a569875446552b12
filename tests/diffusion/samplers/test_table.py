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
    assert re.findall(r"^\| ([^ ]+) \| `", PAGE, re.MULTILINE) == list(catalogue())


def test_the_page_is_not_stale(sampler, request):
    """All that is cheap to measure; the slopes are measured by test_order and test_stochastic."""
    name = request.node.callspec.id
    written = cells(name)
    assert written[1] == f"`{sampler}`", "run scripts/sampler_table.py"
    assert [float(cell) for cell in written[6:]] == pytest.approx(errors_at(sampler), rel=0.06)
    assert written == row(
        request.node.callspec.id, sampler, measured=written[3], errors=[float(c) for c in written[6:]]
    )
    if written[2].isdigit():
        assert float(written[3]) == pytest.approx(float(written[2]), abs=0.15)
