"""A test that asks for `sampler` runs for every sampler of configs/sampler with every number of points it takes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from sampler_table import catalogue

CATALOGUE = catalogue()
SUBSETS = {
    "sampler": CATALOGUE,
    "deterministic": {name: s for name, s in CATALOGUE.items() if s.order},
    "stochastic": {name: s for name, s in CATALOGUE.items() if not s.order},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, members in SUBSETS.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, list(members.values()), ids=list(members))
