"""The sheet that comes with the package: complete, balanced, in fixed parts."""

import json

import torch

from mezzotint.data import Emoji
from mezzotint.data.sources.emoji import ASSETS


def test_numbers():
    everything = Emoji().split("all")
    assert everything.pixels.shape == (1906, 3, 32, 32)
    counts = dict(
        zip(
            json.loads((ASSETS / "emoji.json").read_text())["categories"],
            everything.labels.bincount().tolist(),
            strict=True,
        )
    )
    assert counts == {
        "Activities": 85,
        "Animals & Nature": 159,
        "Flags": 270,
        "Food & Drink": 131,
        "Objects": 264,
        "People & Body": 386,
        "Smileys & Emotion": 169,
        "Symbols": 224,
        "Travel & Places": 218,
    }
    assert len(everything.pixels.flatten(1).unique(dim=0)) == 1873


def test_tiles_are_cut_at_the_right_places():
    """The first is the grinning face: white corners, a yellow forehead. The last is the flag of Wales."""
    face = Emoji().split("all").pixels[0]
    assert face[:, 0, 0].tolist() == [255, 255, 255]
    assert (face[:, 6, 16].int() - torch.tensor([255, 204, 77])).abs().max() <= 2
    red, green, blue = Emoji().split("all").pixels[-1].float().mean((1, 2))
    assert red > blue
    assert green > blue


def test_parts_are_fixed_and_balanced():
    train, test = Emoji().split("train"), Emoji().split("test")
    assert (len(train), len(test)) == (1700, 206)
    share = test.labels.bincount() / Emoji().split("all").labels.bincount()
    assert (share - 206 / 1906).abs().max() < 0.5 / 85
    assert test.digest()[:16] == "8aa21934cab27feb"


def test_it_is_small_and_names_its_makers():
    assert (ASSETS / "emoji.webp").stat().st_size < 1_000_000
    text = (ASSETS / "ATTRIBUTION.md").read_text()
    assert "Twemoji" in text
    assert "creativecommons.org/licenses/by/4.0" in text
