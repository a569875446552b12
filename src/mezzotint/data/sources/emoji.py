"""Emoji in the package: small RGB images without a download."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image
from torch import Tensor

from mezzotint.data.dataset import LabelledDataset
from mezzotint.data.split import split_indices
from mezzotint.instantiate.locate import did_you_mean

ASSETS = Path(__file__).parents[1] / "assets"
HELD_OUT = 206


@dataclass(frozen=True, kw_only=True)
class Emoji(LabelledDataset):
    """1,906 emoji, 32 x 32, RGB on white, in nine categories; 1,700 for training and 206 held out, stratified.

    Their names in Unicode are the values of any condition by text.

    33 of them duplicate another one (flags and signs with two names), so the splits share some images.

    Source: Twemoji, CC-BY 4.0, see assets/ATTRIBUTION.md; derived by scripts/make_emoji.py.
    """

    known_classes: ClassVar[int] = 9
    known_names: ClassVar[tuple[str, ...]] = (
        "Activities", "Animals & Nature", "Flags", "Food & Drink", "Objects", "People & Body", "Smileys & Emotion",
        "Symbols", "Travel & Places"
    )  # fmt: skip

    shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 9

    def stored_conditions(self, split: str, names: tuple[str, ...]) -> dict[str, list[str]]:
        """Return the names of the emoji: every stored condition is a text of theirs."""
        written = emoji_names()
        chosen = split_indices(split, emoji_labels(), HELD_OUT)
        return {name: [written[i] for i in chosen] for name in names}

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        labels = emoji_labels()
        sheet = np.asarray(Image.open(ASSETS / "emoji.webp", formats=("WEBP",)))
        rows, columns = sheet.shape[0] // 32, sheet.shape[1] // 32
        tiles = sheet.reshape(rows, 32, columns, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)
        chosen = split_indices(split, labels, HELD_OUT)
        return tiles[chosen], labels[chosen]


@dataclass(frozen=True)
class EmojiSentences:
    """The sentence embeddings of the emoji's names: the encoder of a `SentenceCondition` that needs no other model.

    Source: all-MiniLM-L6-v2, Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084, see assets/ATTRIBUTION.md;
    derived by scripts/embed_emoji_names.py.
    """

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors (N, 384) of these names. Raises ValueError: one is not the name of an emoji."""
        rows = {name: row for row, name in enumerate(emoji_names())}
        for text in texts:
            if text not in rows:
                raise ValueError(
                    f"{text!r} is not the name of an emoji in Unicode, of which alone the vectors are known"
                    f"{did_you_mean(text, rows)}"
                )
        return sentence_vectors()[[rows[text] for text in texts]]


@cache
def sentence_vectors() -> Tensor:
    """Return the embedding of each emoji's name, float32 (1906, 384)."""
    from safetensors.torch import load_file

    return load_file(ASSETS / "emoji_sentences.safetensors")["vectors"].float()


@cache
def emoji_names() -> tuple[str, ...]:
    return tuple((ASSETS / "emoji_names.txt").read_text(encoding="utf-8").splitlines())


def emoji_labels() -> np.ndarray:
    return np.array(json.loads((ASSETS / "emoji.json").read_text())["labels"])
