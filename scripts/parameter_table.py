"""Count the parameters of published networks: `python scripts/parameter_table.py [TEXT]`, beside the papers'.

With TEXT only rows that contain it are printed. A row names a file of configs/network and the words that are added to
it; its number of parameters is counted on the meta device, without memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from mezzotint.instantiate.build import build

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "networks.md"
FIXED = {"data.classes": 0}  # unless a row says otherwise


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        words: `network=NAME`, `data.shape=[C,H,W]` and other words of the command line.
        parameters, published: as the page states them.
        rounded: whether the published number is rounded to millions, as "131 M".
        difference: their signed difference and its reason, or "-".
    """

    name: str
    words: str
    parameters: int
    published: int
    rounded: bool
    difference: str

    @property
    def excess(self) -> int:
        """How many parameters there are beyond the published number, rounded as that is."""
        return round(self.parameters, -6 if self.rounded else None) - self.published

    def network(self) -> torch.nn.Module:
        """The network on the meta device."""
        given: dict[str, Any] = dict(FIXED)
        given |= {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in self.words.split())}
        node = yaml.safe_load((ROOT / "configs" / "network" / f"{given.pop('network')}.yaml").read_text())
        data = {"${" + key + "}": given.pop(key) for key in [key for key in given if key.startswith("data.")]}
        node = {key: data.get(value, value) if isinstance(value, str) else value for key, value in node.items()}
        with torch.device("meta"):
            return build(node | {key.removeprefix("network."): value for key, value in given.items()})

    def count(self) -> int:
        """The number of parameters of the network as it is built here."""
        return sum(parameter.numel() for parameter in self.network().parameters())


def rows(page: Path = PAGE) -> Iterator[Row]:
    """The rows of the page's table."""
    for line in page.read_text().splitlines():
        if line.startswith("| ") and "`network=" in line:
            name, words, parameters, published, difference = (cell.strip() for cell in line.strip("| ").split(" | "))
            exact, rounded, _ = published.replace(",", "").partition(" M")
            number = int(exact) * (1_000_000 if rounded else 1)
            yield Row(name, words.strip("`"), int(parameters.replace(",", "")), number, bool(rounded), difference)


def main(text: str = "") -> None:
    print(f"{'network':<44}{'counted':>15}{'published':>15}{'difference':>12}")
    for row in rows():
        if text in f"{row.name} {row.words}":
            row = replace(row, parameters=row.count())
            print(f"{row.name:<44}{row.parameters:>15,}{row.published:>15,}{row.excess:>+12,}")


if __name__ == "__main__":
    main(*sys.argv[1:])
