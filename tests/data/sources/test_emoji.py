"""The sheet that comes with the package: complete, balanced, in fixed parts."""

import json

import pytest
import torch

from mezzotint.data import Emoji, EmojiSentences
from mezzotint.data.sources.emoji import ASSETS
from mezzotint.networks import SentenceCondition


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


def test_sentence_vectors_are_those_of_the_names_and_near_where_the_names_are():
    encode = EmojiSentences()
    vectors = encode(["green heart", "blue heart", "hammer"])
    assert vectors.shape == (3, 384)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3), rtol=0, atol=2e-3)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.2
    with pytest.raises(
        ValueError, match=r"'blue hart' is not the name of an emoji in Unicode.* did you mean .blue heart"
    ):
        encode(["blue hart"])


def test_names_become_conditions_by_the_encoder():
    data = Emoji(conditions={"text": SentenceCondition(384, EmojiSentences())})
    values = data.condition_values("test").batch(torch.arange(206), torch.zeros(206, 3, 32, 32))["text"]
    torch.testing.assert_close(values.square().mean(1), torch.ones(206))
    names = data.stored_conditions("test", ("text",))["text"]
    torch.testing.assert_close(values[7], EmojiSentences()([names[7]])[0] * 384**0.5, rtol=1e-3, atol=1e-3)
