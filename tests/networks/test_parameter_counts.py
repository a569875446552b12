"""The networks of docs/networks.md have the numbers of parameters that the papers' code has."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from parameter_table import Row, main, rows  # noqa: E402

ROWS = list(rows())
FILES = {file.stem for file in (ROOT / "configs/network").glob("*.yaml")} - {
    "autoencoder",
    "mlp",
    "unet",
    "unet_small",
    "dit_small",
    "jit_small",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_published_network_has_its_number_of_parameters(row: Row) -> None:
    """What differs from the published number is said with its reason."""
    assert row.count() == row.parameters
    stated, _, reason = row.difference.partition(": ")
    assert stated == (f"{row.excess:+,}" if row.excess else "-")
    assert bool(reason) == bool(row.excess)


def test_every_published_network_is_in_the_table() -> None:
    assert {row.words.split()[0].removeprefix("network=") for row in ROWS} == FILES


def test_the_script_prints_the_rows_that_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    main("DDIM")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    assert printed[1].split()[-3:] == ["78,700,803", "78,700,803", "+0"]
